//! What the sink needs from a container.

use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::{Document, PartitionKey, RequestUnits, SinkError};

/// One write of one document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Write<'a> {
    Upsert(&'a Document),
    /// Refused with 409 where the document exists.
    Create(&'a Document),
    /// Refused with 404 where it does not.
    Replace(&'a Document),
    Delete,
}

/// The service's answer to one write, an error included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub sub_status: u32,
    pub charge: RequestUnits,
    pub retry_after: Option<Duration>,
    /// What the service said, for people; never a document.
    pub message: String,
}

/// The service's answer to a transactional batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchAnswer {
    /// The answer as a whole; 207 when the parts tell what went wrong.
    pub whole: Answer,
    /// One per write, in order; empty when the batch was refused as a whole.
    pub parts: Vec<Answer>,
}

/// One container of one account. Sends each request once and asks for no document back.
#[async_trait]
pub trait Container: Send + Sync {
    async fn write(&self, key: &PartitionKey, id: &str, write: Write<'_>) -> Answer;

    /// All or nothing. At most 100 writes and 2 MiB, which the service checks.
    async fn batch(&self, key: &PartitionKey, writes: &[(&str, Write<'_>)]) -> BatchAnswer;

    /// Proves that the container can be reached and read, without writing.
    async fn check(&self) -> Result<(), SinkError>;
}
