//! The counters of one sink.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cosmos_bridge_sink::{Cause, LogThrottle, Written};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use tokio::time::Instant;
use tracing::warn;

use super::budget_meter::BudgetMeter;
use super::counter_by::CounterBy;
use super::failure_log::FailureLog;
use super::time_spent::{TimeSpent, WriteActivity};
use crate::model::Label;

/// Bucket bounds in seconds: from a broker on the same host to the longest time a write should take.
const WRITE_SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

impl Label for Cause {
    const ALL: &'static [Self] =
        &[Self::Throttled, Self::HotKey, Self::Busy, Self::Moved, Self::Fault];

    fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::HotKey => "hot_key",
            Self::Busy => "busy",
            Self::Moved => "moved",
            Self::Fault => "fault",
        }
    }
}

/// One sink's counters; they only grow. A sink may be shared by several pipelines.
#[derive(Debug)]
pub struct SinkMeter {
    pub name: String,
    pub requests: Counter,
    pub throttled: Counter,
    /// Changes that were not written because the target has a later version.
    pub superseded: Counter,
    /// Changes whose document in the target was written from another source document.
    pub collisions: Counter,
    collision_log: Mutex<LogThrottle>,
    /// Conflicts between two mirrored containers that were logged.
    pub conflicts: Counter,
    conflict_log: Mutex<LogThrottle>,
    /// Request units.
    pub charge: Counter<f64, AtomicU64>,
    /// Seconds from sending to the response, of each attempt.
    pub write_seconds: Histogram,
    /// Attempts after which at least one change has to be retried.
    pub errors: CounterBy<Cause>,
    pub write_failures: FailureLog,
    /// How its writers spend their time.
    pub time_spent: TimeSpent<WriteActivity>,
    budget: OnceLock<Arc<BudgetMeter>>,
}

impl SinkMeter {
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            write_failures: FailureLog::new(format!("writing to sink `{name}`")),
            name,
            requests: Counter::default(),
            throttled: Counter::default(),
            superseded: Counter::default(),
            collisions: Counter::default(),
            collision_log: Mutex::default(),
            conflicts: Counter::default(),
            conflict_log: Mutex::default(),
            charge: Counter::default(),
            write_seconds: Histogram::new(WRITE_SECONDS),
            errors: CounterBy::default(),
            time_spent: TimeSpent::default(),
            budget: OnceLock::new(),
        }
    }

    /// Names the budget for writing. Only the first call has an effect.
    pub fn set_budget(&self, budget: Arc<BudgetMeter>) {
        self.budget.get_or_init(|| budget);
    }

    pub(super) fn budget(&self) -> Option<&BudgetMeter> {
        self.budget.get().map(AsRef::as_ref)
    }

    /// Counts one attempt and its duration.
    pub fn count(&self, written: &Written, duration: Duration) {
        self.write_seconds.observe(duration.as_secs_f64());
        self.requests.inc_by(u64::from(written.requests));
        self.throttled.inc_by(u64::from(written.throttled));
        self.charge.inc_by(written.charge);
        self.superseded.inc_by(u64::from(written.superseded));
        if written.collisions > 0 {
            self.collisions.inc_by(u64::from(written.collisions));
            self.log_collisions();
        }
        if written.conflicts_logged > 0 {
            self.conflicts.inc_by(u64::from(written.conflicts_logged));
            self.log_conflicts();
        }
    }

    /// Tells at growing intervals that both sides change the same documents.
    fn log_conflicts(&self) {
        let mut throttle = self.conflict_log.lock();
        let is_due = throttle.on_occurrence(Instant::now()).is_some();
        // Each conflict is an event of its own, so no reminder counts attempts.
        throttle.end();
        if is_due {
            warn!(
                sink = self.name,
                conflicts = self.conflicts.get(),
                "both sides have changed a document; the conflict is in the log of conflicts"
            );
        }
    }

    /// Warns at growing intervals while documents replace each other.
    fn log_collisions(&self) {
        let mut throttle = self.collision_log.lock();
        let is_due = throttle.on_occurrence(Instant::now()).is_some();
        // Each collision is an event of its own, so no reminder counts attempts.
        throttle.end();
        if is_due {
            warn!(
                sink = self.name,
                collisions = self.collisions.get(),
                "source documents replace each other in the target, because a route maps them to one \
                 key and id"
            );
        }
    }
}
