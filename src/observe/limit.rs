//! Finds what limits the speed of the bridge. Pure: values in, a value out.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::time_spent::{ReadActivity, WriteActivity};
use crate::governor::HeldBy;

#[cfg(test)]
mod tests;

/// Above this share of all processors the limit is CPU, even if tasks wait for something else.
const BUSY: f64 = 0.9;

/// A pipeline with less lag than this counts as caught up, if its readers mostly find nothing new.
const FRESH: Duration = Duration::from_secs(10);

/// A sink whose writes have failed for this long is down.
pub(super) const DOWN: Duration = Duration::from_secs(5);

/// Writes that wait at any moment if a sink is the limit while the readers have nothing to do. A source that
/// is read slowly keeps fewer under way.
const WAITING_WRITES: f64 = 4.0;

/// The same if the readers hardly ask for anything: the changes of one key are written one after the other.
const BUSY_WRITES: f64 = 0.5;

/// The service counts as throttling if it throttles at least one request of this many.
const THROTTLED_ONE_OF: u64 = 100;

/// What limits the speed of the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The bridge has caught up.
    Nothing,
    /// The budget for reading or for writing a container.
    SourceBudget {
        container: String,
    },
    TargetBudget {
        container: String,
    },
    /// Requests wait for physical partitions whose share of the throughput is used up.
    HotPartition {
        container: String,
    },
    /// The service throttles requests (429).
    Throttled {
        container: String,
    },
    /// Slow responses, or a low `concurrency`.
    Source {
        pipeline: String,
    },
    Sink {
        name: String,
    },
    /// Errors, and the waits after them.
    SourceFails {
        pipeline: String,
    },
    SinkFails {
        name: String,
    },
    /// No write to it succeeds.
    SinkDown {
        name: String,
    },
    /// The processors.
    Cpu,
    /// Readers wait for delivery, but delivery does not wait for its sinks.
    Bridge,
}

impl Display for Limit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::SourceBudget { container } => write!(f, "the RU budget for reading {container}"),
            Self::TargetBudget { container } => write!(f, "the RU budget for writing {container}"),
            Self::HotPartition { container } => {
                write!(f, "a hot physical partition of {container}: its throughput is used up")
            }
            Self::Throttled { container } => {
                write!(f, "throttling by the service of requests to {container}")
            }
            Self::Source { pipeline } => {
                write!(f, "slow responses when reading pipeline {pipeline}")
            }
            Self::Sink { name } => write!(f, "slow responses of sink {name}"),
            Self::SourceFails { pipeline } => {
                write!(f, "errors when reading pipeline {pipeline}")
            }
            Self::SinkFails { name } => write!(f, "errors when writing to sink {name}"),
            Self::SinkDown { name } => write!(f, "sink {name}, which is down"),
            Self::Cpu => f.write_str("the processors of this machine"),
            Self::Bridge => {
                f.write_str("the bridge itself: the order of changes, or storing positions")
            }
        }
    }
}

/// What happened between two samples.
#[derive(Clone, Debug, Default)]
pub(super) struct Interval {
    pub(super) elapsed: Duration,
    /// CPU time of the process as a share of all processors, 0 to 1.
    pub(super) cpu: f64,
    pub(super) caught_up: bool,
    pub(super) readers: Vec<Group<ReadActivity>>,
    pub(super) writers: Vec<Group<WriteActivity>>,
}

/// The readers of one pipeline, or the writers of one sink.
#[derive(Clone, Debug)]
pub(super) struct Group<A> {
    pub(super) name: String,
    /// Behind the source; zero for sinks.
    pub(super) lag: Duration,
    /// How long all writes of a sink have failed; zero for readers.
    pub(super) failing: Duration,
    /// The sinks of a pipeline; empty for sinks.
    pub(super) sinks: Vec<String>,
    /// Summed over the group: ten readers that wait for one second count as ten seconds.
    pub(super) spent: BTreeMap<A, Duration>,
    /// `None` if the group has no governor.
    pub(super) governor: Option<GovernorActivity>,
}

/// What a governor did in the interval.
#[derive(Clone, Debug, Default)]
pub(super) struct GovernorActivity {
    pub(super) container: String,
    pub(super) held: HashMap<HeldBy, Duration>,
    pub(super) requests: u64,
    pub(super) throttled: u64,
}

/// The limit: the activity that takes most of the readers' time in the pipelines that are not caught up.
/// If that is waiting for delivery, the activity that takes most of the writers' time at the sink with
/// the most of it. `None` if that is not known yet.
pub(super) fn limit(interval: &Interval) -> Option<Limit> {
    if interval.caught_up {
        return Some(Limit::Nothing);
    }
    if interval.cpu > BUSY {
        return Some(Limit::Cpu);
    }
    if let Some(name) = down(interval) {
        return Some(Limit::SinkDown { name });
    }
    let active = || interval.readers.iter().filter(|reader| !reader.total().is_zero());
    let behind = active().filter(|reader| !reader.is_up_to_date());
    let busiest = behind
        .filter_map(|reader| {
            Some((reader, reader.most(|activity| activity != ReadActivity::Idle)?))
        })
        .max_by_key(|(_, (_, time))| *time);
    let Some((reader, (activity, _))) = busiest else {
        return active().next().map(|_| Limit::Nothing);
    };
    // The readers have nothing to do, because all that there is waits for a sink.
    let is_read = reader.hardly_reads(interval.elapsed) && writes(interval, reader, BUSY_WRITES);
    if reader.is_idle() && (is_read || writes(interval, reader, WAITING_WRITES)) {
        return Some(delivery(interval, reader));
    }
    let pipeline = || reader.name.clone();
    Some(match activity {
        ReadActivity::Request | ReadActivity::Idle => Limit::Source { pipeline: pipeline() },
        ReadActivity::Room => delivery(interval, reader),
        ReadActivity::Budget => {
            let container = reader.container(|| format!("pipeline {}", reader.name));
            reader.held_by_governor(
                Limit::SourceBudget { container },
                Limit::Source { pipeline: pipeline() },
            )
        }
        ReadActivity::Refused => reader.after_errors(Limit::SourceFails { pipeline: pipeline() }),
    })
}

/// The sinks of a pipeline.
fn sinks_of<'i>(
    interval: &'i Interval,
    reader: &'i Group<ReadActivity>,
) -> impl Iterator<Item = &'i Group<WriteActivity>> {
    interval.writers.iter().filter(|sink| reader.sinks.contains(&sink.name))
}

/// True if at least this number of writes to a sink of the pipeline are under way at any moment.
fn writes(interval: &Interval, reader: &Group<ReadActivity>, number: f64) -> bool {
    sinks_of(interval, reader).any(|sink| sink.total() >= interval.elapsed.mul_f64(number))
}

/// The sink that keeps a pipeline from catching up although its readers have nothing to do.
fn down(interval: &Interval) -> Option<String> {
    let waiting = interval.readers.iter().filter(|reader| reader.lag >= FRESH && reader.is_idle());
    let sinks = waiting.flat_map(|reader| &reader.sinks);
    let writers = sinks.filter_map(|name| interval.writers.iter().find(|sink| sink.name == *name));
    let down = writers.filter(|sink| sink.failing >= DOWN);
    down.max_by_key(|sink| sink.failing).map(|sink| sink.name.clone())
}

/// The limit of delivery. Work piles up at the slowest sink.
fn delivery(interval: &Interval, reader: &Group<ReadActivity>) -> Limit {
    let Some(sink) = sinks_of(interval, reader).max_by_key(|sink| sink.total()) else {
        return Limit::Bridge;
    };
    if sink.total() < interval.elapsed.mul_f64(BUSY_WRITES) {
        return Limit::Bridge;
    }
    let name = || sink.name.clone();
    if sink.failing >= DOWN && !sink.is_throttled() {
        return Limit::SinkDown { name: name() };
    }
    // Writers that wait for a turn wait for the activity of the writers that have one.
    match sink.most(|activity| activity != WriteActivity::Turn) {
        Some((WriteActivity::Budget, _)) => {
            let container = sink.container(|| format!("sink {}", sink.name));
            sink.held_by_governor(Limit::TargetBudget { container }, Limit::Sink { name: name() })
        }
        Some((WriteActivity::Refused, _)) => sink.after_errors(Limit::SinkFails { name: name() }),
        Some((WriteActivity::Request | WriteActivity::Turn, _)) | None => {
            Limit::Sink { name: name() }
        }
    }
}

impl Group<ReadActivity> {
    /// True for a quiet source: a little lag, and readers that mostly find nothing new.
    fn is_up_to_date(&self) -> bool {
        self.lag < FRESH && self.is_idle()
    }

    /// All readers together do something less than half of the time of one.
    fn hardly_reads(&self, elapsed: Duration) -> bool {
        let idle = self.spent.get(&ReadActivity::Idle).copied().unwrap_or_default();
        self.total().saturating_sub(idle) * 2 < elapsed
    }

    /// Most of the time, the feed has nothing newer.
    fn is_idle(&self) -> bool {
        let idle = self.spent.get(&ReadActivity::Idle).copied().unwrap_or_default();
        !idle.is_zero() && idle * 2 >= self.total()
    }
}

impl<A: Copy + Ord> Group<A> {
    fn total(&self) -> Duration {
        self.spent.values().sum()
    }

    /// The activity that took the most time, of those that `counts` accepts.
    fn most(&self, counts: impl Fn(A) -> bool) -> Option<(A, Duration)> {
        let spent = self.spent.iter().map(|(activity, time)| (*activity, *time));
        spent
            .filter(|(activity, time)| counts(*activity) && !time.is_zero())
            .max_by_key(|(_, time)| *time)
    }

    /// The name of the container, or `otherwise` without a governor.
    fn container(&self, otherwise: impl FnOnce() -> String) -> String {
        self.governor.as_ref().map_or_else(otherwise, |governor| governor.container.clone())
    }

    /// The limit if requests wait for the governor.
    fn held_by_governor(&self, budget: Limit, slow: Limit) -> Limit {
        let Some(governor) = &self.governor else { return budget };
        let container = governor.container.clone();
        let most = governor.held.iter().filter(|(_, time)| !time.is_zero());
        match most.max_by_key(|(held, time)| (**time, **held)).map(|(held, _)| held) {
            Some(HeldBy::Budget) => budget,
            Some(HeldBy::HotPartition) => Limit::HotPartition { container },
            Some(HeldBy::FoundLimit) => Limit::Throttled { container },
            Some(HeldBy::Throttled) if governor.is_throttled() => Limit::Throttled { container },
            // `concurrency` requests are in flight and none was throttled: responses are slow.
            Some(HeldBy::Throttled | HeldBy::Concurrency) | None => slow,
        }
    }

    fn is_throttled(&self) -> bool {
        self.governor.as_ref().is_some_and(GovernorActivity::is_throttled)
    }

    /// The limit if the group waits after errors: where the service throttles, it asked for the waits.
    fn after_errors(&self, fails: Limit) -> Limit {
        match &self.governor {
            Some(governor) if governor.is_throttled() => {
                Limit::Throttled { container: governor.container.clone() }
            }
            _ => fails,
        }
    }
}

impl GovernorActivity {
    fn is_throttled(&self) -> bool {
        self.throttled > 0 && self.throttled * THROTTLED_ONE_OF >= self.requests
    }
}
