//! What is told of one change, before it is put into the words of OpenTelemetry.

use std::sync::Arc;

use cosmos_bridge_sink::{Cause, ContainerName};
use jiff::Timestamp;

use super::destination::Destination;

/// Something that was done with a change.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) trace: [u8; 16],
    pub(super) id: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) began: Timestamp,
    pub(super) ended: Timestamp,
    /// `upsert`, `delete` or `expire`.
    pub(super) operation: &'static str,
    pub(super) done: Done,
}

#[derive(Clone, Debug)]
pub(super) enum Done {
    Read(Read),
    Written(Written),
}

/// Read from the feed and routed.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) source: Arc<Source>,
    pub(super) range: Arc<str>,
    /// The sink that it was read for, if not for all.
    pub(super) alone: Option<Arc<str>>,
    pub(super) lsn: Option<i64>,
    /// In seconds since the epoch.
    pub(super) committed_at: Option<i64>,
    /// Changes that sinks get of it.
    pub(super) deliveries: usize,
    /// Routes that cannot map it.
    pub(super) unroutable: usize,
}

/// Where changes are read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) pipeline: String,
    pub(super) container: ContainerName,
}

/// Offered to a sink until it was delivered or rejected.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) destination: Arc<Destination>,
    pub(super) event: String,
    pub(super) attempts: u32,
    /// Why it had to be offered again the last time.
    pub(super) waited: Option<Cause>,
    pub(super) rejected: bool,
}
