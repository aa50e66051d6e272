//! Samples all counters and computes rates, and the limit, from the difference of two samples.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::budget_meter::{BudgetMeter, Direction};
use super::limit::{DOWN, GovernorActivity, Group, Interval, Limit, limit};
use super::meter::Meter;
use super::pipeline_sink::Straggler;
use super::process;
use super::time_spent::{ReadActivity, WriteActivity};
use super::totals::Totals;
use crate::governor::Usage;

/// The shortest interval for rates and limits. Over less time they would vary too much.
const MIN_INTERVAL: Duration = Duration::from_secs(2);

/// How much of the work must be done before the remaining time is estimated.
const MIN_DONE: f64 = 0.02;

/// The remaining time is estimated from what was done in this time: what happened before says little of
/// what happens next.
const RECENT: Duration = Duration::from_mins(1);

/// The state of a run at one moment, and the rates of the last interval.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) totals: Totals,
    /// `None` in the first seconds.
    pub(crate) rates: Option<Rates>,
    pub(crate) pipelines: Vec<PipelineProgress>,
    /// The estimated time until everything that is in the source now is delivered.
    pub(crate) remaining: Option<Duration>,
    /// Sinks that read separately.
    pub(crate) stragglers: Vec<Straggler>,
}

/// The state of one pipeline, as that of the run.
#[derive(Clone, Debug)]
pub(crate) struct PipelineProgress {
    pub(crate) name: String,
    pub(crate) totals: Totals,
    pub(crate) delivered_per_second: Option<f64>,
    pub(crate) remaining: Option<Duration>,
}

/// The difference of two samples.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    /// Changes delivered per second.
    pub(crate) delivered: f64,
    /// The same of each pipeline.
    pub(crate) delivered_by_pipeline: Vec<f64>,
    /// Request units per second.
    pub(crate) source_ru: f64,
    pub(crate) target_ru: f64,
    /// The sum of all budgets in request units per second; `None` if one of them is unlimited.
    pub(crate) source_budget: Option<f64>,
    pub(crate) target_budget: Option<f64>,
    /// Request units predicted for each that was charged.
    pub(crate) expected_to_charged: Option<f64>,
    pub(crate) limit: Option<Limit>,
    pub(crate) budgets: Vec<BudgetRate>,
}

/// The use of one budget.
#[derive(Clone, Debug)]
pub(crate) struct BudgetRate {
    pub(crate) meter: Arc<BudgetMeter>,
    /// Request units per second, used and allowed.
    pub(crate) rate: f64,
    pub(crate) budget: Option<f64>,
    pub(crate) requests: u64,
    pub(crate) throttled: u64,
    pub(crate) expected_to_charged: Option<f64>,
}

pub(crate) struct ProgressSampler {
    meter: Arc<Meter>,
    pace: Pace,
    /// In the order of the pipelines.
    paces: Vec<Pace>,
    last: Sample,
    rates: Option<Rates>,
}

/// How much was done at some moments of the last minute, and at one before.
struct Pace(VecDeque<(Instant, f64)>);

/// All counters at one moment. Meters are only ever added, so an index means the same meter in every
/// sample.
struct Sample {
    at: Instant,
    cpu: Duration,
    totals: Totals,
    /// Changes, by pipeline.
    delivered: Vec<u64>,
    budgets: Vec<(Arc<BudgetMeter>, Usage)>,
    readers: Vec<GroupSample<ReadActivity>>,
    writers: Vec<GroupSample<WriteActivity>>,
}

/// The readers of one pipeline, or the writers of one sink.
struct GroupSample<A> {
    name: String,
    lag: Duration,
    failing: Duration,
    sinks: Vec<String>,
    spent: BTreeMap<A, Duration>,
    /// With the name of the container.
    usage: Option<(String, Usage)>,
}

impl ProgressSampler {
    pub(crate) fn new(meter: Arc<Meter>) -> Self {
        let last = Sample::now(&meter);
        Self { meter, pace: Pace::from(last.at), paces: Vec::new(), last, rates: None }
    }

    /// The totals of now. Rates are computed again only if enough time has passed since the last sample.
    pub(crate) fn sample(&mut self) -> Progress {
        let now = Sample::now(&self.meter);
        let totals = now.totals;
        let is_down = now.writers.iter().any(|sink| sink.failing >= DOWN);
        let has_sink_down = now.pipelines_with_a_sink_that_is_down();
        if now.at - self.last.at >= MIN_INTERVAL {
            self.rates = Some(now.since(&self.last, self.meter.is_caught_up()));
            self.last = now;
        }
        let remaining = self.pace.remaining(&totals, is_down);
        let at = jiff::Timestamp::now().as_second();
        let meters = self.meter.pipelines();
        let began = self.last.at;
        self.paces.resize_with(meters.len(), || Pace::from(began));
        let pipelines = meters.iter().zip(&mut self.paces).enumerate().map(|(n, (meter, pace))| {
            let totals = meter.totals(at);
            let rates = self.rates.as_ref();
            PipelineProgress {
                name: meter.name.clone(),
                totals,
                delivered_per_second: rates
                    .and_then(|rates| rates.delivered_by_pipeline.get(n).copied()),
                remaining: pace.remaining(&totals, has_sink_down.contains(&meter.name)),
            }
        });
        let pipelines = pipelines.collect();
        let stragglers = meters.iter().flat_map(|pipeline| pipeline.stragglers(at)).collect();
        Progress { totals, rates: self.rates.clone(), pipelines, remaining, stragglers }
    }
}

impl Pace {
    fn from(began: Instant) -> Self {
        Self(VecDeque::from([(began, 0.0)]))
    }

    /// Notes how much is done. Returns how long the rest takes, in whole seconds, and zero only without lag.
    /// `None` while it is unknown, if nothing is done, or if a sink is down: the pace of the last minute is
    /// not that of the next one.
    fn remaining(&mut self, totals: &Totals, is_down: bool) -> Option<Duration> {
        let done = totals.done;
        let now = Instant::now();
        while self.0.get(1).is_some_and(|(at, _)| now - *at >= RECENT) {
            self.0.pop_front();
        }
        let (since, before) = *self.0.front()?;
        if self.0.back().is_none_or(|(at, _)| now - *at >= MIN_INTERVAL) {
            self.0.push_back((now, done));
        }
        if done >= 1.0 {
            // What is newest is not known while the source does not answer.
            return (totals.lag_seconds == 0).then_some(Duration::ZERO);
        }
        let gained = done - before;
        let is_known = done >= MIN_DONE && gained > 0.0 && !is_down;
        let left = is_known.then(|| (now - since).mul_f64((1.0 - done) / gained))?;
        Some(Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0)))
    }
}

impl Sample {
    fn pipelines_with_a_sink_that_is_down(&self) -> HashSet<String> {
        let is_down = |name: &String| {
            self.writers.iter().any(|sink| sink.name == *name && sink.failing >= DOWN)
        };
        let pipelines = self.readers.iter().filter(|reader| reader.sinks.iter().any(is_down));
        pipelines.map(|reader| reader.name.clone()).collect()
    }

    fn now(meter: &Meter) -> Self {
        let now = jiff::Timestamp::now().as_second();
        let usage = |budget: &BudgetMeter| (budget.container.clone(), budget.governor.usage());
        let readers = meter.pipelines().into_iter().map(|pipeline| GroupSample {
            name: pipeline.name.clone(),
            lag: Duration::from_secs(pipeline.totals(now).lag_seconds),
            failing: Duration::ZERO,
            sinks: pipeline.sinks().iter().map(|sink| sink.sink.clone()).collect(),
            spent: pipeline.time_spent.sums(),
            usage: pipeline.budget().map(usage),
        });
        let writers = meter.sinks().into_iter().map(|sink| GroupSample {
            name: sink.name.clone(),
            lag: Duration::ZERO,
            failing: sink.write_failures.failing_for().unwrap_or_default(),
            sinks: Vec::new(),
            spent: sink.time_spent.sums(),
            usage: sink.budget().map(usage),
        });
        let delivered =
            meter.pipelines().into_iter().map(|pipeline| pipeline.totals(now).delivered);
        let budgets = meter.budgets().into_iter().map(|budget| {
            let usage = budget.governor.usage();
            (budget, usage)
        });
        Self {
            at: Instant::now(),
            cpu: process::cpu_time(),
            totals: meter.totals(),
            delivered: delivered.collect(),
            budgets: budgets.collect(),
            readers: readers.collect(),
            writers: writers.collect(),
        }
    }

    fn since(&self, before: &Self, caught_up: bool) -> Rates {
        let elapsed = self.at - before.at;
        let seconds = elapsed.as_secs_f64();
        let per_second = |now: f64, before: f64| (now - before) / seconds;
        let mut sum = Usage::default();
        let budgets = self.budgets.iter().enumerate().map(|(at, (meter, usage))| {
            let usage = difference(usage, before.budgets.get(at).map(|(_, usage)| usage));
            sum.charged += usage.charged;
            sum.expected += usage.expected;
            BudgetRate {
                meter: Arc::clone(meter),
                rate: usage.charged / seconds,
                budget: usage.rate,
                requests: usage.requests,
                throttled: usage.throttled,
                expected_to_charged: ratio(&usage),
            }
        });
        let budgets: Vec<BudgetRate> = budgets.collect();
        let processors = f64::from(process::processors());
        let interval = Interval {
            elapsed,
            cpu: self.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds / processors,
            caught_up,
            readers: groups(&self.readers, &before.readers),
            writers: groups(&self.writers, &before.writers),
        };
        let (totals, earlier) = (&self.totals, &before.totals);
        #[expect(clippy::cast_precision_loss, reason = "a rate for display")]
        let rate = |now: u64, before: u64| (now - before) as f64 / seconds;
        let by_pipeline = self.delivered.iter().enumerate().map(|(n, delivered)| {
            rate(*delivered, before.delivered.get(n).copied().unwrap_or_default())
        });
        Rates {
            delivered: rate(totals.delivered, earlier.delivered),
            delivered_by_pipeline: by_pipeline.collect(),
            source_ru: per_second(totals.source_charge, earlier.source_charge),
            target_ru: per_second(totals.target_charge, earlier.target_charge),
            source_budget: total_budget(&budgets, Direction::Read),
            target_budget: total_budget(&budgets, Direction::Write),
            expected_to_charged: ratio(&sum),
            limit: limit(&interval),
            budgets,
        }
    }
}

fn groups<A: Copy + Ord>(now: &[GroupSample<A>], before: &[GroupSample<A>]) -> Vec<Group<A>> {
    let group = |(at, sample): (usize, &GroupSample<A>)| {
        let before = before.get(at);
        let spent = sample.spent.iter().map(|(activity, time)| {
            let earlier = before.and_then(|before| before.spent.get(activity));
            (*activity, time.saturating_sub(earlier.copied().unwrap_or_default()))
        });
        let governor = sample.usage.as_ref().map(|(container, usage)| {
            let earlier = before.and_then(|before| before.usage.as_ref());
            let Usage { held, requests, throttled, .. } =
                difference(usage, earlier.map(|(_, usage)| usage));
            GovernorActivity { container: container.clone(), held, requests, throttled }
        });
        let GroupSample { name, lag, failing, sinks, .. } = sample;
        let (name, sinks, spent) = (name.clone(), sinks.clone(), spent.collect());
        Group { name, lag: *lag, failing: *failing, sinks, spent, governor }
    };
    now.iter().enumerate().map(group).collect()
}

/// The usage since `before`; the rate is the current one.
fn difference(now: &Usage, before: Option<&Usage>) -> Usage {
    let Some(before) = before else { return now.clone() };
    let held = now.held.iter().map(|(cause, time)| {
        (*cause, time.saturating_sub(before.held.get(cause).copied().unwrap_or_default()))
    });
    Usage {
        rate: now.rate,
        requests: now.requests - before.requests,
        throttled: now.throttled - before.throttled,
        charged: now.charged - before.charged,
        expected: now.expected - before.expected,
        held: held.collect::<HashMap<_, _>>(),
    }
}

fn ratio(usage: &Usage) -> Option<f64> {
    (usage.charged > 0.0).then(|| usage.expected / usage.charged)
}

/// The sum of all budgets of one direction. `None` if there are no budgets, or one is unlimited.
fn total_budget(budgets: &[BudgetRate], direction: Direction) -> Option<f64> {
    let mut budgets = budgets.iter().filter(|one| one.meter.direction == direction).peekable();
    budgets.peek()?;
    budgets.map(|one| one.budget).sum()
}
