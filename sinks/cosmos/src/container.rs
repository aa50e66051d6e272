//! The interface of a container, as the sink uses it.

use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::{Document, PartitionKey, RequestUnits, SinkError};

/// One write of one document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Write<'a> {
    Upsert(&'a Document),
    /// Refused with 409 if the document exists.
    Create(&'a Document),
    /// Refused with 404 if the document does not exist.
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
    /// The text of the service for operators; holds no document.
    pub message: String,
}

/// The service's answer to a transactional batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchAnswer {
    /// The answer to the whole batch; 207 if the parts state the failure.
    pub whole: Answer,
    /// One answer for each write, in order; empty if the whole batch was refused.
    pub parts: Vec<Answer>,
}

/// One container of one account. Sends each request once, and does not ask for the document in the
/// answer.
#[async_trait]
pub trait Container: Send + Sync {
    async fn write(&self, key: &PartitionKey, id: &str, write: Write<'_>) -> Answer;

    /// Makes all writes or none. The service accepts at most 100 writes and 2 MiB.
    async fn batch(&self, key: &PartitionKey, writes: &[(&str, Write<'_>)]) -> BatchAnswer;

    /// Proves that the container can be reached and read, without writing.
    async fn check(&self) -> Result<(), SinkError>;
}
