//! How many spans there were, and what became of them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::trouble::FailureLog;

/// Counters, which only grow. What is neither sent nor lost is on its way.
#[derive(Debug)]
pub struct TraceMeter {
    recorded: AtomicU64,
    sent: AtomicU64,
    lost: [AtomicU64; 3],
    pub trouble: FailureLog,
}

/// Why spans were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// They came faster than the collector takes them.
    QueueFull,
    /// The collector will not have them.
    Refused,
    /// The bridge stopped before the collector took them.
    Stopped,
}

impl Lost {
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::QueueFull, "queue_full"), (Self::Refused, "refused"), (Self::Stopped, "stopped")];
}

impl Default for TraceMeter {
    fn default() -> Self {
        Self {
            recorded: AtomicU64::default(),
            sent: AtomicU64::default(),
            lost: Default::default(),
            trouble: FailureLog::new("sending traces"),
        }
    }
}

impl TraceMeter {
    pub(crate) fn count_recorded(&self) {
        self.recorded.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_sent(&self, spans: u64) {
        self.sent.fetch_add(spans, Relaxed);
    }

    pub(crate) fn count_lost(&self, why: Lost, spans: u64) {
        self.lost[why as usize].fetch_add(spans, Relaxed);
    }

    pub fn recorded(&self) -> u64 {
        self.recorded.load(Relaxed)
    }

    /// Spans that the collector took.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub fn lost(&self, why: Lost) -> u64 {
        self.lost[why as usize].load(Relaxed)
    }

    /// Spans that are on their way.
    pub(crate) fn under_way(&self) -> u64 {
        let lost: u64 = self.lost.iter().map(|lost| lost.load(Relaxed)).sum();
        self.recorded().saturating_sub(self.sent() + lost)
    }
}
