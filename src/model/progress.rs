//! How far the sinks of a feed range are.

use tokio::time::Instant;

/// One feed range at one moment. `source` decides and publishes it; observers only read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeProgress {
    /// Every sink is caught up, except parked sinks: they never are.
    pub is_caught_up: bool,
    /// Every sink has all that is before the end of the pipeline, except parked sinks.
    pub has_ended: bool,
    /// When the shared reader was last answered.
    pub answered_at: Option<Instant>,
    /// In the order of the pipeline's sinks.
    pub sinks: Vec<SinkProgress>,
}

impl RangeProgress {
    /// Before the first event of a range.
    pub fn new(sinks: usize) -> Self {
        Self { sinks: vec![SinkProgress::default(); sinks], ..Self::default() }
    }
}

/// One sink of one feed range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkProgress {
    /// The last answer to the shared reader was that nothing is newer, and nothing waits to be written
    /// or stored.
    pub is_caught_up: bool,
    pub is_parked: bool,
    /// What existed is read, and the place from which the changes are read then stays where it is.
    pub is_copying: bool,
    /// When the source had nothing newer than what this sink has.
    pub had_all: Option<Instant>,
    /// When the oldest change that is not safe was committed, and the oldest of the last page that was
    /// taken, in seconds since the epoch.
    pub oldest: Option<i64>,
    pub accepted: Option<i64>,
    pub stored_lsn: Option<i64>,
    /// When a position was last stored, and when anything last moved.
    pub stored_at: Option<Instant>,
    pub moved_at: Option<Instant>,
}
