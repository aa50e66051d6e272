//! What has to survive a restart: positions, and dead letters.

mod sqlite;

use async_trait::async_trait;

use crate::config::Mode;
use crate::source::{FeedRange, Slice};

pub use sqlite::SqliteState;

/// What a pipeline reads. Positions mean nothing for another container or another mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceIdentity {
    /// `account/database/container` of the configuration, for people.
    pub container: String,
    /// The service's id of the container.
    pub rid: String,
    pub mode: Mode,
}

/// How far one sink has every change of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSlice {
    pub sink: String,
    pub slice: Slice,
}

/// Where in the pipeline a change was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The SDK could not read it; only its place in the feed is known.
    Read,
    /// The route could not map it.
    Route,
    /// The sink will never take it.
    Sink,
}

/// A change that its target will never take, kept whole.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    pub pipeline: String,
    pub sink: String,
    pub stage: Stage,
    pub cause: String,
    /// `account/database/container` it was read from.
    pub source: String,
    pub source_id: String,
    /// The source's key values, as a JSON array.
    pub source_key: String,
    pub lsn: Option<i64>,
    /// See [`Origin::nth`](cosmos_bridge_sink::Origin::nth).
    pub nth: u32,
    /// What else tells letters of one change apart: at the stage of routes the place of the route, from 1;
    /// at that of sinks the key and id that it was to have, as a JSON array.
    pub target: String,
    pub committed_at: Option<i64>,
    /// `upsert`, `delete` or `expire`.
    pub operation: &'static str,
    /// The document as it was given to the stage that refused it, as JSON; none for deletes
    /// without a previous image.
    pub document: Option<String>,
}

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
    ) -> Result<Vec<StoredSlice>, StateError>;

    /// Replaces all that is stored within a range by `slices`, at once. Sinks without a slice among
    /// them, because they are not configured now, keep what they have.
    async fn replace(
        &self,
        pipeline: &str,
        range: &FeedRange,
        slices: &[StoredSlice],
    ) -> Result<(), StateError>;

    /// Records how far one sink has every change of a slice.
    async fn checkpoint(&self, pipeline: &str, stored: &StoredSlice) -> Result<(), StateError>;

    /// Keeps dead letters. One that is delivered again replaces itself.
    async fn bury(&self, letters: Vec<DeadLetter>) -> Result<(), StateError>;

    /// How many dead letters there are of a pipeline.
    async fn dead_letters(&self, pipeline: &str) -> Result<u64, StateError>;
}
