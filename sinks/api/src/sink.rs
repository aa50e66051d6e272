//! The interface of a sink.

use std::cmp::Ordering;
use std::time::Duration;

use async_trait::async_trait;

use crate::Change;

/// Request units, in which the service charges for an operation.
pub type RequestUnits = f64;

/// The result of one change.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Durable in the target, or already superseded there by the write strategy.
    Delivered,
    /// The target will never accept the change.
    Rejected { reason: String },
    /// Not written in this attempt; offer it again.
    Deferred { reason: String },
}

/// The result of one write: an outcome for each change, in the order of the changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    pub outcomes: Vec<Outcome>,
    pub charge: RequestUnits,
    /// Requests sent for this write.
    pub requests: u32,
    /// The number of these requests that the target throttled.
    pub throttled: u32,
    /// Delivered changes that were not written because the target has a later version.
    pub superseded: u32,
    /// Delivered changes, by index, that were not written because of what the target has. A change may be
    /// counted in `superseded` more than once, and is here once.
    pub kept: Vec<usize>,
    /// Changes whose document in the target was written from another source document.
    pub collisions: u32,
    /// Conflicts between two mirrored containers that were logged.
    pub conflicts_logged: u32,
    /// The rejected changes, by index, that another document of their partition key is in the way of,
    /// such as one that has the value of a unique key. They are offered again while other changes of the
    /// key are pending.
    pub conflicts: Vec<usize>,
    /// The changes, by index, of which an attempt was sent and not answered, and may still arrive. Later
    /// changes of their documents are not offered for a while. Empty if the sink itself keeps late
    /// writes from doing harm.
    pub unanswered: Vec<usize>,
    /// Why changes were deferred; `None` if no change was.
    pub wait: Option<Wait>,
}

/// Why changes have to be tried again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub cause: Cause,
    /// The pause that the target asked for, if it did.
    pub retry_after: Option<Duration>,
}

impl Wait {
    /// The wait for two reasons: the graver cause with its own pause, or the longer pause of one cause. A
    /// graver cause holds up more than one document, which the pause of a single document must not.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self.cause.cmp(&other.cause) {
            Ordering::Greater => self,
            Ordering::Less => other,
            Ordering::Equal => {
                let retry_after = self.retry_after.max(other.retry_after);
                Self { cause: self.cause, retry_after }
            }
        }
    }
}

impl From<Cause> for Wait {
    /// Without a pause that the target asked for.
    fn from(cause: Cause) -> Self {
        Self { cause, retry_after: None }
    }
}

/// Why a change was not written, in the order of how much else is affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Affects this request only, as far as is known.
    Fault,
    /// Affects everything sent to the same key, and nothing else.
    HotKey,
    /// Affects everything that the part of the target held: it is moving elsewhere.
    Moved,
    /// Affects everything sent to the same part of the target: its throughput is used up.
    Throttled,
    /// Affects everything sent to the target: it is overloaded, unreachable or failing.
    Busy,
}

/// Which changes one [`Sink::write`] may hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// Changes of one target partition key.
    Key,
    /// Changes that go to one physical partition of the target, in the order they were read.
    Partition,
    /// Any changes, in the order they were read.
    Any,
}

/// The limits of one [`Sink::write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub grouping: Grouping,
    /// Changes in one write.
    pub changes: usize,
    /// Bytes of serialized documents in one write.
    pub bytes: usize,
    /// Writes that may be in flight at the same time.
    pub concurrency: usize,
}

/// Why a sink cannot be used at all. The failure of one change is an [`Outcome`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    pub message: String,
    /// A sentence that says what to do.
    pub hint: Option<String>,
    pub kind: SinkErrorKind,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SinkError {
    /// True if waiting can help.
    pub fn is_transient(&self) -> bool {
        self.kind == SinkErrorKind::Unreachable
    }
}

/// The kind of a [`SinkError`], as far as the exit code depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkErrorKind {
    /// It cannot be reached, or is not ready: waiting can help.
    Unreachable,
    /// The credential is refused, or lacks a right.
    Denied,
    /// What the sink names does not exist.
    Missing,
    /// The options cannot be used.
    Invalid,
    /// Anything else.
    Other,
}

/// A target that changes are written to.
///
/// A sink does not retry and never drops a change. Its caller may offer a change again
/// that is already written, and may have several writes in flight; no two of these writes hold the
/// same document.
#[async_trait]
pub trait Sink: Send + Sync {
    fn name(&self) -> &str;

    fn limits(&self) -> Limits;

    /// Proves that `write` could succeed, without writing anything.
    async fn check(&self) -> Result<(), SinkError>;

    /// Why [`Sink::write`] would reject the change, as far as that is known without the target: a field
    /// of a template that the document does not have, for example. Sends nothing.
    async fn refusal(&self, _change: &Change) -> Option<String> {
        None
    }

    /// Makes one attempt. The changes belong together as [`Limits::grouping`] says. The changes of
    /// one document are written in order: if one is deferred, every later one is deferred too.
    async fn write(&self, changes: &[Change]) -> Written;

    /// Flushes and disconnects. Called once, after the last `write` has returned.
    async fn close(&self) -> Result<(), SinkError>;
}

#[cfg(test)]
mod tests {
    use super::{SinkError, SinkErrorKind};

    #[test]
    fn only_a_target_that_cannot_be_reached_is_waited_for() {
        let table = [
            (SinkErrorKind::Unreachable, true),
            (SinkErrorKind::Denied, false),
            (SinkErrorKind::Missing, false),
            (SinkErrorKind::Invalid, false),
            (SinkErrorKind::Other, false),
        ];
        for (kind, is_transient) in table {
            let error = SinkError { message: String::new(), hint: None, kind, source: None };
            assert_eq!(error.is_transient(), is_transient, "{kind:?}");
        }
    }
}
