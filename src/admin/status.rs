//! Builds the document of `/status` from the counters.

use std::sync::Arc;

use tokio::time::Instant;

use super::observed_run::ObservedRun;
use super::report::{
    BudgetReport, Failure, LedgerReport, ParkedReport, PipelineReport, PipelineSinkReport,
    SinkReport, StatusReport,
};
use crate::model::{Label, Ledger};
use crate::observe::{
    FailureLog, HistoryLeft, LedgerStatus, Meter, PipelineMeter, PipelineSinkMetrics, Progress,
    ProgressSampler, SinkMeter, SinkStatus, tenths,
};

/// Samples the counters again and again, for the values that need two samples.
pub(super) struct StatusSampler {
    meter: Arc<Meter>,
    sampler: ProgressSampler,
    progress: Progress,
    delivered: Vec<Delivered>,
    at: Instant,
}

/// Changes delivered to one sink of one pipeline, at the last sample.
struct Delivered {
    sink: Arc<PipelineSinkMetrics>,
    count: u64,
    /// Since the sample before.
    per_second: f64,
}

impl StatusSampler {
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        let mut sampler = ProgressSampler::new(Arc::clone(&meter));
        let progress = sampler.sample();
        Self { meter, sampler, progress, delivered: Vec::new(), at: Instant::now() }
    }

    pub(super) fn sample(&mut self) {
        self.progress = self.sampler.sample();
        let seconds = self.at.elapsed().as_secs_f64();
        self.at = Instant::now();
        let before = std::mem::take(&mut self.delivered);
        for sink in self.meter.pipelines().iter().flat_map(|pipeline| pipeline.sinks()) {
            let count = sink.delivered.get();
            let last = before.iter().find(|last| Arc::ptr_eq(&last.sink, &sink));
            #[expect(clippy::cast_precision_loss, reason = "a rate for display")]
            let rate = (count - last.map_or(0, |last| last.count)) as f64;
            let per_second = tenths(rate / seconds.max(f64::EPSILON));
            self.delivered.push(Delivered { sink, count, per_second });
        }
    }

    pub(super) fn report(&self, run: &ObservedRun, alive: bool) -> StatusReport {
        let meter = &run.meter;
        let reasons = run.unready_reasons();
        let rates = self.progress.rates.as_ref();
        StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            phase: meter.phase().name().to_owned(),
            uptime_seconds: run.uptime().as_secs(),
            alive,
            ready: reasons.is_empty(),
            reasons,
            held_back_by: rates.and_then(|rates| rates.limit.as_ref()).map(ToString::to_string),
            pipelines: meter.pipelines().iter().map(|pipeline| self.pipeline(pipeline)).collect(),
            sinks: meter.sinks().iter().map(|sink| self::sink(sink)).collect(),
            budgets: self.budgets(),
        }
    }

    fn pipeline(&self, pipeline: &PipelineMeter) -> PipelineReport {
        let now = jiff::Timestamp::now().as_second();
        let ranges: Vec<_> =
            pipeline.ranges().iter().map(|range| range.sink_statuses(now)).collect();
        let history = pipeline.history_left(now);
        let sinks = pipeline.sinks().into_iter().enumerate().map(|(number, sink)| {
            let statuses: Vec<_> = ranges.iter().filter_map(|range| range.get(number)).collect();
            let of_sink = history.iter().filter(|left| left.sink == number);
            let history = of_sink.min_by_key(|left| left.left).cloned();
            self.pipeline_sink(pipeline, &sink, &statuses, history)
        });
        let parked = pipeline.parked().into_iter().map(|parked| ParkedReport {
            range: parked.range,
            sink: parked.sink,
            error: parked.error,
        });
        PipelineReport {
            name: pipeline.name.clone(),
            read: pipeline.read.get(),
            filtered: pipeline.filtered.get(),
            ranges: ranges.len(),
            parked: parked.collect(),
            reading: failure(&pipeline.read_failures),
            storing: failure(&pipeline.store_failures),
            sinks: sinks.collect(),
        }
    }

    fn pipeline_sink(
        &self,
        pipeline: &PipelineMeter,
        sink: &Arc<PipelineSinkMetrics>,
        statuses: &[&SinkStatus],
        history: Option<HistoryLeft>,
    ) -> PipelineSinkReport {
        let is_parked = pipeline
            .parked()
            .iter()
            .any(|parked| parked.sink.as_ref().is_none_or(|name| *name == sink.sink));
        let meter = self.meter.sinks().into_iter().find(|meter| meter.name == sink.sink);
        let is_failing = meter.is_some_and(|meter| meter.write_failures.failing_for().is_some());
        let caught_up = statuses.iter().filter(|status| status.is_caught_up).count();
        let state = match () {
            () if is_parked => "parked",
            () if is_failing => "failing",
            () if sink.ranges_detached() > 0 => "behind",
            () if !statuses.is_empty() && caught_up == statuses.len() => "caught up",
            () => "following",
        };
        let lag = statuses.iter().map(|status| status.lag).max().unwrap_or_default();
        let stored = statuses.iter().map(|status| status.since_stored).max().unwrap_or_default();
        let delivered = self.delivered.iter().find(|one| Arc::ptr_eq(&one.sink, sink));
        PipelineSinkReport {
            name: sink.sink.clone(),
            state: state.to_owned(),
            lag_seconds: lag.as_secs() + u64::from(lag.subsec_nanos() > 0),
            lag_documents: statuses.iter().map(|status| status.documents).sum(),
            delivered: sink.delivered.get(),
            per_second: delivered.map_or(0.0, |one| one.per_second),
            dead_letters: sink.dead_letters.total(),
            dead_letters_stored: sink.letters_stored(),
            caught_up_ranges: caught_up,
            ranges_behind: sink.ranges_detached(),
            ranges_catching_up: sink.ranges_catching_up(),
            read_again: sink.reread.get(),
            spool_bytes: sink.buffered(),
            last_checkpoint_seconds: stored.as_secs(),
            ledger: ledger(sink.ledger.status()),
            history_left_seconds: history.as_ref().map(|left| left.left.as_secs()),
            history_left_range: history.map(|left| left.range),
            sweep_due: sink.is_sweep_due(),
        }
    }

    fn budgets(&self) -> Vec<BudgetReport> {
        let budgets = self.meter.budgets().into_iter().map(|budget| {
            let usage = budget.governor.usage();
            let mut rates = self.progress.rates.iter().flat_map(|rates| &rates.budgets);
            let rate = rates.find(|rate| Arc::ptr_eq(&rate.meter, &budget));
            BudgetReport {
                container: budget.container.clone(),
                direction: budget.direction.name().to_owned(),
                budget: usage.rate.map(tenths),
                ru_per_second: tenths(rate.map_or(0.0, |rate| rate.rate)),
                ru: tenths(usage.charged),
                requests: usage.requests,
                throttled: usage.throttled,
                expected_to_charged: rate.and_then(|rate| rate.expected_to_charged).map(tenths),
            }
        });
        budgets.collect()
    }
}

fn sink(sink: &SinkMeter) -> SinkReport {
    SinkReport {
        name: sink.name.clone(),
        requests: sink.requests.get(),
        throttled: sink.throttled.get(),
        writing: failure(&sink.write_failures),
    }
}

fn ledger(status: LedgerStatus) -> LedgerReport {
    let LedgerStatus { ledger, in_flight, missing } = status;
    let Ledger { read, filtered, delivered, superseded, dead_letters } = ledger;
    LedgerReport { read, filtered, delivered, superseded, dead_letters, in_flight, missing }
}

fn failure(log: &FailureLog) -> Option<Failure> {
    let for_seconds = log.failing_for()?.as_secs();
    Some(Failure { error: log.error()?, for_seconds })
}
