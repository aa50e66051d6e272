//! The counters as metrics, collected at each scrape. docs/metrics.md lists their names and meanings.

mod families;

use std::fmt::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;

use self::families::{Families, Labels, rows, rows_by};
use super::observed_run::ObservedRun;
use crate::governor::{HeldBy, Usage};
use crate::model::{Label, Ledger};
use crate::observe::{
    BudgetMeter, LedgerStatus, PipelineMeter, PipelineSinkMetrics, ReadActivity, SinkMeter,
    SinkStatus, TraceMeter, WriteActivity, process,
};

/// All metrics of a run.
#[derive(Debug)]
pub(super) struct RunMetrics(pub(super) Arc<ObservedRun>);

type Pipeline = Arc<PipelineMeter>;
type PipelineSink = Arc<PipelineSinkMetrics>;
type Sink = Arc<SinkMeter>;

impl Collector for RunMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut out = Families(encoder);
        let ObservedRun { meter, .. } = &*self.0;
        let pipelines = meter.pipelines();
        let sinks: Vec<_> = pipelines.iter().flat_map(|pipeline| pipeline.sinks()).collect();
        changes(&mut out, &pipelines, &sinks)?;
        lag(&mut out, &pipelines)?;
        history(&mut out, &pipelines)?;
        sweeps(&mut out, &sinks)?;
        reading_again(&mut out, &pipelines, &sinks)?;
        budgets(&mut out, meter.budgets())?;
        writing(&mut out, &meter.sinks())?;
        reading(&mut out, &pipelines)?;
        traces(&mut out, &meter.traces)?;
        process(&mut out, &self.0)
    }
}

fn changes(
    out: &mut Families<'_>,
    pipelines: &[Pipeline],
    sinks: &[PipelineSink],
) -> Result<(), Error> {
    let read = rows(pipelines, of_pipeline, |pipeline| pipeline.read.get());
    out.counter("cosmos_bridge_changes_read", "Changes read from the feed", read)?;
    let filtered = rows(pipelines, of_pipeline, |pipeline| pipeline.filtered.get());
    out.counter("cosmos_bridge_changes_filtered", "Changes that a route left out", filtered)?;
    let delivered = rows(sinks, of_pipeline_sink, |sink| sink.delivered.get());
    out.counter("cosmos_bridge_changes_delivered", "Changes durable in the sink", delivered)?;
    let letters =
        rows_by(sinks, of_pipeline_sink, "stage", |sink, stage| sink.dead_letters.get(stage));
    let help = "Changes kept because they cannot be written";
    out.counter("cosmos_bridge_dead_letters", help, letters)?;
    let stored = rows(sinks, of_pipeline_sink, |sink| sink.letters_stored());
    let help = "Dead letters in the state file, also of earlier runs";
    out.gauge("cosmos_bridge_dead_letters_stored", help, stored)?;
    let ledger = sinks.iter().flat_map(|sink| {
        let LedgerStatus { ledger, in_flight, .. } = sink.ledger.status();
        let Ledger { read, filtered, delivered, superseded, dead_letters } = ledger;
        let counts = [
            ("read", read),
            ("filtered", filtered),
            ("delivered", delivered),
            ("superseded", superseded),
            ("dead_letter", dead_letters),
            ("in_flight", in_flight),
        ];
        let row = |(fate, count)| {
            ((of_pipeline_sink(sink), [("fate", fate)]), i64::try_from(count).unwrap_or(i64::MAX))
        };
        counts.map(row)
    });
    let help = "What became of the changes that were read, since the first start";
    out.gauge("cosmos_bridge_ledger_changes", help, ledger)?;
    let missing = rows(sinks, of_pipeline_sink, |sink| sink.ledger.status().missing);
    let help = "Changes that were read and have no fate; anything but 0 is a defect";
    out.gauge("cosmos_bridge_ledger_missing_changes", help, missing)?;
    let changes = rows(sinks, of_pipeline_sink, |sink| sink.reread.get());
    let help = "Changes read again for this sink alone";
    out.counter("cosmos_bridge_changes_read_again", help, changes)?;
    let requests = rows(sinks, of_pipeline_sink, |sink| sink.reread_requests.get());
    let help = "Read requests for this sink alone";
    out.counter("cosmos_bridge_read_again_requests", help, requests)?;
    let charge = rows(sinks, of_pipeline_sink, |sink| sink.reread_charge.get());
    let help = "Request units of read requests for this sink alone";
    out.counter("cosmos_bridge_read_again_request_units", help, charge)
}

fn lag(out: &mut Families<'_>, pipelines: &[Pipeline]) -> Result<(), Error> {
    let now = jiff::Timestamp::now().as_second();
    let mut statuses = Vec::new();
    for pipeline in pipelines {
        for range in pipeline.ranges() {
            let of_range = range.sink_statuses(now).into_iter().zip(pipeline.sinks());
            statuses.extend(of_range.map(|(status, sink)| (sink, Arc::clone(&range), status)));
        }
    }
    let each = |value: fn(&SinkStatus) -> Option<f64>| {
        statuses.iter().filter_map(move |(sink, range, status)| {
            Some(((of_pipeline_sink(sink), [("range", range.range.as_str())]), value(status)?))
        })
    };
    let caught_up = each(|status| Some(f64::from(u8::from(status.is_caught_up))));
    let help = "1 if the feed has nothing newer and nothing is in flight";
    out.gauge("cosmos_bridge_caught_up", help, caught_up)?;
    let seconds = each(|status| Some(status.lag.as_secs_f64()));
    out.gauge("cosmos_bridge_lag_seconds", "How far behind the source, 0 if caught up", seconds)?;
    #[expect(clippy::cast_precision_loss, reason = "log sequence numbers are far below 2^53")]
    let documents = each(|status| status.documents.map(|behind| behind as f64));
    let help = "Log sequence numbers behind the newest, 0 if caught up";
    out.gauge("cosmos_bridge_lag_documents", help, documents)?;
    let stored = each(|status| Some(timestamp_before(status.since_stored)));
    let help = "When a position was last stored";
    out.gauge("cosmos_bridge_last_checkpoint_timestamp_seconds", help, stored)?;
    let progress = each(|status| Some(timestamp_before(status.since_progress)));
    let help = "When the sink last made progress";
    out.gauge("cosmos_bridge_last_progress_timestamp_seconds", help, progress)?;
    let ranges = rows(pipelines, of_pipeline, |pipeline| integer(pipeline.ranges().len()));
    out.gauge("cosmos_bridge_feed_ranges", "Feed ranges that are read", ranges)
}

fn sweeps(out: &mut Families<'_>, sinks: &[PipelineSink]) -> Result<(), Error> {
    let resyncs = rows(sinks, of_pipeline_sink, |sink| sink.resyncs.get());
    let help = "Feed ranges copied again because the source had lost their history";
    out.counter("cosmos_bridge_resyncs", help, resyncs)?;
    let due = rows(sinks, of_pipeline_sink, |sink| integer(usize::from(sink.is_sweep_due())));
    out.gauge("cosmos_bridge_sweep_due", "1 while a sweep is due or runs", due)?;
    let swept = rows(sinks, of_pipeline_sink, |sink| sink.swept.get());
    out.counter("cosmos_bridge_sweep_ids", "Copies that sweeps have looked at", swept)?;
    let deleted = rows(sinks, of_pipeline_sink, |sink| sink.sweep_deletes.get());
    out.counter("cosmos_bridge_sweep_deletes", "Copies that sweeps have deleted", deleted)?;
    let charge = rows(sinks, of_pipeline_sink, |sink| sink.sweep_charge.get());
    let help = "Request units of sweeps, of source and target";
    out.counter("cosmos_bridge_sweep_request_units", help, charge)
}

fn history(out: &mut Families<'_>, pipelines: &[Pipeline]) -> Result<(), Error> {
    let now = jiff::Timestamp::now().as_second();
    let mut all = Vec::new();
    for pipeline in pipelines {
        let sinks = pipeline.sinks();
        let of_sinks = pipeline.history_left(now).into_iter();
        all.extend(of_sinks.filter_map(|left| Some((Arc::clone(sinks.get(left.sink)?), left))));
    }
    let left = all.iter().map(|(sink, left)| {
        ((of_pipeline_sink(sink), [("range", left.range.as_str())]), left.left.as_secs_f64())
    });
    let help = "How long the source still has the history that the position needs";
    out.gauge("cosmos_bridge_history_left_seconds", help, left)?;
    let kept = pipelines
        .iter()
        .filter_map(|pipeline| Some((of_pipeline(pipeline), pipeline.history()?.as_secs_f64())));
    let help = "How long the source keeps all versions and deletes, as configured";
    out.gauge("cosmos_bridge_history_seconds", help, kept)
}

fn reading_again(
    out: &mut Families<'_>,
    pipelines: &[Pipeline],
    sinks: &[PipelineSink],
) -> Result<(), Error> {
    let parked: Vec<_> = pipelines.iter().map(|pipeline| pipeline.parked()).collect();
    let parked = pipelines.iter().zip(&parked).flat_map(|(pipeline, parked)| {
        pipeline.sinks().into_iter().map(move |sink| {
            let is_for = |name: &Option<String>| name.as_ref().is_none_or(|n| *n == sink.sink);
            parked.iter().filter(|parked| is_for(&parked.sink)).count()
        })
    });
    let parked = sinks.iter().map(|sink| of_pipeline_sink(sink)).zip(parked.map(integer));
    let help = "Feed ranges that are not read until an operator acts";
    out.gauge("cosmos_bridge_parked_ranges", help, parked)?;
    let behind = rows(sinks, of_pipeline_sink, |sink| integer(sink.ranges_detached()));
    let help = "Feed ranges in which the sink reads separately";
    out.gauge("cosmos_bridge_ranges_behind", help, behind)?;
    let catching_up = rows(sinks, of_pipeline_sink, |sink| integer(sink.ranges_catching_up()));
    let help = "Feed ranges that are being read again for the sink";
    out.gauge("cosmos_bridge_ranges_catching_up", help, catching_up)?;
    let bytes = rows(sinks, of_pipeline_sink, |sink| integer(sink.buffered()));
    let help = "Bytes in the sink's buffer";
    out.gauge("cosmos_bridge_spool_bytes", help, bytes)?;
    let limit = rows(sinks, of_pipeline_sink, |sink| integer(sink.buffer_limit()));
    out.gauge("cosmos_bridge_spool_limit_bytes", "Size of the sink's buffer", limit)
}

fn budgets(out: &mut Families<'_>, budgets: Vec<Arc<BudgetMeter>>) -> Result<(), Error> {
    let usages = budgets.into_iter().map(|budget| {
        let usage = budget.governor.usage();
        (budget, usage)
    });
    let usages: Vec<(Arc<BudgetMeter>, Usage)> = usages.collect();
    let requests = rows(&usages, of_budget, |(_, usage)| usage.requests);
    out.counter("cosmos_bridge_requests", "Requests that got a response", requests)?;
    let throttled = rows(&usages, of_budget, |(_, usage)| usage.throttled);
    let help = "Attempts that the service throttled (429)";
    out.counter("cosmos_bridge_requests_throttled", help, throttled)?;
    let charged = rows(&usages, of_budget, |(_, usage)| usage.charged);
    out.counter("cosmos_bridge_request_units", "Request units, as charged", charged)?;
    let expected = rows(&usages, of_budget, |(_, usage)| usage.expected);
    let help = "Request units, as predicted before the request";
    out.counter("cosmos_bridge_request_units_predicted", help, expected)?;
    let limited = usages.iter().filter_map(|usage| Some((of_budget(usage), usage.1.rate?)));
    let help = "Request units per second that may be used";
    out.gauge("cosmos_bridge_budget_request_units_per_second", help, limited)?;
    let held = rows_by(&usages, of_budget, "cause", |(_, usage), cause: HeldBy| {
        usage.held.get(&cause).copied().unwrap_or_default().as_secs_f64()
    });
    let help = "Time in which requests waited for this cause alone";
    out.counter("cosmos_bridge_held_seconds", help, held)
}

fn writing(out: &mut Families<'_>, sinks: &[Sink]) -> Result<(), Error> {
    let requests = rows(sinks, of_sink, |sink| sink.requests.get());
    out.counter("cosmos_bridge_sink_requests", "Requests sent to the target", requests)?;
    let throttled = rows(sinks, of_sink, |sink| sink.throttled.get());
    let help = "Requests that the target throttled";
    out.counter("cosmos_bridge_sink_requests_throttled", help, throttled)?;
    let superseded = rows(sinks, of_sink, |sink| sink.superseded.get());
    let help = "Changes left out because the target has a later version";
    out.counter("cosmos_bridge_sink_changes_superseded", help, superseded)?;
    let collisions = rows(sinks, of_sink, |sink| sink.collisions.get());
    let help = "Changes whose document in the target came from another source document";
    out.counter("cosmos_bridge_sink_collisions", help, collisions)?;
    let conflicts = rows(sinks, of_sink, |sink| sink.conflicts.get());
    let help = "Documents that both sides of a mirror have changed";
    out.counter("cosmos_bridge_conflicts", help, conflicts)?;
    let (name, help) = ("cosmos_bridge_sink_write_duration_seconds", "Time of one write attempt");
    let mut durations = out.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for sink in sinks {
        sink.write_seconds.encode(durations.encode_family(&of_sink(sink))?)?;
    }
    let errors = rows_by(sinks, of_sink, "cause", |sink, cause| sink.errors.get(cause));
    let help = "Write attempts after which changes are retried";
    out.counter("cosmos_bridge_sink_errors", help, errors)?;
    let down = rows(sinks, of_sink, |sink| seconds(sink.write_failures.failing_for()));
    out.gauge("cosmos_bridge_sink_down_seconds", "How long writing has failed", down)?;
    let time = rows_by(sinks, of_sink, "activity", |sink, activity: WriteActivity| {
        seconds(sink.time_spent.sums().get(&activity).copied())
    });
    out.counter("cosmos_bridge_sink_time_seconds", "Time of all writers by activity", time)
}

fn reading(out: &mut Families<'_>, pipelines: &[Pipeline]) -> Result<(), Error> {
    let failures = rows(pipelines, of_pipeline, |pipeline| pipeline.read_failures.failures());
    out.counter("cosmos_bridge_read_failures", "Requests to the feed that failed", failures)?;
    let down =
        rows(pipelines, of_pipeline, |pipeline| seconds(pipeline.read_failures.failing_for()));
    out.gauge("cosmos_bridge_read_down_seconds", "How long reading has failed", down)?;
    let time = rows_by(pipelines, of_pipeline, "activity", |pipeline, activity: ReadActivity| {
        seconds(pipeline.time_spent.sums().get(&activity).copied())
    });
    out.counter("cosmos_bridge_read_time_seconds", "Time of all readers by activity", time)?;
    let failures = rows(pipelines, of_pipeline, |pipeline| pipeline.store_failures.failures());
    let help = "Positions and dead letters that could not be stored";
    out.counter("cosmos_bridge_state_failures", help, failures)?;
    let down =
        rows(pipelines, of_pipeline, |pipeline| seconds(pipeline.store_failures.failing_for()));
    out.gauge("cosmos_bridge_state_down_seconds", "How long storing has failed", down)
}

fn traces(out: &mut Families<'_>, traces: &TraceMeter) -> Result<(), Error> {
    let recorded = traces.recorded.get();
    out.process_counter("cosmos_bridge_spans", "Spans of traced changes", &recorded)?;
    let help = "Spans that the collector accepted";
    out.process_counter("cosmos_bridge_spans_sent", help, &traces.sent.get())?;
    let dropped = traces.dropped.iter().map(|(why, count)| ([("cause", why.name())], count));
    let help = "Spans that the collector did not accept";
    out.counter("cosmos_bridge_spans_dropped", help, dropped)?;
    let down = seconds(traces.send_failures.failing_for());
    let help = "How long sending spans has failed";
    out.process_gauge("cosmos_bridge_traces_down_seconds", help, &down)
}

fn process(out: &mut Families<'_>, run: &ObservedRun) -> Result<(), Error> {
    let reasons = run.unready_reasons();
    let ready = i64::from(reasons.is_empty());
    out.process_gauge("cosmos_bridge_ready", "1 if the bridge is ready", &ready)?;
    let by_cause = super::health::Cause::ALL.iter().map(|cause| {
        let reasons = reasons.iter().filter(|reason| reason.cause == *cause).count();
        ([("cause", cause.name())], integer(reasons))
    });
    out.gauge("cosmos_bridge_unready_reasons", "Why the bridge is not ready", by_cause)?;
    let heartbeat = timestamp_before(run.heartbeat.age());
    let help = "When the runtime that does the work last ran a task";
    out.process_gauge("cosmos_bridge_heartbeat_timestamp_seconds", help, &heartbeat)?;
    if let Some(bytes) = run.meter.state_log_bytes() {
        let help = "Size of the write-ahead log of the state file";
        out.process_gauge("cosmos_bridge_state_log_bytes", help, &bytes)?;
    }
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    out.0
        .encode_descriptor("cosmos_bridge_build", "The running version", None, MetricType::Info)?
        .encode_info(&version)?;
    let start = timestamp(run.start);
    out.process_gauge("process_start_time_seconds", "When the process started", &start)?;
    let cpu = process::cpu_time().as_secs_f64();
    out.process_counter("process_cpu_seconds", "CPU time", &cpu)?;
    match process::memory() {
        Some(bytes) => out.process_gauge("process_resident_memory_bytes", "Memory in use", &bytes),
        None => Ok(()),
    }
}

fn of_pipeline(pipeline: &Pipeline) -> Labels<'_, 1> {
    [("pipeline", &pipeline.name)]
}

fn of_pipeline_sink(sink: &PipelineSink) -> Labels<'_, 2> {
    [("pipeline", &sink.pipeline), ("sink", &sink.sink)]
}

fn of_sink(sink: &Sink) -> Labels<'_, 1> {
    [("sink", &sink.name)]
}

fn of_budget((budget, _): &(Arc<BudgetMeter>, Usage)) -> Labels<'_, 2> {
    [("container", &budget.container), ("direction", budget.direction.name())]
}

fn integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds(time: Option<Duration>) -> f64 {
    time.unwrap_or_default().as_secs_f64()
}

/// The moment `time` ago, in seconds since the epoch.
fn timestamp_before(time: Duration) -> f64 {
    timestamp(SystemTime::now() - time)
}

fn timestamp(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
