//! The document of `/status`, which `cosmos-bridge status` prints.

use serde::{Deserialize, Serialize};

use super::health::Reason;

/// The status of a bridge at one moment. Rates are over the last seconds; seconds are whole, lags are
/// rounded up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    pub version: String,
    /// `starting`, `running` or `stopping`.
    pub phase: String,
    pub uptime_seconds: u64,
    pub alive: bool,
    pub ready: bool,
    /// Why the bridge is not ready.
    pub reasons: Vec<Reason>,
    /// What limits the speed; `None` while that is not known.
    pub held_back_by: Option<String>,
    pub pipelines: Vec<PipelineReport>,
    pub sinks: Vec<SinkReport>,
    pub budgets: Vec<BudgetReport>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineReport {
    pub name: String,
    pub read: u64,
    pub filtered: u64,
    pub ranges: usize,
    pub parked: Vec<ParkedReport>,
    /// The current failure of reading, and of storing positions.
    pub reading: Option<Failure>,
    pub storing: Option<Failure>,
    pub sinks: Vec<PipelineSinkReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedReport {
    pub range: String,
    /// `None`: all sinks of the pipeline.
    pub sink: Option<String>,
    pub error: String,
}

/// A failure that lasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub error: String,
    pub for_seconds: u64,
}

/// One sink of one pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineSinkReport {
    pub name: String,
    /// `caught up`, `following`, `behind` (reads separately), `failing` or `parked`.
    pub state: String,
    /// Of the feed range that is furthest behind.
    pub lag_seconds: u64,
    /// Over all feed ranges; `None` before the first response of each.
    pub lag_documents: Option<u64>,
    pub delivered: u64,
    pub per_second: f64,
    /// Since the start of the process.
    pub dead_letters: u64,
    /// Stored now, also by earlier runs.
    pub dead_letters_stored: u64,
    pub caught_up_ranges: usize,
    pub ranges_behind: usize,
    pub ranges_catching_up: usize,
    pub read_again: u64,
    pub spool_bytes: usize,
    pub last_checkpoint_seconds: u64,
    /// How long the source still has the history that the sink needs, and the feed range with the least;
    /// `None` if all versions and deletes are not read.
    pub history_left_seconds: Option<u64>,
    pub history_left_range: Option<String>,
    /// A sweep is due or runs: deletes may be missing until it has ended.
    #[serde(default)]
    pub sweep_due: bool,
    /// What became of the changes that were read.
    #[serde(default)]
    pub ledger: LedgerReport,
}

/// The conservation ledger of one sink of one pipeline, since the first start of the pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerReport {
    pub read: u64,
    pub filtered: u64,
    pub delivered: u64,
    pub superseded: u64,
    pub dead_letters: u64,
    pub in_flight: u64,
    /// Anything but 0 is a defect.
    pub missing: i64,
}

/// One sink, over all pipelines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkReport {
    pub name: String,
    pub requests: u64,
    pub throttled: u64,
    pub writing: Option<Failure>,
}

/// The request units of one direction of one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetReport {
    pub container: String,
    /// `read` or `write`.
    pub direction: String,
    /// Request units per second that may be used; `None` is unlimited.
    pub budget: Option<f64>,
    pub ru_per_second: f64,
    /// Since the start of the process.
    pub ru: f64,
    pub requests: u64,
    pub throttled: u64,
    /// Request units predicted for each that was charged, in the last interval.
    pub expected_to_charged: Option<f64>,
}
