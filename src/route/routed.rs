//! The result of routing a change.

use cosmos_bridge_sink::Change;

use crate::model::SourceChange;

/// The result of routing one change.
#[derive(Debug, Default, PartialEq)]
pub struct Routed {
    /// In the order of the routes; a changed key is a delete and then an upsert.
    pub changes: Vec<Addressed>,
    pub rejected: Vec<Rejection>,
    /// Number of routes that the change does not pass.
    pub filtered: usize,
    /// What the routes owe to their sinks: one entry for each route and each change that it sends, rejects or
    /// leaves out. For the conservation ledger.
    pub owed: Vec<Owed>,
}

/// What one route owes to its sink for one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    pub sink: usize,
    /// 0 if the change is left out; 2 for a delete and an upsert.
    pub changes: usize,
}

/// A change and the sink it goes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Addressed {
    pub sink: usize,
    /// Approximate size of the change as text, in bytes. Computed here once for all sinks that share
    /// the document.
    pub bytes: usize,
    pub change: Change,
}

/// A change that cannot be mapped: a dead letter.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// The number of the route in the pipeline, from 1.
    pub route: usize,
    pub sink: usize,
    /// A lower-case fragment without document contents.
    pub reason: String,
    /// The change as it was read, without the service's system properties.
    pub change: SourceChange,
}
