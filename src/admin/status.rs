//! What `/status` tells, and `cosmos-bridge status` shows.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::health::Reason;
use super::view::Watched;
use crate::observe::{Meter, Phase, PipelineMeter, Progress, Sight, SinkMeter, Watch};

/// One look at a bridge. Rates are over the last seconds; seconds are whole, lags rounded up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub version: String,
    /// `starting`, `running` or `stopping`.
    pub phase: String,
    pub uptime_seconds: u64,
    pub alive: bool,
    pub ready: bool,
    /// Why it is not ready.
    pub reasons: Vec<Reason>,
    /// What keeps it from being faster; `None` while that is not known.
    pub held_back_by: Option<String>,
    pub pipelines: Vec<PipelineReport>,
    pub sinks: Vec<SinkReport>,
    pub budgets: Vec<BudgetReport>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineReport {
    pub name: String,
    pub read: u64,
    pub filtered: u64,
    pub ranges: usize,
    pub parked: Vec<ParkedReport>,
    /// What reading, or storing its positions, fails with at the moment, and for how long.
    pub reading: Option<Failure>,
    pub storing: Option<Failure>,
    pub sinks: Vec<FollowReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedReport {
    pub range: String,
    /// `None`: all of them.
    pub sink: Option<String>,
    pub error: String,
}

/// What fails at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub error: String,
    pub for_seconds: u64,
}

/// One sink of one pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FollowReport {
    pub name: String,
    /// `caught up`, `following`, `behind` (it goes its own way), `failing` or `parked`.
    pub state: String,
    /// Of the feed range that is furthest behind.
    pub lag_seconds: u64,
    /// Over all feed ranges; `None` before the first answer of each.
    pub lag_documents: Option<u64>,
    pub delivered: u64,
    pub per_second: f64,
    pub dead_letters: u64,
    pub caught_up_ranges: usize,
    pub ranges_behind: usize,
    pub ranges_catching_up: usize,
    pub read_again: u64,
    pub spool_bytes: usize,
    pub last_checkpoint_seconds: u64,
}

/// One sink, for whatever pipelines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkReport {
    pub name: String,
    pub requests: u64,
    pub throttled: u64,
    pub writing: Option<Failure>,
}

/// The request units of one direction of one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetReport {
    pub container: String,
    /// `read` or `write`.
    pub direction: String,
    /// Request units per second that may be used; `None` is unlimited.
    pub budget: Option<f64>,
    pub ru_per_second: f64,
    /// Since the start.
    pub ru: f64,
    pub requests: u64,
    pub throttled: u64,
    /// What requests were expected to cost, of what they did cost lately.
    pub expected_to_charged: Option<f64>,
}

/// What can only be told from two looks.
pub(super) struct Rates {
    meter: Arc<Meter>,
    watch: Watch,
    progress: Progress,
    /// Changes delivered, per sink of each pipeline, at the last look and per second since the one
    /// before.
    delivered: Vec<(String, String, u64, f64)>,
    at: Instant,
}

impl Rates {
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        let mut watch = Watch::new(Arc::clone(&meter));
        let progress = watch.look();
        Self { meter, watch, progress, delivered: Vec::new(), at: Instant::now() }
    }

    pub(super) fn look(&mut self) {
        self.progress = self.watch.look();
        let seconds = self.at.elapsed().as_secs_f64();
        self.at = Instant::now();
        let before = std::mem::take(&mut self.delivered);
        for follow in self.meter.pipelines().iter().flat_map(|pipeline| pipeline.follows()) {
            let now = follow.delivered.load(Relaxed);
            let same = |(pipeline, sink, ..): &&(String, String, u64, f64)| {
                *pipeline == follow.pipeline && *sink == follow.sink
            };
            let then = before.iter().find(same).map_or(0, |(_, _, then, _)| *then);
            #[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
            let rate = (now - then) as f64 / seconds.max(f64::EPSILON);
            self.delivered.push((follow.pipeline.clone(), follow.sink.clone(), now, tenths(rate)));
        }
    }

    pub(super) fn report(&self, watched: &Watched, alive: bool) -> Report {
        let Watched { meter, began, .. } = watched;
        let reasons = watched.reasons();
        let measured = &self.progress.measured;
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            phase: match meter.phase() {
                Phase::Starting => "starting",
                Phase::Running => "running",
                Phase::Stopping => "stopping",
            }
            .to_owned(),
            uptime_seconds: began.elapsed().unwrap_or_default().as_secs(),
            alive,
            ready: reasons.is_empty(),
            reasons,
            held_back_by: measured.limit.as_ref().map(ToString::to_string),
            pipelines: meter.pipelines().iter().map(|pipeline| self.pipeline(pipeline)).collect(),
            sinks: meter.sinks().iter().map(|sink| self::sink(sink)).collect(),
            budgets: self.budgets(),
        }
    }

    fn pipeline(&self, pipeline: &PipelineMeter) -> PipelineReport {
        let now = jiff::Timestamp::now().as_second();
        let ranges = pipeline.ranges();
        let sights: Vec<_> = ranges.iter().map(|range| range.sights(now)).collect();
        let parked = pipeline.parked().into_iter();
        let follows = pipeline.follows();
        let follow = |number: usize| {
            let sights: Vec<_> = sights.iter().filter_map(|sights| sights.get(number)).collect();
            self.follow(pipeline, number, &sights)
        };
        PipelineReport {
            name: pipeline.name.clone(),
            read: pipeline.read.load(Relaxed),
            filtered: pipeline.filtered.load(Relaxed),
            ranges: ranges.len(),
            parked: parked
                .map(|parked| ParkedReport {
                    range: parked.range,
                    sink: parked.sink,
                    error: parked.error,
                })
                .collect(),
            reading: failure(&pipeline.reading),
            storing: failure(&pipeline.storing),
            sinks: (0..follows.len()).map(follow).collect(),
        }
    }

    fn follow(&self, pipeline: &PipelineMeter, number: usize, sights: &[&Sight]) -> FollowReport {
        let follow = &pipeline.follows()[number];
        let is_parked = pipeline
            .parked()
            .iter()
            .any(|parked| parked.sink.as_ref().is_none_or(|sink| *sink == follow.sink));
        let sink = self.meter.sinks().into_iter().find(|sink| sink.name == follow.sink);
        let fails = sink.is_some_and(|sink| sink.trouble.lasting().is_some());
        let caught_up = sights.iter().filter(|sight| sight.is_caught_up).count();
        let state = match () {
            () if is_parked => "parked",
            () if fails => "failing",
            () if follow.ranges_behind() > 0 => "behind",
            () if !sights.is_empty() && caught_up == sights.len() => "caught up",
            () => "following",
        };
        let lag = sights.iter().map(|sight| sight.lag).max().unwrap_or_default();
        let stored = sights.iter().map(|sight| sight.since_stored).max().unwrap_or_default();
        let measured = self
            .delivered
            .iter()
            .find(|(pipeline, sink, ..)| *pipeline == follow.pipeline && *sink == follow.sink);
        FollowReport {
            name: follow.sink.clone(),
            state: state.to_owned(),
            lag_seconds: lag.as_secs() + u64::from(lag.subsec_nanos() > 0),
            lag_documents: sights.iter().map(|sight| sight.documents).sum(),
            delivered: follow.delivered.load(Relaxed),
            per_second: measured.map_or(0.0, |(.., rate)| *rate),
            dead_letters: follow.dead_letters(),
            caught_up_ranges: caught_up,
            ranges_behind: follow.ranges_behind(),
            ranges_catching_up: follow.ranges_catching_up(),
            read_again: follow.reread.load(Relaxed),
            spool_bytes: follow.in_spool(),
            last_checkpoint_seconds: stored.as_secs(),
        }
    }

    fn budgets(&self) -> Vec<BudgetReport> {
        let drawn = &self.progress.measured.budgets;
        let budgets = self.meter.budgets().into_iter().map(|budget| {
            let usage = budget.governor.usage();
            let drawn = drawn.iter().find(|drawn| Arc::ptr_eq(&drawn.meter, &budget));
            BudgetReport {
                container: budget.container.clone(),
                direction: budget.direction.name().to_owned(),
                budget: usage.rate,
                ru_per_second: tenths(drawn.map_or(0.0, |drawn| drawn.rate)),
                ru: tenths(usage.charged),
                requests: usage.requests,
                throttled: usage.throttled,
                expected_to_charged: drawn.and_then(|drawn| drawn.expected_to_charged).map(tenths),
            }
        });
        budgets.collect()
    }
}

fn sink(sink: &SinkMeter) -> SinkReport {
    SinkReport {
        name: sink.name.clone(),
        requests: sink.requests.load(Relaxed),
        throttled: sink.throttled.load(Relaxed),
        writing: failure(&sink.trouble),
    }
}

fn failure(trouble: &crate::observe::FailureLog) -> Option<Failure> {
    let for_seconds = trouble.lasting()?.as_secs();
    Some(Failure { error: trouble.error()?, for_seconds })
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
