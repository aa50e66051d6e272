//! Looks at all counters now and again, and tells what happened in between.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::limit::{Gate, Limit, Side, Sight, limit};
use super::waits::{Reading, Writing};
use super::{BudgetMeter, Direction, Meter, Straggler, Totals, process};
use crate::governor::Usage;

/// Rates and limits over less time than this would jump about.
const MEASURED_OVER: Duration = Duration::from_secs(2);

/// The share that must be done before the time left is estimated.
const SHARE_TO_JUDGE: f64 = 0.02;

/// One look at a run, and at what changed since a look before.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) totals: Totals,
    pub(crate) measured: Measured,
    /// Until everything that is there now is delivered.
    pub(crate) remaining: Option<Duration>,
    /// Sinks that go their own way.
    pub(crate) stragglers: Vec<Straggler>,
}

/// What changed from one look to another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// Changes delivered per second.
    pub(crate) rate: f64,
    /// Request units per second.
    pub(crate) source_rate: f64,
    pub(crate) target_rate: f64,
    /// What may be used of them over all containers; `None` if one is unlimited.
    pub(crate) source_budget: Option<f64>,
    pub(crate) target_budget: Option<f64>,
    /// Request units that were expected, for each that was charged.
    pub(crate) expected_to_charged: Option<f64>,
    pub(crate) limit: Option<Limit>,
    pub(crate) budgets: Vec<Drawn>,
}

/// What was drawn on one budget.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) meter: Arc<BudgetMeter>,
    /// Request units per second, used and allowed.
    pub(crate) rate: f64,
    pub(crate) budget: Option<f64>,
    pub(crate) requests: u64,
    pub(crate) throttled: u64,
    pub(crate) expected_to_charged: Option<f64>,
}

/// Everything counted at one moment. Meters are only ever added, so that the nth of one look is the
/// nth of the next.
struct Counted {
    at: Instant,
    cpu: Duration,
    totals: Totals,
    budgets: Vec<(Arc<BudgetMeter>, Usage)>,
    readers: Vec<Line<Reading>>,
    writers: Vec<Line<Writing>>,
}

struct Line<C> {
    name: String,
    lag: Duration,
    spent: BTreeMap<C, Duration>,
    /// With the name of the container.
    usage: Option<(String, Usage)>,
}

pub(crate) struct Watch {
    meter: Arc<Meter>,
    began: Instant,
    before: Counted,
    measured: Measured,
}

impl Watch {
    pub(crate) fn new(meter: Arc<Meter>) -> Self {
        let before = Counted::now(&meter);
        Self { meter, began: before.at, before, measured: Measured::default() }
    }

    /// Totals are of now, the rest is measured anew if there is enough time to measure over.
    pub(crate) fn look(&mut self) -> Progress {
        let now = Counted::now(&self.meter);
        let totals = now.totals;
        if now.at - self.before.at >= MEASURED_OVER {
            let caught_up = self.meter.is_caught_up();
            self.measured = now.since(&self.before, caught_up);
            self.before = now;
        }
        let remaining = (totals.done >= SHARE_TO_JUDGE)
            .then(|| self.began.elapsed().mul_f64((1.0 - totals.done).max(0.0) / totals.done));
        let at = jiff::Timestamp::now().as_second();
        let pipelines = self.meter.pipelines().into_iter();
        let stragglers = pipelines.flat_map(|pipeline| pipeline.stragglers(at)).collect();
        Progress { totals, measured: self.measured.clone(), remaining, stragglers }
    }
}

impl Counted {
    fn now(meter: &Meter) -> Self {
        let now = jiff::Timestamp::now().as_second();
        let usage = |budget: &BudgetMeter| (budget.container.clone(), budget.governor.usage());
        let readers = meter.pipelines().into_iter().map(|pipeline| Line {
            name: pipeline.name.clone(),
            lag: Duration::from_secs(pipeline.totals(now).lag_seconds),
            spent: pipeline.waits.spent(),
            usage: pipeline.budget().map(usage),
        });
        let writers = meter.sinks().into_iter().map(|sink| Line {
            name: sink.name.clone(),
            lag: Duration::ZERO,
            spent: sink.waits.spent(),
            usage: sink.budget().map(usage),
        });
        let used = |budget: Arc<BudgetMeter>| {
            let usage = budget.governor.usage();
            (budget, usage)
        };
        Self {
            at: Instant::now(),
            cpu: process::cpu_time(),
            totals: meter.totals(),
            budgets: meter.budgets().into_iter().map(used).collect(),
            readers: readers.collect(),
            writers: writers.collect(),
        }
    }

    fn since(&self, before: &Self, caught_up: bool) -> Measured {
        let elapsed = self.at - before.at;
        let seconds = elapsed.as_secs_f64();
        let per_second = |now: f64, before: f64| (now - before) / seconds;
        let mut used = Usage::default();
        let budgets = self.budgets.iter().enumerate().map(|(at, (meter, usage))| {
            let one = grown(usage, before.budgets.get(at).map(|(_, usage)| usage));
            used.charged += one.charged;
            used.expected += one.expected;
            Drawn {
                meter: Arc::clone(meter),
                rate: one.charged / seconds,
                budget: one.rate,
                requests: one.requests,
                throttled: one.throttled,
                expected_to_charged: ratio(&one),
            }
        });
        let budgets: Vec<Drawn> = budgets.collect();
        let cores = f64::from(process::cores());
        let sight = Sight {
            elapsed,
            cpu: self.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds / cores,
            caught_up,
            readers: sides(&self.readers, &before.readers),
            writers: sides(&self.writers, &before.writers),
        };
        let (totals, earlier) = (&self.totals, &before.totals);
        #[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
        let rate = (totals.delivered - earlier.delivered) as f64 / seconds;
        Measured {
            rate,
            source_rate: per_second(totals.source_charge, earlier.source_charge),
            target_rate: per_second(totals.target_charge, earlier.target_charge),
            source_budget: sum(&budgets, Direction::Read),
            target_budget: sum(&budgets, Direction::Write),
            expected_to_charged: ratio(&used),
            limit: limit(&sight),
            budgets,
        }
    }
}

fn sides<C: Copy + Ord>(now: &[Line<C>], before: &[Line<C>]) -> Vec<Side<C>> {
    let side = |(at, line): (usize, &Line<C>)| {
        let before = before.get(at);
        let spent = line.spent.iter().map(|(cause, time)| {
            let earlier = before.and_then(|before| before.spent.get(cause));
            (*cause, time.saturating_sub(earlier.copied().unwrap_or_default()))
        });
        let gate = line.usage.as_ref().map(|(container, usage)| {
            let earlier = before.and_then(|before| before.usage.as_ref());
            let Usage { held, requests, throttled, .. } =
                grown(usage, earlier.map(|(_, usage)| usage));
            Gate { container: container.clone(), held, requests, throttled }
        });
        Side { name: line.name.clone(), lag: line.lag, spent: spent.collect(), gate }
    };
    now.iter().enumerate().map(side).collect()
}

/// What was used since `before`; the rate is that of now.
fn grown(now: &Usage, before: Option<&Usage>) -> Usage {
    let Some(before) = before else { return now.clone() };
    let held = now.held.iter().map(|(held, time)| {
        (*held, time.saturating_sub(before.held.get(held).copied().unwrap_or_default()))
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

fn ratio(used: &Usage) -> Option<f64> {
    (used.charged > 0.0).then(|| used.expected / used.charged)
}

/// Of all budgets of one direction. `None` if there is none, or one is unlimited.
fn sum(budgets: &[Drawn], direction: Direction) -> Option<f64> {
    let mut rates = budgets.iter().filter(|drawn| drawn.meter.direction == direction).peekable();
    rates.peek()?;
    rates.map(|drawn| drawn.budget).sum()
}

impl Meter {
    /// One look at everything, over all pipelines and sinks. Request units and throttled requests
    /// are as the governors count them, who see every request; without a governor, as the pipelines
    /// and sinks do.
    pub fn totals(&self) -> Totals {
        let now = jiff::Timestamp::now().as_second();
        let mut sum = Totals::default();
        let pipelines = self.pipelines();
        let mut done = 0.0;
        for pipeline in &pipelines {
            let one = pipeline.totals(now);
            sum.read += one.read;
            sum.filtered += one.filtered;
            sum.delivered += one.delivered;
            sum.dead_letters += one.dead_letters;
            sum.source_throttled += one.source_throttled;
            sum.source_charge += one.source_charge;
            sum.ranges += one.ranges;
            sum.caught_up += one.caught_up;
            sum.lag_seconds = sum.lag_seconds.max(one.lag_seconds);
            done += one.done;
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful of pipelines")]
        if !pipelines.is_empty() {
            sum.done = done / pipelines.len() as f64;
        }
        for sink in self.sinks() {
            sum.target_charge += sink.charge();
            sum.target_throttled += sink.throttled.load(Relaxed);
        }
        if let Some((charged, throttled)) = self.used(Direction::Read) {
            (sum.source_charge, sum.source_throttled) = (charged, throttled);
        }
        if let Some((charged, throttled)) = self.used(Direction::Write) {
            (sum.target_charge, sum.target_throttled) = (charged, throttled);
        }
        sum
    }

    /// Request units charged, and requests throttled. `None` where there is no governor.
    fn used(&self, direction: Direction) -> Option<(f64, u64)> {
        let budgets = self.budgets().into_iter().filter(|budget| budget.direction == direction);
        let usages = budgets.map(|budget| budget.governor.usage());
        usages
            .map(|usage| (usage.charged, usage.throttled))
            .reduce(|one, other| (one.0 + other.0, one.1 + other.1))
    }
}
