//! The counters of one pipeline.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;

use super::budget_meter::BudgetMeter;
use super::failure_log::FailureLog;
use super::history::HistoryLeft;
use super::pipeline_sink::{PipelineSinkMetrics, Straggler};
use super::range::RangeMeter;
use super::time_spent::{ReadActivity, TimeSpent};
use super::totals::Totals;
use crate::model::DeadLetter;

/// One pipeline's counters; they only grow.
#[derive(Debug)]
pub struct PipelineMeter {
    pub name: String,
    pub read: Counter,
    /// Changes that were read and that no sink gets.
    pub left_out: Counter,
    pub filtered: Counter,
    pub source_requests: Counter,
    pub source_throttled: Counter,
    /// Request units of all requests to the change feed.
    pub source_charge: Counter<f64, AtomicU64>,
    /// How its readers spend their time.
    pub time_spent: TimeSpent<ReadActivity>,
    pub read_failures: FailureLog,
    pub store_failures: FailureLog,
    budget: OnceLock<Arc<BudgetMeter>>,
    /// No task of the pipeline runs any more.
    pub ended: AtomicBool,
    /// In the order of the pipeline's sinks.
    sinks: Mutex<Vec<Arc<PipelineSinkMetrics>>>,
    ranges: Mutex<Vec<Arc<RangeMeter>>>,
    parked: Mutex<Vec<Parked>>,
    /// The feed ranges that are not read any more: the history of their positions goes on ageing.
    parked_ranges: Mutex<Vec<Arc<RangeMeter>>>,
    /// How long the source keeps all versions and deletes, where these are read.
    history: OnceLock<Duration>,
}

/// A feed range that is not read any more until an operator acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The range as log lines show it.
    pub range: String,
    /// The one sink, or `None` for all sinks of the pipeline.
    pub sink: Option<String>,
    pub error: String,
}

impl PipelineMeter {
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            read_failures: FailureLog::new(format!("reading pipeline `{name}`")),
            store_failures: FailureLog::new(format!("storing the state of pipeline `{name}`")),
            name,
            read: Counter::default(),
            left_out: Counter::default(),
            filtered: Counter::default(),
            source_requests: Counter::default(),
            source_throttled: Counter::default(),
            source_charge: Counter::default(),
            time_spent: TimeSpent::default(),
            budget: OnceLock::new(),
            ended: AtomicBool::default(),
            sinks: Mutex::default(),
            ranges: Mutex::default(),
            parked: Mutex::default(),
            parked_ranges: Mutex::default(),
            history: OnceLock::new(),
        }
    }

    /// Names the budget for reading. Only the first call has an effect.
    pub fn set_budget(&self, budget: Arc<BudgetMeter>) {
        self.budget.get_or_init(|| budget);
    }

    pub(super) fn budget(&self) -> Option<&BudgetMeter> {
        self.budget.get().map(AsRef::as_ref)
    }

    /// Says how long the source keeps all versions and deletes. Only the first call has an effect.
    pub fn set_history(&self, history: Duration) {
        self.history.get_or_init(|| history);
    }

    /// How long the source keeps all versions and deletes; `None` if these are not read.
    pub fn history(&self) -> Option<Duration> {
        self.history.get().copied()
    }

    /// By sink and feed range, how long the source still has what the position needs, also of ranges that
    /// are parked. Empty if all versions and deletes are not read. `now` in seconds since the epoch.
    pub fn history_left(&self, now: i64) -> Vec<HistoryLeft> {
        let Some(history) = self.history() else { return Vec::new() };
        let mut ranges = self.ranges();
        ranges.extend(self.parked_ranges.lock().iter().cloned());
        let of_range = |range: &Arc<RangeMeter>| {
            let moments = range.current_at(now).into_iter().enumerate();
            let left =
                moments.map(|(sink, at)| HistoryLeft::of(sink, &range.range, at, now, history));
            left.collect::<Vec<_>>()
        };
        ranges.iter().flat_map(of_range).collect()
    }

    /// Adds the pipeline's next sink.
    pub fn add_sink(&self, sink: &str) -> Arc<PipelineSinkMetrics> {
        let metrics = Arc::new(PipelineSinkMetrics::new(&self.name, sink));
        self.sinks.lock().push(Arc::clone(&metrics));
        metrics
    }

    /// The sinks that read separately in at least one feed range. `now` in seconds since the epoch.
    pub fn stragglers(&self, now: i64) -> Vec<Straggler> {
        let ranges: Vec<_> = self.ranges().iter().map(|range| range.sink_statuses(now)).collect();
        let lag_of = |sink: usize| {
            let lags = ranges.iter().filter_map(|statuses| Some(statuses.get(sink)?.lag));
            lags.max().unwrap_or_default().as_secs()
        };
        let sinks = self.sinks().into_iter().enumerate();
        sinks.filter_map(|(number, sink)| sink.straggler(lag_of(number))).collect()
    }

    /// The pipeline's sinks, in their order.
    pub fn sinks(&self) -> Vec<Arc<PipelineSinkMetrics>> {
        self.sinks.lock().clone()
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

    /// Sets how many dead letters each sink has at the start.
    pub fn set_letters_stored(&self, by_sink: &BTreeMap<String, u64>) {
        for sink in self.sinks() {
            sink.set_letters_stored(by_sink.get(&sink.sink).copied().unwrap_or(0));
        }
    }

    /// Counts and logs a change that was stored as a dead letter; `is_new` if it was not stored before.
    pub fn kept_dead_letter(&self, letter: &DeadLetter, is_new: bool) {
        if let Some(metrics) = self.sinks().iter().find(|metrics| metrics.sink == letter.sink) {
            metrics.kept(letter, is_new);
        }
    }

    /// Counts a request to the change feed, with its charge in request units.
    pub fn count_request(&self, charge: f64) {
        self.source_requests.inc();
        self.source_charge.inc_by(charge);
    }

    /// Replaces the meter of a feed range by those of its parts in one step, so that no reader of the
    /// metrics sees a moment without either.
    pub fn replace_range(&self, old: Option<&Arc<RangeMeter>>, new: &[Arc<RangeMeter>]) {
        let mut ranges = self.ranges.lock();
        ranges.extend(new.iter().cloned());
        ranges.retain(|range| old.is_none_or(|old| !Arc::ptr_eq(range, old)));
    }

    /// Reads nothing more of a feed range until an operator acts.
    pub fn park_range(&self, range: &Arc<RangeMeter>) {
        self.parked_ranges.lock().push(Arc::clone(range));
        self.replace_range(Some(range), &[]);
    }

    /// True if the pipeline has ended, or has feed ranges and every one is caught up.
    pub fn is_caught_up(&self) -> bool {
        let ranges = self.ranges();
        let all = ranges.iter().all(|range| range.is_caught_up());
        self.ended.load(Relaxed) || (!ranges.is_empty() && all)
    }

    /// The sums of this pipeline. `now` in seconds since the epoch.
    pub fn totals(&self, now: i64) -> Totals {
        let (ranges, sinks) = (self.ranges(), self.sinks());
        let mut totals = Totals {
            read: self.read.get(),
            filtered: self.filtered.get(),
            delivered: sinks.iter().map(|sink| sink.delivered.get()).sum(),
            dead_letters: sinks.iter().map(|sink| sink.dead_letters.total()).sum(),
            dead_letters_stored: sinks.iter().map(|sink| sink.letters_stored()).sum(),
            source_throttled: self.source_throttled.get(),
            source_charge: self.source_charge.get(),
            ranges: ranges.len(),
            ..Totals::default()
        };
        let (mut done, mut distance, mut answered) = (0, 0, 0);
        for range in &ranges {
            totals.caught_up += usize::from(range.is_caught_up());
            let lag = range.sink_statuses(now).into_iter().map(|status| status.lag).max();
            totals.lag_seconds = totals.lag_seconds.max(lag.unwrap_or_default().as_secs());
            let start = range.start_lsn.load(Relaxed);
            let head = range.head_lsn.load(Relaxed);
            if start >= 0 && head >= start {
                answered += 1;
                distance += head - start;
                done += (range.safe_lsn().min(head) - start).max(0);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a ratio for display")]
        if distance > 0 {
            totals.done = done as f64 / distance as f64;
        }
        if totals.ranges > 0 && answered == totals.ranges {
            totals.distance = u64::try_from(distance).ok();
        }
        if totals.ranges > 0 && totals.caught_up == totals.ranges {
            totals.done = 1.0;
        }
        totals
    }
}
