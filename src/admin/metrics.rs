//! The counters as metrics, read when somebody asks. docs/metrics.md has their names and meanings.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, EncodeMetric,
    MetricEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use super::health::Cause;
use super::view::Watched;
use crate::governor::Held;
use crate::model::Stage;
use crate::observe::{Lost, TraceMeter};
use crate::observe::{
    PipelineMeter, PipelineSinkMetrics, RangeMeter, Reading, Sight, SinkMeter, Writing, process,
};

/// Everything there is to report, as families of metrics.
#[derive(Debug)]
pub(super) struct Families(pub(super) Arc<Watched>);

impl Collector for Families {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut out = Out(encoder);
        let Watched { meter, .. } = &*self.0;
        let pipelines = meter.pipelines();
        changes(&mut out, &pipelines)?;
        lag(&mut out, &pipelines)?;
        follows(&mut out, &pipelines)?;
        self.budgets(&mut out)?;
        sinks(&mut out, &meter.sinks())?;
        reading(&mut out, &pipelines)?;
        traces(&mut out, &meter.traces)?;
        self.process(&mut out)
    }
}

/// Writes families. A family is a name, what it means, and its rows; counters are named without their
/// `_total`.
struct Out<'e>(DescriptorEncoder<'e>);

type Labels<const N: usize> = [(&'static str, String); N];

const NO_EXEMPLAR: Option<&Exemplar<Labels<0>, f64>> = None;

impl Out<'_> {
    fn family<L: EncodeLabelSet, V>(
        &mut self,
        (name, help, kind): (&str, &str, MetricType),
        rows: impl IntoIterator<Item = (L, V)>,
        encode: impl Fn(&mut MetricEncoder<'_>, &V) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in rows {
            encode(&mut encoder.encode_family(&labels)?, &value)?;
        }
        Ok(())
    }

    fn counter<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, V)>,
    ) -> Result<(), Error> {
        self.family((name, help, MetricType::Counter), rows, |encoder, value| {
            encoder.encode_counter(value, NO_EXEMPLAR)
        })
    }

    fn gauge<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, V)>,
    ) -> Result<(), Error> {
        self.family((name, help, MetricType::Gauge), rows, |encoder, value| {
            encoder.encode_gauge(value)
        })
    }

    /// Of the whole process: no labels.
    fn alone<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        value: &V,
    ) -> Result<(), Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(value)
    }
}

fn changes(out: &mut Out<'_>, pipelines: &[Arc<PipelineMeter>]) -> Result<(), Error> {
    let each = |value: fn(&PipelineMeter) -> u64| {
        pipelines.iter().map(move |pipeline| (of(pipeline), value(pipeline)))
    };
    let read = each(|pipeline| pipeline.read.load(Relaxed));
    out.counter("cosmos_bridge_changes_read", "Changes read from the feed", read)?;
    let filtered = each(|pipeline| pipeline.filtered.load(Relaxed));
    out.counter("cosmos_bridge_changes_filtered", "Changes that a route left out", filtered)?;
    let delivered = each_follow(pipelines, |follow| follow.delivered.load(Relaxed));
    out.counter("cosmos_bridge_changes_delivered", "Changes durable in the sink", delivered)?;
    let letters = all_follows(pipelines).flat_map(|follow| {
        let letters: Vec<_> = follow.letters().collect();
        letters.into_iter().map(move |(stage, count)| {
            let [pipeline, sink] = of_follow(&follow);
            ([pipeline, sink, ("stage", stage_name(stage).to_owned())], count)
        })
    });
    let help = "Changes kept because they cannot be written";
    out.counter("cosmos_bridge_dead_letters", help, letters)?;
    let again = each_follow(pipelines, |follow| follow.reread.load(Relaxed));
    out.counter("cosmos_bridge_changes_read_again", "Changes read for this sink alone", again)?;
    let requests = each_follow(pipelines, |follow| follow.reread_requests.load(Relaxed));
    out.counter("cosmos_bridge_read_again_requests", "Requests for this sink alone", requests)?;
    let charge = each_follow(pipelines, PipelineSinkMetrics::reread_charge);
    let help = "Request units for this sink alone";
    out.counter("cosmos_bridge_read_again_request_units", help, charge)
}

fn lag(out: &mut Out<'_>, pipelines: &[Arc<PipelineMeter>]) -> Result<(), Error> {
    let now = jiff::Timestamp::now().as_second();
    let mut sights: Vec<(Labels<3>, Sight)> = Vec::new();
    for pipeline in pipelines {
        for range in pipeline.ranges() {
            let seen = range.sights(now).into_iter().zip(pipeline.follows());
            sights.extend(seen.map(|(sight, follow)| (of_range(&follow, &range), sight)));
        }
    }
    let each = |value: fn(&Sight) -> Option<f64>| {
        sights.iter().filter_map(move |(labels, sight)| Some((labels.clone(), value(sight)?)))
    };
    let caught_up = each(|sight| Some(f64::from(u8::from(sight.is_caught_up))));
    let help = "1 if the feed has nothing newer and nothing is in flight";
    out.gauge("cosmos_bridge_caught_up", help, caught_up)?;
    let seconds = each(|sight| Some(sight.lag.as_secs_f64()));
    out.gauge("cosmos_bridge_lag_seconds", "How far behind the source, 0 if caught up", seconds)?;
    #[expect(clippy::cast_precision_loss, reason = "log sequence numbers are far below 2^53")]
    let documents = each(|sight| sight.documents.map(|behind| behind as f64));
    let help = "Log sequence numbers behind the newest, 0 if caught up";
    out.gauge("cosmos_bridge_lag_documents", help, documents)?;
    let stored = each(|sight| Some(ago(sight.since_stored)));
    let help = "When a position was last stored";
    out.gauge("cosmos_bridge_last_checkpoint_timestamp_seconds", help, stored)?;
    let moved = each(|sight| Some(ago(sight.since_progress)));
    let help = "When anything last got on";
    out.gauge("cosmos_bridge_last_progress_timestamp_seconds", help, moved)?;
    let ranges = pipelines.iter().map(|pipeline| (of(pipeline), count(pipeline.ranges().len())));
    out.gauge("cosmos_bridge_feed_ranges", "Feed ranges that are read", ranges)
}

fn follows(out: &mut Out<'_>, pipelines: &[Arc<PipelineMeter>]) -> Result<(), Error> {
    let parked = pipelines.iter().flat_map(|pipeline| {
        let parked = pipeline.parked();
        pipeline.follows().into_iter().map(move |follow| {
            let is_for = |sink: &Option<String>| sink.as_ref().is_none_or(|s| *s == follow.sink);
            let parked = parked.iter().filter(|parked| is_for(&parked.sink)).count();
            (of_follow(&follow), count(parked))
        })
    });
    out.gauge("cosmos_bridge_parked_ranges", "Feed ranges that wait for a person", parked)?;
    let behind = each_follow(pipelines, |follow| count(follow.ranges_behind()));
    let help = "Feed ranges in which the sink goes its own way";
    out.gauge("cosmos_bridge_ranges_behind", help, behind)?;
    let again = each_follow(pipelines, |follow| count(follow.ranges_catching_up()));
    let help = "Feed ranges that are read again for the sink";
    out.gauge("cosmos_bridge_ranges_catching_up", help, again)?;
    let spool = each_follow(pipelines, |follow| count(follow.in_spool()));
    let help = "Memory of what the sink has not taken yet";
    out.gauge("cosmos_bridge_spool_bytes", help, spool)?;
    let limit = each_follow(pipelines, |follow| count(follow.spool_limit()));
    out.gauge("cosmos_bridge_spool_limit_bytes", "What that may be", limit)
}

impl Families {
    fn budgets(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let usages = self.0.meter.budgets().into_iter().map(|budget| {
            let direction = ("direction", budget.direction.name().to_owned());
            ([("container", budget.container.clone()), direction], budget.governor.usage())
        });
        let usages: Vec<(Labels<2>, _)> = usages.collect();
        let rows = || usages.iter().map(|(labels, usage)| (labels.clone(), usage));
        let requests = rows().map(|(labels, usage)| (labels, usage.requests));
        out.counter("cosmos_bridge_requests", "Requests that were answered", requests)?;
        let throttled = rows().map(|(labels, usage)| (labels, usage.throttled));
        let help = "Attempts that the service refused for their rate";
        out.counter("cosmos_bridge_requests_throttled", help, throttled)?;
        let charged = rows().map(|(labels, usage)| (labels, usage.charged));
        out.counter("cosmos_bridge_request_units", "Request units, as charged", charged)?;
        let expected = rows().map(|(labels, usage)| (labels, usage.expected));
        let help = "Request units, as they were expected";
        out.counter("cosmos_bridge_request_units_predicted", help, expected)?;
        let rates = rows().filter_map(|(labels, usage)| Some((labels, usage.rate?)));
        let help = "Request units per second that may be used";
        out.gauge("cosmos_bridge_budget_request_units_per_second", help, rates)?;
        let held = rows().flat_map(|(labels, usage)| {
            HELD.map(|(held, word)| {
                let [container, direction] = labels.clone();
                let time = usage.held.get(&held).copied().unwrap_or_default();
                ([container, direction, ("cause", word.to_owned())], time.as_secs_f64())
            })
        });
        let help = "Time for which requests waited for nothing else";
        out.counter("cosmos_bridge_held_seconds", help, held)
    }

    fn process(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let reasons = self.0.reasons();
        let ready = i64::from(reasons.is_empty());
        out.alone("cosmos_bridge_ready", "1 if the bridge is ready", &ready)?;
        let causes = Cause::ALL.map(|cause| {
            let reasons = reasons.iter().filter(|reason| reason.cause == cause).count();
            ([("cause", cause.name().to_owned())], count(reasons))
        });
        out.gauge("cosmos_bridge_unready_reasons", "Why the bridge is not ready", causes)?;
        let beat = ago(self.0.heart.silent_for());
        let help = "When the runtime was last seen to work";
        out.alone("cosmos_bridge_heartbeat_timestamp_seconds", help, &beat)?;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        let help = "What runs";
        out.0
            .encode_descriptor("cosmos_bridge_build", help, None, MetricType::Info)?
            .encode_info(&version)?;
        let began = epoch(self.0.began);
        out.alone("process_start_time_seconds", "When the process started", &began)?;
        let cpu = process::cpu_time().as_secs_f64();
        out.0
            .encode_descriptor("process_cpu_seconds", "CPU time", None, MetricType::Counter)?
            .encode_counter(&cpu, NO_EXEMPLAR)?;
        match process::memory() {
            Some(bytes) => out.alone("process_resident_memory_bytes", "Memory in use", &bytes),
            None => Ok(()),
        }
    }
}

fn sinks(out: &mut Out<'_>, sinks: &[Arc<SinkMeter>]) -> Result<(), Error> {
    let label = |sink: &SinkMeter| [("sink", sink.name.clone())];
    let requests = sinks.iter().map(|sink| (label(sink), sink.requests.load(Relaxed)));
    out.counter("cosmos_bridge_sink_requests", "Requests sent to the target", requests)?;
    let throttled = sinks.iter().map(|sink| (label(sink), sink.throttled.load(Relaxed)));
    let help = "Requests that the target refused for their rate";
    out.counter("cosmos_bridge_sink_requests_throttled", help, throttled)?;
    let (name, help) = ("cosmos_bridge_sink_write_duration_seconds", "Time of one write attempt");
    let mut writes = out.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for sink in sinks {
        sink.writes.encode(writes.encode_family(&label(sink))?)?;
    }
    let errors = sinks.iter().flat_map(|sink| {
        let labels = move |cause: &str| [("sink", sink.name.clone()), ("cause", cause.to_owned())];
        sink.errors().map(move |(cause, errors)| (labels(cause), errors))
    });
    let help = "Write attempts after which changes are offered again";
    out.counter("cosmos_bridge_sink_errors", help, errors)?;
    let down = sinks.iter().map(|sink| (label(sink), lasting(sink.trouble.lasting())));
    out.gauge("cosmos_bridge_sink_down_seconds", "For how long writing has failed", down)?;
    let time = sinks.iter().flat_map(|sink| {
        let spent = sink.waits.spent();
        WRITING.map(|(activity, word)| {
            let time = spent.get(&activity).copied().unwrap_or_default().as_secs_f64();
            ([("sink", sink.name.clone()), ("activity", word.to_owned())], time)
        })
    });
    out.counter("cosmos_bridge_sink_time_seconds", "Time of everybody who writes", time)
}

fn reading(out: &mut Out<'_>, pipelines: &[Arc<PipelineMeter>]) -> Result<(), Error> {
    let rows = || pipelines.iter().map(|pipeline| (of(pipeline), pipeline));
    let failures = rows().map(|(labels, pipeline)| (labels, pipeline.reading.failures()));
    out.counter("cosmos_bridge_read_failures", "Requests to the feed that failed", failures)?;
    let down = rows().map(|(labels, pipeline)| (labels, lasting(pipeline.reading.lasting())));
    out.gauge("cosmos_bridge_read_down_seconds", "For how long reading has failed", down)?;
    let time = rows().flat_map(|(labels, pipeline)| {
        let spent = pipeline.waits.spent();
        READING.map(|(activity, word)| {
            let time = spent.get(&activity).copied().unwrap_or_default().as_secs_f64();
            let [pipeline] = labels.clone();
            ([pipeline, ("activity", word.to_owned())], time)
        })
    });
    out.counter("cosmos_bridge_read_time_seconds", "Time of all readers", time)?;
    let failures = rows().map(|(labels, pipeline)| (labels, pipeline.storing.failures()));
    let help = "Positions and dead letters that could not be stored";
    out.counter("cosmos_bridge_state_failures", help, failures)?;
    let down = rows().map(|(labels, pipeline)| (labels, lasting(pipeline.storing.lasting())));
    out.gauge("cosmos_bridge_state_down_seconds", "For how long storing has failed", down)
}

fn traces(out: &mut Out<'_>, traces: &TraceMeter) -> Result<(), Error> {
    let none: Labels<0> = [];
    let recorded = [(none.clone(), traces.recorded())];
    out.counter("cosmos_bridge_spans", "Spans of changes that are traced", recorded)?;
    let sent = [(none, traces.sent())];
    out.counter("cosmos_bridge_spans_sent", "Spans that the collector took", sent)?;
    let lost = Lost::ALL.map(|(why, word)| ([("cause", word.to_owned())], traces.lost(why)));
    out.counter("cosmos_bridge_spans_dropped", "Spans that the collector did not take", lost)?;
    let down = lasting(traces.trouble.lasting());
    let help = "For how long sending spans has failed";
    out.alone("cosmos_bridge_traces_down_seconds", help, &down)
}

const HELD: [(Held, &str); 4] = [
    (Held::Budget, "budget"),
    (Held::HotPartition, "hot_partition"),
    (Held::Concurrency, "concurrency"),
    (Held::Throttled, "throttled"),
];

const WRITING: [(Writing, &str); 4] = [
    (Writing::Request, "request"),
    (Writing::Budget, "budget"),
    (Writing::Turn, "turn"),
    (Writing::Refused, "refused"),
];

const READING: [(Reading, &str); 5] = [
    (Reading::Request, "request"),
    (Reading::Budget, "budget"),
    (Reading::Room, "room"),
    (Reading::Idle, "idle"),
    (Reading::Refused, "refused"),
];

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Read => "read",
        Stage::Route => "route",
        Stage::Sink => "sink",
    }
}

fn of(pipeline: &PipelineMeter) -> Labels<1> {
    [("pipeline", pipeline.name.clone())]
}

fn of_follow(follow: &PipelineSinkMetrics) -> Labels<2> {
    [("pipeline", follow.pipeline.clone()), ("sink", follow.sink.clone())]
}

fn of_range(follow: &PipelineSinkMetrics, range: &RangeMeter) -> Labels<3> {
    let [pipeline, sink] = of_follow(follow);
    [pipeline, sink, ("range", range.range.clone())]
}

fn all_follows(pipelines: &[Arc<PipelineMeter>]) -> impl Iterator<Item = Arc<PipelineSinkMetrics>> {
    pipelines.iter().flat_map(|pipeline| pipeline.follows())
}

fn each_follow<V>(
    pipelines: &[Arc<PipelineMeter>],
    value: impl Fn(&PipelineSinkMetrics) -> V,
) -> impl Iterator<Item = (Labels<2>, V)> {
    all_follows(pipelines).map(move |follow| (of_follow(&follow), value(&follow)))
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn lasting(time: Option<Duration>) -> f64 {
    time.unwrap_or_default().as_secs_f64()
}

/// The moment so long ago, in seconds since the epoch.
fn ago(time: Duration) -> f64 {
    epoch(SystemTime::now() - time)
}

fn epoch(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
