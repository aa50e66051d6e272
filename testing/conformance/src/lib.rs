//! The contract of a sink as tests: order per document, one outcome per change, a `check` that
//! leaves nothing behind, a `close` that flushes, and repetition that consumers can recognise.
//!
//! # How a sink uses it
//!
//! The sink's own tests start its target, implement [`Harness`] for it, and call [`conforms`]:
//!
//! ```
//! # use std::sync::Arc;
//! # use cosmos_bridge_conformance::{Harness, Received, conforms};
//! # use cosmos_bridge_sink::Sink;
//! struct Queue; // the broker, and how to read from it
//!
//! #[async_trait::async_trait]
//! impl Harness for Queue {
//!     async fn open(&self) -> Arc<dyn Sink> {
//!         todo!("a new sink with a new client, always for the same topic, exchange or file")
//!     }
//!     async fn received(&self, at_least: usize) -> Vec<Received> {
//!         todo!("all messages since the last call, read with a client that is not the sink's")
//!     }
//! }
//!
//! # async fn test() {
//! // #[tokio::test]
//! conforms(&Queue).await.unwrap(); // says which cases failed, and how
//! # }
//! ```
//!
//! The sink under test writes plain documents as `CloudEvents` in binary mode; where it has another
//! format, [`Harness::format`] says so. Changes come from [`SOURCE`], which routing has to lead to
//! what the harness reads. A sink with a server also defines how the server is stopped
//! ([`Harness::outage`]), and one with a largest event how large that is ([`Harness::too_large`]).
//!
//! The cases are in `cases.rs`, one function each, and need nothing but the trait. The suite's own
//! tests hold it against sinks that break one rule each.

mod cases;
mod changes;
mod written;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_event::{ContentMode, Data, Format};
use cosmos_bridge_sink::Sink;

pub use changes::SOURCE;

/// A message as a reader of the target gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// The document's id: `subject` of a `CloudEvent` in binary mode, or from the body, or from where
    /// the target keeps it.
    pub document: String,
    /// The data as bytes; `None` where only the end of the document is reported. Empty differs
    /// from nothing only where the protocol distinguishes them.
    pub body: Option<Vec<u8>>,
    /// The attributes, without the transport's prefix; there may be more than the suite knows.
    pub attributes: Vec<(String, String)>,
}

/// A sink's target, as the suite sees it.
#[async_trait]
pub trait Harness: Sync {
    /// A sink that has written nothing yet. Called once per case, always for the same target.
    async fn open(&self) -> Arc<dyn Sink>;

    /// All messages since the last call. Waits until there are `at_least`, and returns fewer after a timeout.
    /// Messages of one document are in the order of the target.
    async fn received(&self, at_least: usize) -> Vec<Received>;

    /// The format of the sink's events; `None` if it writes documents and not events.
    fn format(&self) -> Option<Format> {
        Some(Format { data: Data::Document, cloud_events: Some(ContentMode::Binary) })
    }

    /// False if the target keeps the latest version of each document only, and nothing of a deleted one. Then
    /// [`Harness::received`] returns the documents that were written since the last call, as they are now.
    fn keeps_history(&self) -> bool {
        true
    }

    /// The size of a text, in bytes, that makes a document too large for the sink.
    fn too_large(&self) -> Option<usize> {
        None
    }

    /// Stops the target and starts it again.
    fn outage(&self) -> Option<&dyn Outage> {
        None
    }

    /// The longest duration of a write, with the target available or not.
    fn patience(&self) -> Duration {
        Duration::from_mins(1)
    }
}

/// Stops a target. After the restart it has all messages that it had accepted.
#[async_trait]
pub trait Outage: Sync {
    async fn begin(&self);
    async fn end(&self);
}

/// A case that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub case: &'static str,
    pub what: String,
}

/// All cases that failed.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failures(pub Vec<Failure>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} cases failed", self.0.len(), cases::NAMES.len())?;
        self.0.iter().try_for_each(|Failure { case, what }| write!(f, "\n  {case}: {what}"))
    }
}

/// What `unwrap` prints.
impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Runs all cases, one after the other.
///
/// # Errors
///
/// The cases that the sink fails.
pub async fn conforms(harness: &impl Harness) -> Result<(), Failures> {
    let mut failures = Vec::new();
    for case in cases::NAMES {
        let limit = harness.patience() * 4;
        let result = tokio::time::timeout(limit, cases::run(case, harness)).await;
        let result = result.unwrap_or_else(|_| Err(format!("not done after {limit:?}")));
        if let Err(what) = result {
            failures.push(Failure { case, what });
            // Messages of this case must not be read by the next one.
            harness.received(0).await;
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Failures(failures)) }
}
