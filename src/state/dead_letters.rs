//! Where changes are kept that their target will never take.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::error::StateError;
use crate::model::{DeadLetter, Stage};

/// Stores dead letters.
#[async_trait]
pub trait DeadLetterStore: Send + Sync {
    /// Stores dead letters; a letter that is stored again replaces itself. When the call returns, they
    /// survive the loss of power. Returns which of them are new, in their order.
    async fn store_dead_letters(&self, letters: Arc<[DeadLetter]>)
    -> Result<Vec<bool>, StateError>;

    /// Whether they are kept, or only told.
    fn keeps(&self) -> bool {
        true
    }

    /// The number of dead letters of a pipeline, by the name of the sink.
    async fn count_dead_letters(&self, pipeline: &str)
    -> Result<BTreeMap<String, u64>, StateError>;
}

/// A dead letter in the state file.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredLetter {
    /// The number by which it is named; not used again.
    pub number: i64,
    /// When it was stored, as `2026-01-31T00:00:00Z`.
    pub stored_at: String,
    pub letter: DeadLetter,
}

/// Which dead letters are meant: those that all parts hold for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterFilter {
    pub number: Option<i64>,
    pub pipeline: Option<String>,
    pub sink: Option<String>,
    pub stage: Option<Stage>,
    /// The id of the document in the source.
    pub id: Option<String>,
    /// The hash of the source document, see [`document_hash`](crate::model::document_hash).
    pub document: Option<String>,
    /// A part of the cause.
    pub cause: Option<String>,
    /// Stored at this time or later, as `2026-01-31T00:00:00Z`.
    pub since: Option<String>,
    /// After the letter with this number.
    pub after: Option<i64>,
    /// Up to the letter with this number.
    pub up_to: Option<i64>,
    /// The largest number of letters, the first that were stored.
    pub limit: Option<u32>,
}

/// Letters with one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CauseCount {
    pub pipeline: String,
    pub sink: String,
    pub stage: Stage,
    pub cause: String,
    pub letters: u64,
    /// When the last of them was stored.
    pub last: String,
}
