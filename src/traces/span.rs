//! The spans of one change, before they are converted to OpenTelemetry's messages.

use std::sync::Arc;

use cosmos_bridge_sink::{Cause, ContainerName};
use jiff::Timestamp;

use super::destination::Destination;

/// One step of the way of a change.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) trace: [u8; 16],
    pub(super) id: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// `upsert`, `delete` or `expire`.
    pub(super) operation: &'static str,
    pub(super) step: Step,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Read(Read),
    Written(Written),
}

/// The change was read from the feed and routed.
#[expect(clippy::struct_field_names, reason = "the sink that the change was read for")]
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) source: Arc<Source>,
    pub(super) range: Arc<str>,
    /// The sink that it was read for, if not for all.
    pub(super) read_for: Option<Arc<str>>,
    pub(super) lsn: Option<i64>,
    /// In seconds since the epoch.
    pub(super) committed_at: Option<i64>,
    /// The number of changes that sinks get.
    pub(super) deliveries: usize,
    /// The number of routes that cannot map the change.
    pub(super) unroutable: usize,
}

/// The source of a pipeline.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) pipeline: String,
    pub(super) container: ContainerName,
}

/// The change was delivered to a sink, or rejected by it.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) destination: Arc<Destination>,
    pub(super) event: String,
    pub(super) attempts: u32,
    /// The cause of the last retry.
    pub(super) waited_for: Option<Cause>,
    pub(super) rejected: bool,
}
