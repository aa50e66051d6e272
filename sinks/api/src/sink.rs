//! What a target can do.

use std::time::Duration;

use async_trait::async_trait;

use crate::Change;

/// Request units, the service's price for an operation.
pub type RequestUnits = f64;

/// What became of one change.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Durable in the target, or already superseded there by the write strategy.
    Delivered,
    /// The target will never take it, whatever the wait.
    Rejected { reason: String },
    /// Not written this time; offer it again.
    Deferred { reason: String },
}

/// The answer to one write: an outcome for each change, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    pub outcomes: Vec<Outcome>,
    pub charge: RequestUnits,
    /// Requests sent for this write.
    pub requests: u32,
    /// How many of them the target throttled.
    pub throttled: u32,
    /// Why changes were deferred; `None` when none was.
    pub wait: Option<Wait>,
}

/// Why something has to be tried again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub cause: Cause,
    /// The retry-after that the target sent, if it sent one.
    pub retry_after: Option<Duration>,
}

/// What stands in the way, by how much else it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Everything sent to the same part of the target: its throughput is used up.
    Throttled,
    /// Everything sent to the same key, and nothing else.
    HotKey,
    /// Everything sent to the target: it has trouble of its own.
    Busy,
    /// Whatever the part of the target held is moving elsewhere.
    Moved,
    /// This request alone, as far as anybody knows.
    Fault,
}

/// Which changes one [`Sink::write`] may hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// Changes of one target partition key.
    Key,
    /// Any changes, in the order they were read.
    Any,
}

/// What one [`Sink::write`] takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub grouping: Grouping,
    pub changes: usize,
    /// Of serialized documents.
    pub bytes: usize,
    /// Writes that may be under way at once.
    pub concurrency: usize,
}

/// Why a sink cannot be used at all. One change's failure is an [`Outcome`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    pub message: String,
    /// A sentence that says what to do.
    pub hint: Option<String>,
    /// Whether waiting can help.
    pub transient: bool,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A target that changes are written to.
///
/// A sink never waits to try again and never drops a change. It may be called again with changes
/// that it has already written, and with several writes at once; no two writes under way at the
/// same time hold the same document.
#[async_trait]
pub trait Sink: Send + Sync {
    fn name(&self) -> &str;

    fn limits(&self) -> Limits;

    /// Proves that `write` could succeed, without writing anything.
    async fn check(&self) -> Result<(), SinkError>;

    /// Makes one attempt. The changes belong together as [`Limits::grouping`] says, and those of one
    /// document are written in order: when one is deferred, so is every later one of it.
    async fn write(&self, changes: &[Change]) -> Written;

    /// Flushes and disconnects. Called once, after the last `write` has returned.
    async fn close(&self) -> Result<(), SinkError>;
}
