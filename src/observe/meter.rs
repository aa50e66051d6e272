//! All counters of a run: written by the code that does the work, read by the code that reports.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::budget_meter::{BudgetMeter, Direction};
use super::pipeline_meter::PipelineMeter;
use super::sink_meter::SinkMeter;
use super::totals::Totals;
use super::trace_meter::TraceMeter;
use crate::governor::Governor;
use crate::model::Label;
use crate::state::LogSize;

/// The meters of every pipeline, sink and budget. They are only ever added.
#[derive(Debug, Default)]
pub struct Meter {
    phase: Mutex<Phase>,
    pipelines: Mutex<Vec<Arc<PipelineMeter>>>,
    sinks: Mutex<Vec<Arc<SinkMeter>>>,
    budgets: Mutex<Vec<Arc<BudgetMeter>>>,
    /// All zero if tracing is off.
    pub traces: Arc<TraceMeter>,
    state_log: OnceLock<Arc<LogSize>>,
    progress_requested: Notify,
}

/// The phase of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The bridge connects accounts and looks up containers and sinks.
    #[default]
    Starting,
    Running,
    /// Nothing more is read.
    Stopping,
}

impl Label for Phase {
    const ALL: &'static [Self] = &[Self::Starting, Self::Running, Self::Stopping];

    fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
        }
    }
}

impl Meter {
    pub fn phase(&self) -> Phase {
        *self.phase.lock()
    }

    pub fn set_phase(&self, phase: Phase) {
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

    /// The budget that belongs to a governor, if it was added.
    pub fn budget_of(&self, governor: &Arc<Governor>) -> Option<Arc<BudgetMeter>> {
        self.budgets().into_iter().find(|budget| Arc::ptr_eq(&budget.governor, governor))
    }

    pub fn budgets(&self) -> Vec<Arc<BudgetMeter>> {
        self.budgets.lock().clone()
    }

    /// Names the write-ahead log of the state file. Only the first call has an effect.
    pub fn set_state_log(&self, log: Arc<LogSize>) {
        self.state_log.get_or_init(|| log);
    }

    /// Bytes of the write-ahead log of the state file; `None` without one.
    pub fn state_log_bytes(&self) -> Option<u64> {
        self.state_log.get().map(|log| log.bytes())
    }

    /// Notified when the operator asks for a progress line now (SIGUSR1).
    pub fn progress_requested(&self) -> &Notify {
        &self.progress_requested
    }

    pub fn pipelines(&self) -> Vec<Arc<PipelineMeter>> {
        self.pipelines.lock().clone()
    }

    pub fn sinks(&self) -> Vec<Arc<SinkMeter>> {
        self.sinks.lock().clone()
    }

    /// True if there are pipelines, and every feed range of every pipeline is caught up.
    pub fn is_caught_up(&self) -> bool {
        let pipelines = self.pipelines();
        !pipelines.is_empty() && pipelines.iter().all(|pipeline| pipeline.is_caught_up())
    }

    /// The sums over all pipelines and sinks. Request units and throttled requests are those that the
    /// governors count, because they see every request; without a governor, those of pipelines and sinks.
    pub fn totals(&self) -> Totals {
        let now = jiff::Timestamp::now().as_second();
        let mut sum = Totals::default();
        let pipelines = self.pipelines();
        let (mut done, mut distance) = (0.0, Some(0));
        for pipeline in &pipelines {
            let one = pipeline.totals(now);
            sum.read += one.read;
            sum.filtered += one.filtered;
            sum.delivered += one.delivered;
            sum.dead_letters += one.dead_letters;
            sum.dead_letters_stored += one.dead_letters_stored;
            sum.source_throttled += one.source_throttled;
            sum.source_charge += one.source_charge;
            sum.ranges += one.ranges;
            sum.caught_up += one.caught_up;
            sum.lag_seconds = sum.lag_seconds.max(one.lag_seconds);
            done += one.done;
            distance = distance.zip(one.distance).map(|(sum, one)| sum + one);
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful of pipelines")]
        if !pipelines.is_empty() {
            sum.done = done / pipelines.len() as f64;
            sum.distance = distance;
        }
        for sink in self.sinks() {
            sum.target_charge += sink.charge.get();
            sum.target_throttled += sink.throttled.get();
        }
        if let Some((charged, throttled)) = self.used(Direction::Read) {
            (sum.source_charge, sum.source_throttled) = (charged, throttled);
        }
        if let Some((charged, throttled)) = self.used(Direction::Write) {
            (sum.target_charge, sum.target_throttled) = (charged, throttled);
        }
        sum
    }

    /// Request units charged, and requests throttled. `None` without a governor.
    fn used(&self, direction: Direction) -> Option<(f64, u64)> {
        let budgets = self.budgets().into_iter().filter(|budget| budget.direction == direction);
        let usages = budgets.map(|budget| budget.governor.usage());
        usages
            .map(|usage| (usage.charged, usage.throttled))
            .reduce(|one, other| (one.0 + other.0, one.1 + other.1))
    }
}
