//! The counters of traces.

use prometheus_client::metrics::counter::Counter;

use super::counter_by::CounterBy;
use super::failure_log::FailureLog;
use crate::model::Label;

/// Counts spans; the counters only grow. A span that is neither sent nor dropped is in flight.
#[derive(Debug)]
pub struct TraceMeter {
    pub recorded: Counter,
    /// Spans that the collector accepted.
    pub sent: Counter,
    pub dropped: CounterBy<DropReason>,
    pub send_failures: FailureLog,
}

/// Why spans were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Spans were recorded faster than the collector accepts them.
    QueueFull,
    /// The collector rejected them.
    Refused,
    /// The bridge stopped before the collector accepted them.
    Stopped,
}

impl Label for DropReason {
    const ALL: &'static [Self] = &[Self::QueueFull, Self::Refused, Self::Stopped];

    fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        }
    }
}

impl Default for TraceMeter {
    fn default() -> Self {
        Self {
            recorded: Counter::default(),
            sent: Counter::default(),
            dropped: CounterBy::default(),
            send_failures: FailureLog::new("sending traces"),
        }
    }
}

impl TraceMeter {
    /// Spans that are neither sent nor dropped.
    pub(crate) fn in_flight(&self) -> u64 {
        self.recorded.get().saturating_sub(self.sent.get() + self.dropped.total())
    }
}
