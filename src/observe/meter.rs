//! Counters, written by those who do the work and read by those who report it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::follow::{PipelineSinkMetrics, Straggler};
use super::range::RangeMeter;
use super::sink::SinkMeter;
use super::traces::TraceMeter;
use super::trouble::FailureLog;
use super::waits::{Reading, Waits};
use crate::governor::Governor;
use crate::model::Stage;

/// Charges are counted in hundredths, so that they fit an atomic integer.
const PARTS_PER_UNIT: f64 = 100.0;

/// Everything there is to report.
#[derive(Debug, Default)]
pub struct Meter {
    phase: Mutex<Phase>,
    pipelines: Mutex<Vec<Arc<PipelineMeter>>>,
    sinks: Mutex<Vec<Arc<SinkMeter>>>,
    budgets: Mutex<Vec<Arc<BudgetMeter>>>,
    /// Zeros where nothing is traced.
    pub traces: Arc<TraceMeter>,
    look_now: Notify,
}

/// What the process is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Accounts are connected, containers and sinks are looked for.
    #[default]
    Starting,
    Running,
    /// Nothing more is read.
    Stopping,
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
    pub fn phase(&self) -> Phase {
        *self.phase.lock()
    }

    pub fn enters(&self, phase: Phase) {
        *self.phase.lock() = phase;
    }

    pub fn add_pipeline(&self, meter: Arc<PipelineMeter>) {
        self.pipelines.lock().push(meter);
    }

    pub fn add_sink(&self, meter: Arc<SinkMeter>) {
        self.sinks.lock().push(meter);
    }

    pub fn add_budget(&self, meter: Arc<BudgetMeter>) {
        self.budgets.lock().push(meter);
    }

    /// The budget that a governor holds, once it was added.
    pub fn budget_of(&self, governor: &Arc<Governor>) -> Option<Arc<BudgetMeter>> {
        self.budgets().into_iter().find(|budget| Arc::ptr_eq(&budget.governor, governor))
    }

    pub fn budgets(&self) -> Vec<Arc<BudgetMeter>> {
        self.budgets.lock().clone()
    }

    /// Notified when somebody wants a line of progress at once.
    pub fn look_now(&self) -> &Notify {
        &self.look_now
    }

    pub fn pipelines(&self) -> Vec<Arc<PipelineMeter>> {
        self.pipelines.lock().clone()
    }

    pub fn sinks(&self) -> Vec<Arc<SinkMeter>> {
        self.sinks.lock().clone()
    }

    /// There are pipelines, and every feed range of every one is caught up.
    pub fn is_caught_up(&self) -> bool {
        let pipelines = self.pipelines();
        !pipelines.is_empty() && pipelines.iter().all(|pipeline| pipeline.is_caught_up())
    }
}

/// One pipeline's counters; they only grow.
#[derive(Debug)]
pub struct PipelineMeter {
    pub name: String,
    pub read: AtomicU64,
    pub filtered: AtomicU64,
    pub source_requests: AtomicU64,
    pub source_throttled: AtomicU64,
    source_charge: AtomicU64,
    /// What its readers spend their time on.
    pub waits: Waits<Reading>,
    /// What fails at the moment.
    pub reading: FailureLog,
    pub storing: FailureLog,
    budget: OnceLock<Arc<BudgetMeter>>,
    /// Nothing of it runs any more.
    pub ended: AtomicBool,
    /// In the order of its sinks.
    follows: Mutex<Vec<Arc<PipelineSinkMetrics>>>,
    ranges: Mutex<Vec<Arc<RangeMeter>>>,
    parked: Mutex<Vec<Parked>>,
}

/// Where going on needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// As log lines have it.
    pub range: String,
    /// The one sink, or `None` for all of the pipeline.
    pub sink: Option<String>,
    pub error: String,
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

impl PipelineMeter {
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            reading: FailureLog::new(format!("reading pipeline `{name}`")),
            storing: FailureLog::new(format!("storing the state of pipeline `{name}`")),
            name,
            read: AtomicU64::default(),
            filtered: AtomicU64::default(),
            source_requests: AtomicU64::default(),
            source_throttled: AtomicU64::default(),
            source_charge: AtomicU64::default(),
            waits: Waits::default(),
            budget: OnceLock::new(),
            ended: AtomicBool::default(),
            follows: Mutex::default(),
            ranges: Mutex::default(),
            parked: Mutex::default(),
        }
    }

    /// Names the budget that reading draws on. The first one stays.
    pub fn draws_on(&self, budget: Arc<BudgetMeter>) {
        self.budget.get_or_init(|| budget);
    }

    pub(super) fn budget(&self) -> Option<&BudgetMeter> {
        self.budget.get().map(AsRef::as_ref)
    }

    /// Adds its next sink.
    pub fn add_sink(&self, sink: &str) -> Arc<PipelineSinkMetrics> {
        let meter = Arc::new(PipelineSinkMetrics::new(&self.name, sink));
        self.follows.lock().push(Arc::clone(&meter));
        meter
    }

    /// The sinks that go their own way, and how far they are behind at `now`, in seconds since the
    /// epoch.
    pub fn stragglers(&self, now: i64) -> Vec<Straggler> {
        let sights: Vec<_> = self.ranges().iter().map(|range| range.sights(now)).collect();
        let lag = |sink: usize| {
            let lags = sights.iter().filter_map(|sights| Some(sights.get(sink)?.lag));
            lags.max().unwrap_or_default().as_secs()
        };
        let follows = self.follows().into_iter().enumerate();
        follows.filter_map(|(sink, meter)| meter.straggler(lag(sink))).collect()
    }

    /// One for each of its sinks, in their order.
    pub fn follows(&self) -> Vec<Arc<PipelineSinkMetrics>> {
        self.follows.lock().clone()
    }

    /// The feed ranges that are read.
    pub fn ranges(&self) -> Vec<Arc<RangeMeter>> {
        self.ranges.lock().clone()
    }

    pub fn park(&self, parked: Parked) {
        self.parked.lock().push(parked);
    }

    pub fn parked(&self) -> Vec<Parked> {
        self.parked.lock().clone()
    }

    /// Counts a change of a sink, by name, that was kept because it cannot be written.
    pub fn count_letter(&self, sink: &str, stage: Stage) {
        if let Some(follow) = self.follows().iter().find(|follow| follow.sink == sink) {
            follow.count_letter(stage);
        }
    }

    pub fn spend(&self, charge: f64) {
        self.source_requests.fetch_add(1, Relaxed);
        self.source_charge.fetch_add(parts(charge), Relaxed);
    }

    /// Puts the meters of new ranges in the place of an old one, at once, so that nobody ever sees
    /// neither.
    pub fn replace_range(&self, old: Option<&Arc<RangeMeter>>, new: &[Arc<RangeMeter>]) {
        let mut ranges = self.ranges.lock();
        ranges.extend(new.iter().cloned());
        ranges.retain(|range| old.is_none_or(|old| !Arc::ptr_eq(range, old)));
    }

    /// It has ended, or there are ranges and every one is caught up.
    pub fn is_caught_up(&self) -> bool {
        let ranges = self.ranges();
        let all = ranges.iter().all(|range| range.is_caught_up());
        self.ended.load(Relaxed) || (!ranges.is_empty() && all)
    }

    /// One look; `now` in seconds since the epoch.
    pub fn totals(&self, now: i64) -> Totals {
        let (ranges, follows) = (self.ranges(), self.follows());
        let mut totals = Totals {
            read: self.read.load(Relaxed),
            filtered: self.filtered.load(Relaxed),
            delivered: follows.iter().map(|follow| follow.delivered.load(Relaxed)).sum(),
            dead_letters: follows.iter().map(|follow| follow.dead_letters()).sum(),
            source_throttled: self.source_throttled.load(Relaxed),
            source_charge: units(self.source_charge.load(Relaxed)),
            ranges: ranges.len(),
            ..Totals::default()
        };
        let (mut gone, mut whole) = (0, 0);
        for range in &ranges {
            totals.caught_up += usize::from(range.is_caught_up());
            let lag = range.sights(now).into_iter().map(|sight| sight.lag).max();
            totals.lag_seconds = totals.lag_seconds.max(lag.unwrap_or_default().as_secs());
            let start = range.start_lsn.load(Relaxed);
            let head = range.head_lsn.load(Relaxed);
            if start >= 0 && head >= start {
                whole += head - start;
                gone += (range.safe_lsn().min(head) - start).max(0);
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
