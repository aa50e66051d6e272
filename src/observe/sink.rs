//! What one sink counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cosmos_bridge_sink::{Cause, Written};
use prometheus_client::metrics::histogram::Histogram;

use super::meter::{BudgetMeter, parts, units};
use super::trouble::FailureLog;
use super::waits::{Waits, Writing};

/// From what a broker beside the bridge takes to what no write should.
const WRITE_SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Why a write has to be repeated, with the words of metrics.
const CAUSES: [(Cause, &str); 5] = [
    (Cause::Throttled, "throttled"),
    (Cause::HotKey, "hot_key"),
    (Cause::Busy, "busy"),
    (Cause::Moved, "moved"),
    (Cause::Fault, "fault"),
];

/// One sink's counters; they only grow.
#[derive(Debug)]
pub struct SinkMeter {
    pub name: String,
    pub requests: AtomicU64,
    pub throttled: AtomicU64,
    charge: AtomicU64,
    /// Seconds from sending to the answer, of each attempt.
    pub writes: Histogram,
    /// Attempts after which something has to be offered again, by [`Cause`].
    errors: [AtomicU64; CAUSES.len()],
    /// What fails at the moment.
    pub trouble: FailureLog,
    /// What those who write to it spend their time on.
    pub waits: Waits<Writing>,
    budget: OnceLock<Arc<BudgetMeter>>,
}

/// The word of metrics and traces for a cause.
pub(crate) fn cause_word(cause: Cause) -> &'static str {
    CAUSES.iter().find(|(known, _)| *known == cause).map_or("", |(_, word)| word)
}

impl SinkMeter {
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            trouble: FailureLog::new(format!("writing to sink `{name}`")),
            name,
            requests: AtomicU64::default(),
            throttled: AtomicU64::default(),
            charge: AtomicU64::default(),
            writes: Histogram::new(WRITE_SECONDS),
            errors: Default::default(),
            waits: Waits::default(),
            budget: OnceLock::new(),
        }
    }

    /// Names the budget that writing draws on. The first one stays.
    pub fn draws_on(&self, budget: Arc<BudgetMeter>) {
        self.budget.get_or_init(|| budget);
    }

    pub(super) fn budget(&self) -> Option<&BudgetMeter> {
        self.budget.get().map(AsRef::as_ref)
    }

    /// Counts an attempt that took so long.
    pub fn count(&self, written: &Written, took: Duration) {
        self.writes.observe(took.as_secs_f64());
        self.requests.fetch_add(u64::from(written.requests), Relaxed);
        self.throttled.fetch_add(u64::from(written.throttled), Relaxed);
        self.charge.fetch_add(parts(written.charge), Relaxed);
    }

    /// Counts an attempt after which something has to be offered again.
    pub fn count_error(&self, cause: Cause) {
        for ((known, _), errors) in CAUSES.iter().zip(&self.errors) {
            errors.fetch_add(u64::from(*known == cause), Relaxed);
        }
    }

    /// Such attempts by the word for their cause.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CAUSES.iter().zip(&self.errors).map(|((_, word), errors)| (*word, errors.load(Relaxed)))
    }

    /// Request units.
    pub fn charge(&self) -> f64 {
        units(self.charge.load(Relaxed))
    }
}
