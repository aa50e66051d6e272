//! What has to survive a restart: positions, and dead letters.

mod sqlite;

use async_trait::async_trait;

use crate::model::{DeadLetter, FeedRange, SourceIdentity, StoredPosition};

pub use sqlite::SqliteState;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot use the state file `{file}`: {source}")]
    File { file: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("another process uses the state file `{file}`")]
    Busy { file: String },
    #[error("the state file `{file}` was written by a newer version ({version})")]
    Newer { file: String, version: i64 },
    #[error("positions are stored for {stored}, and the configuration says {configured}")]
    OtherSource { pipeline: String, stored: String, configured: String },
    #[error(
        "container `{container}` was deleted and created again: its positions mean nothing any more"
    )]
    Recreated { pipeline: String, container: String },
}

impl StateError {
    /// A sentence that says what to do.
    pub fn hint(&self) -> String {
        match self {
            Self::File { .. } => "The folder must exist and be writable.".to_owned(),
            Self::Busy { .. } => "Stop the other process, or give this one a state file of its \
                                  own."
                .to_owned(),
            Self::Newer { .. } => "Use the newer version of cosmos-bridge.".to_owned(),
            Self::OtherSource { pipeline, .. } => format!(
                "Give the pipeline a new name to start afresh, or restore what `{pipeline}` read."
            ),
            Self::Recreated { pipeline, .. } => format!(
                "Nothing was read from the new container. To copy it from its start, give pipeline \
                 `{pipeline}` a new name."
            ),
        }
    }
}

/// Where positions and dead letters are kept. It stores; it does not decide.
///
/// When a call returns, what it wrote survives the loss of power.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// The pipeline's stored slices, every sink's; empty before its first start.
    async fn open(
        &self,
        pipeline: &str,
        source: &SourceIdentity,
    ) -> Result<Vec<StoredPosition>, StateError>;

    /// Replaces all that is stored within a range by `slices`, at once. Sinks without a slice among
    /// them, because they are not configured now, keep what they have.
    async fn replace(
        &self,
        pipeline: &str,
        range: &FeedRange,
        slices: &[StoredPosition],
    ) -> Result<(), StateError>;

    /// Records how far one sink has every change of a slice.
    async fn checkpoint(&self, pipeline: &str, stored: &StoredPosition) -> Result<(), StateError>;

    /// Keeps dead letters. One that is delivered again replaces itself.
    async fn bury(&self, letters: Vec<DeadLetter>) -> Result<(), StateError>;

    /// How many dead letters there are of a pipeline.
    async fn dead_letters(&self, pipeline: &str) -> Result<u64, StateError>;
}
