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
    /// Refused with 404 if the document does not exist, and with 412 if it has another `ETag`.
    Replace {
        document: &'a Document,
        if_match: Option<&'a str>,
    },
    /// Refused as [`Self::Replace`] is.
    Delete {
        if_match: Option<&'a str>,
    },
}

impl Write<'_> {
    /// True if the write has an effect at most once, however often it is executed: its `ETag` does
    /// not come back.
    pub fn is_conditional(&self) -> bool {
        matches!(self, Self::Replace { if_match: Some(_), .. } | Self::Delete { if_match: Some(_) })
    }
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
    /// The `ETag` of the document that was written.
    pub etag: Option<String>,
    /// An attempt may have reached the service and was not answered: the service may still execute it,
    /// also after a later attempt was answered.
    pub is_unanswered: bool,
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

    /// The `ETag` of a document; none if no request can name its id.
    async fn etag(&self, key: &PartitionKey, id: &str) -> Answer;

    /// Makes all writes or none. The service accepts at most 100 writes and 2 MiB.
    async fn batch(&self, key: &PartitionKey, writes: &[(&str, Write<'_>)]) -> BatchAnswer;

    /// Proves that the container can be reached and read, without writing.
    async fn check(&self) -> Result<(), SinkError>;
}
