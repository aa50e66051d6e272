//! Counters, written by those who do the work and read by those who report it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cosmos_bridge_sink::Written;
use tokio::sync::Notify;

use super::follow::{FollowMeter, Straggler};
use super::waits::{Reading, Waits, Writing};
use crate::governor::Governor;

/// Charges are counted in hundredths, so that they fit an atomic integer.
const PARTS_PER_UNIT: f64 = 100.0;

/// Everything there is to report.
#[derive(Debug, Default)]
pub struct Meter {
    pipelines: Mutex<Vec<Arc<PipelineMeter>>>,
    sinks: Mutex<Vec<Arc<SinkMeter>>>,
    budgets: Mutex<Vec<Arc<BudgetMeter>>>,
    look_now: Notify,
}

/// The budget of one direction of one container.
#[derive(Debug)]
pub struct BudgetMeter {
    /// `account/database/container`.
    pub container: String,
    pub direction: Direction,
    pub governor: Arc<Governor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Read,
    Write,
}

impl Direction {
    /// As log lines say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl Meter {
    pub fn add_pipeline(&self, meter: Arc<PipelineMeter>) {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).push(meter);
    }

    pub fn add_sink(&self, meter: Arc<SinkMeter>) {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner).push(meter);
    }

    pub fn add_budget(&self, meter: Arc<BudgetMeter>) {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner).push(meter);
    }

    /// The budget that a governor holds, once it was added.
    pub fn budget_of(&self, governor: &Arc<Governor>) -> Option<Arc<BudgetMeter>> {
        self.budgets().into_iter().find(|budget| Arc::ptr_eq(&budget.governor, governor))
    }

    pub fn budgets(&self) -> Vec<Arc<BudgetMeter>> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notified when somebody wants a line of progress at once.
    pub fn look_now(&self) -> &Notify {
        &self.look_now
    }

    pub fn pipelines(&self) -> Vec<Arc<PipelineMeter>> {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn sinks(&self) -> Vec<Arc<SinkMeter>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// There are pipelines, and every feed range of every one is caught up.
    pub fn is_caught_up(&self) -> bool {
        let pipelines = self.pipelines();
        !pipelines.is_empty() && pipelines.iter().all(|pipeline| pipeline.is_caught_up())
    }
}

/// One pipeline's counters; they only grow.
#[derive(Debug, Default)]
pub struct PipelineMeter {
    pub name: String,
    pub read: AtomicU64,
    pub filtered: AtomicU64,
    pub delivered: AtomicU64,
    pub dead_letters: AtomicU64,
    pub source_requests: AtomicU64,
    pub source_throttled: AtomicU64,
    source_charge: AtomicU64,
    /// What its readers spend their time on.
    pub waits: Waits<Reading>,
    budget: OnceLock<Arc<BudgetMeter>>,
    /// Nothing of it runs any more.
    pub ended: AtomicBool,
    /// In the order of its sinks.
    follows: Mutex<Vec<Arc<FollowMeter>>>,
    pub ranges: Mutex<Vec<Arc<RangeMeter>>>,
}

/// One feed range's state.
#[derive(Debug)]
pub struct RangeMeter {
    /// The service had nothing newer, and everything read is safe.
    pub caught_up: AtomicBool,
    /// Log sequence numbers: where this run began, what is safe, and the newest there is.
    pub start_lsn: AtomicI64,
    pub safe_lsn: AtomicI64,
    pub head_lsn: AtomicI64,
    /// When the oldest change that is not safe was committed, in seconds since the epoch; 0 when
    /// there is none.
    pub oldest_unsafe: AtomicI64,
    /// The same for each sink of the pipeline.
    pub oldest_of_sinks: Vec<AtomicI64>,
}

/// One sink's counters; they only grow.
#[derive(Debug, Default)]
pub struct SinkMeter {
    pub name: String,
    pub requests: AtomicU64,
    pub throttled: AtomicU64,
    charge: AtomicU64,
    /// What those who write to it spend their time on.
    pub waits: Waits<Writing>,
    budget: OnceLock<Arc<BudgetMeter>>,
}

/// One look at all counters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    pub read: u64,
    pub filtered: u64,
    pub delivered: u64,
    pub dead_letters: u64,
    pub source_throttled: u64,
    /// Request units.
    pub source_charge: f64,
    pub target_charge: f64,
    pub target_throttled: u64,
    pub ranges: usize,
    pub caught_up: usize,
    /// Seconds behind the source, of the range that is furthest behind.
    pub lag_seconds: u64,
    /// Share of the way from where the run began to the newest change, 0 to 1.
    pub done: f64,
}

impl Default for RangeMeter {
    fn default() -> Self {
        Self {
            caught_up: AtomicBool::new(false),
            start_lsn: AtomicI64::new(-1),
            safe_lsn: AtomicI64::new(-1),
            head_lsn: AtomicI64::new(-1),
            oldest_unsafe: AtomicI64::new(0),
            oldest_of_sinks: Vec::new(),
        }
    }
}

impl RangeMeter {
    /// Of a pipeline with so many sinks.
    pub fn new(sinks: usize) -> Self {
        let oldest_of_sinks = (0..sinks).map(|_| AtomicI64::new(0)).collect();
        Self { oldest_of_sinks, ..Self::default() }
    }
}

impl SinkMeter {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Names the budget that writing draws on. The first one stays.
    pub fn draws_on(&self, budget: Arc<BudgetMeter>) {
        self.budget.get_or_init(|| budget);
    }

    pub(super) fn budget(&self) -> Option<&BudgetMeter> {
        self.budget.get().map(AsRef::as_ref)
    }

    pub fn count(&self, written: &Written) {
        self.requests.fetch_add(u64::from(written.requests), Relaxed);
        self.throttled.fetch_add(u64::from(written.throttled), Relaxed);
        self.charge.fetch_add(parts(written.charge), Relaxed);
    }

    /// Request units.
    pub fn charge(&self) -> f64 {
        units(self.charge.load(Relaxed))
    }
}

impl PipelineMeter {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Names the budget that reading draws on. The first one stays.
    pub fn draws_on(&self, budget: Arc<BudgetMeter>) {
        self.budget.get_or_init(|| budget);
    }

    pub(super) fn budget(&self) -> Option<&BudgetMeter> {
        self.budget.get().map(AsRef::as_ref)
    }

    /// Adds its next sink.
    pub fn add_sink(&self, sink: &str) -> Arc<FollowMeter> {
        let meter = Arc::new(FollowMeter::new(&self.name, sink));
        self.follows.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&meter));
        meter
    }

    /// The sinks that go their own way, and how far they are behind at `now`, in seconds since the
    /// epoch.
    pub fn stragglers(&self, now: i64) -> Vec<Straggler> {
        let ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lag = |sink: usize| {
            let oldest = ranges.iter().filter_map(|range| range.oldest_of_sinks.get(sink));
            let oldest = oldest.map(|oldest| oldest.load(Relaxed)).filter(|at| *at > 0).min();
            oldest.map_or(0, |oldest| u64::try_from(now - oldest).unwrap_or(0))
        };
        let follows = self.follows.lock().unwrap_or_else(PoisonError::into_inner);
        let follows = follows.iter().enumerate();
        follows.filter_map(|(sink, meter)| meter.straggler(lag(sink))).collect()
    }

    pub fn spend(&self, charge: f64) {
        self.source_requests.fetch_add(1, Relaxed);
        self.source_charge.fetch_add(parts(charge), Relaxed);
    }

    /// Puts the meters of new ranges in the place of an old one, at once, so that nobody ever sees
    /// neither.
    pub fn replace_range(&self, old: Option<&Arc<RangeMeter>>, new: &[Arc<RangeMeter>]) {
        let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        ranges.extend(new.iter().cloned());
        ranges.retain(|range| old.is_none_or(|old| !Arc::ptr_eq(range, old)));
    }

    /// It has ended, or there are ranges and every one is caught up.
    pub fn is_caught_up(&self) -> bool {
        let ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        let all = ranges.iter().all(|range| range.caught_up.load(Relaxed));
        self.ended.load(Relaxed) || (!ranges.is_empty() && all)
    }

    /// One look; `now` in seconds since the epoch.
    pub fn totals(&self, now: i64) -> Totals {
        let ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = Totals {
            read: self.read.load(Relaxed),
            filtered: self.filtered.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            dead_letters: self.dead_letters.load(Relaxed),
            source_throttled: self.source_throttled.load(Relaxed),
            source_charge: units(self.source_charge.load(Relaxed)),
            ranges: ranges.len(),
            ..Totals::default()
        };
        let (mut gone, mut whole) = (0, 0);
        for range in ranges.iter() {
            totals.caught_up += usize::from(range.caught_up.load(Relaxed));
            let oldest = range.oldest_unsafe.load(Relaxed);
            if oldest > 0 {
                let behind = u64::try_from(now - oldest).unwrap_or(0);
                totals.lag_seconds = totals.lag_seconds.max(behind);
            }
            let start = range.start_lsn.load(Relaxed);
            let head = range.head_lsn.load(Relaxed);
            if start >= 0 && head >= start {
                whole += head - start;
                gone += (range.safe_lsn.load(Relaxed).min(head) - start).max(0);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a share, for people")]
        if whole > 0 {
            totals.done = gone as f64 / whole as f64;
        }
        if totals.ranges > 0 && totals.caught_up == totals.ranges {
            totals.done = 1.0;
        }
        totals
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "charges are small and not negative"
)]
pub(super) fn parts(charge: f64) -> u64 {
    (charge * PARTS_PER_UNIT).round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 hundredths")]
pub(super) fn units(parts: u64) -> f64 {
    parts as f64 / PARTS_PER_UNIT
}
