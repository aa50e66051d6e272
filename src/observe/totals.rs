//! The sums of counters at one moment.

/// The counters of one pipeline, or of all, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    pub read: u64,
    pub filtered: u64,
    pub delivered: u64,
    /// Stored since the start of the process.
    pub dead_letters: u64,
    /// Stored now, also by earlier runs.
    pub dead_letters_stored: u64,
    pub source_throttled: u64,
    /// Request units.
    pub source_charge: f64,
    pub target_charge: f64,
    pub target_throttled: u64,
    pub ranges: usize,
    pub caught_up: usize,
    /// Seconds behind the source, of the range that is furthest behind.
    pub lag_seconds: u64,
    /// How much of the distance from the start of the run to the newest change is done, 0 to 1.
    pub done: f64,
    /// This distance in log sequence numbers; `None` before every feed range has answered.
    pub distance: Option<u64>,
}
