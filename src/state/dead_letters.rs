//! Where changes are kept that their target will never take.

use std::sync::Arc;

use async_trait::async_trait;

use super::error::StateError;
use crate::model::DeadLetter;

/// Stores dead letters.
#[async_trait]
pub trait DeadLetterStore: Send + Sync {
    /// Stores dead letters; a letter that is stored again replaces itself. When the call returns, they
    /// survive the loss of power.
    async fn store_dead_letters(&self, letters: Arc<[DeadLetter]>) -> Result<(), StateError>;

    /// The number of dead letters of a pipeline.
    async fn count_dead_letters(&self, pipeline: &str) -> Result<u64, StateError>;
}
