//! Decides what holds the bridge back. Values in, a value out.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::waits::{Reading, Writing};
use crate::governor::Held;

#[cfg(test)]
mod tests;

/// Above this share of all processors nothing else matters.
const BUSY: f64 = 0.9;

/// Less than this behind the source is as good as caught up, if readers mostly found nothing new.
const FRESH: Duration = Duration::from_secs(10);

/// The service throttles, if it does so to one request of this many.
const THROTTLED_ONE_OF: u64 = 100;

/// What holds the bridge back. Without it, it would be faster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// It has caught up.
    Nothing,
    /// The budget for reading or for writing a container.
    SourceBudget {
        container: String,
    },
    TargetBudget {
        container: String,
    },
    /// Requests wait for partitions that have used all that the service provides for one.
    HotPartition {
        container: String,
    },
    /// The service refuses requests for their rate.
    Throttled {
        container: String,
    },
    /// Slow answers, or too few turns.
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
    /// The processors.
    Cpu,
    /// Readers wait for delivery, and delivery does not wait for its sinks.
    Bridge,
}

impl Display for Limit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::SourceBudget { container } => write!(f, "the RU budget for reading {container}"),
            Self::TargetBudget { container } => write!(f, "the RU budget for writing {container}"),
            Self::HotPartition { container } => {
                write!(f, "a hot partition of {container}, which is used up")
            }
            Self::Throttled { container } => {
                write!(f, "the service, which throttles requests to {container}")
            }
            Self::Source { pipeline } => write!(f, "slow answers to reading pipeline {pipeline}"),
            Self::Sink { name } => write!(f, "slow answers of sink {name}"),
            Self::SourceFails { pipeline } => {
                write!(f, "errors when reading pipeline {pipeline}")
            }
            Self::SinkFails { name } => write!(f, "errors when writing to sink {name}"),
            Self::Cpu => f.write_str("the processors of this machine"),
            Self::Bridge => {
                f.write_str("the bridge itself: the order of changes, or storing positions")
            }
        }
    }
}

/// What happened between two looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    pub(super) elapsed: Duration,
    /// CPU time of the process, as a share of all processors, 0 to 1.
    pub(super) cpu: f64,
    pub(super) caught_up: bool,
    pub(super) readers: Vec<Side<Reading>>,
    pub(super) writers: Vec<Side<Writing>>,
}

/// One pipeline's readers, or those who write to one sink.
#[derive(Clone, Debug)]
pub(super) struct Side<C> {
    pub(super) name: String,
    /// Behind the source; zero for sinks.
    pub(super) lag: Duration,
    /// Summed over everybody: ten readers that wait for a second wait for ten seconds.
    pub(super) spent: BTreeMap<C, Duration>,
    /// `None` where nobody said what budget it draws on.
    pub(super) gate: Option<Gate>,
}

/// What a governor did meanwhile.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    pub(super) container: String,
    pub(super) held: HashMap<Held, Duration>,
    pub(super) requests: u64,
    pub(super) throttled: u64,
}

/// What holds the bridge back, as far as it can be told: of the pipelines that have something to
/// do, what most of their readers' time goes to; if that is delivery, what most time goes to at the
/// sink where most of it is spent.
pub(super) fn limit(sight: &Sight) -> Option<Limit> {
    if sight.caught_up {
        return Some(Limit::Nothing);
    }
    if sight.cpu > BUSY {
        return Some(Limit::Cpu);
    }
    let seen = || sight.readers.iter().filter(|reader| !reader.total().is_zero());
    let behind = seen().filter(|reader| !reader.is_up_to_date());
    let busiest = behind
        .filter_map(|reader| Some((reader, reader.most(|cause| cause != Reading::Idle)?)))
        .max_by_key(|(_, (_, time))| *time);
    let Some((reader, (cause, _))) = busiest else {
        return seen().next().map(|_| Limit::Nothing);
    };
    let pipeline = || reader.name.clone();
    Some(match cause {
        Reading::Request | Reading::Idle => Limit::Source { pipeline: pipeline() },
        Reading::Room => delivery(sight),
        Reading::Budget => {
            let container = reader.place(|| format!("pipeline {}", reader.name));
            reader.behind_gate(
                Limit::SourceBudget { container },
                Limit::Source { pipeline: pipeline() },
            )
        }
        Reading::Refused => reader.after_errors(Limit::SourceFails { pipeline: pipeline() }),
    })
}

/// What holds delivery back. Work piles up where it is slowest.
fn delivery(sight: &Sight) -> Limit {
    let Some(sink) = sight.writers.iter().max_by_key(|sink| sink.total()) else {
        return Limit::Bridge;
    };
    if sink.total() < sight.elapsed / 2 {
        return Limit::Bridge;
    }
    let name = || sink.name.clone();
    // Who waits for a turn waits for what those do who have one.
    match sink.most(|cause| cause != Writing::Turn) {
        Some((Writing::Budget, _)) => {
            let container = sink.place(|| format!("sink {}", sink.name));
            sink.behind_gate(Limit::TargetBudget { container }, Limit::Sink { name: name() })
        }
        Some((Writing::Refused, _)) => sink.after_errors(Limit::SinkFails { name: name() }),
        Some((Writing::Request | Writing::Turn, _)) | None => Limit::Sink { name: name() },
    }
}

impl Side<Reading> {
    /// A little behind, with readers that mostly find nothing new: what a quiet source looks like.
    fn is_up_to_date(&self) -> bool {
        let idle = self.spent.get(&Reading::Idle).copied().unwrap_or_default();
        self.lag < FRESH && idle * 2 >= self.total()
    }
}

impl<C: Copy + Ord> Side<C> {
    fn total(&self) -> Duration {
        self.spent.values().sum()
    }

    /// What most time went to, of what counts.
    fn most(&self, counts: impl Fn(C) -> bool) -> Option<(C, Duration)> {
        let spent = self.spent.iter().map(|(cause, time)| (*cause, *time));
        spent
            .filter(|(cause, time)| counts(*cause) && !time.is_zero())
            .max_by_key(|(_, time)| *time)
    }

    /// The container, or else what it is called in the configuration.
    fn place(&self, otherwise: impl FnOnce() -> String) -> String {
        self.gate.as_ref().map_or_else(otherwise, |gate| gate.container.clone())
    }

    /// Why the governor let requests wait.
    fn behind_gate(&self, budget: Limit, slow: Limit) -> Limit {
        let Some(gate) = &self.gate else { return budget };
        let container = gate.container.clone();
        let most = gate.held.iter().filter(|(_, time)| !time.is_zero());
        match most.max_by_key(|(held, time)| (**time, **held)).map(|(held, _)| held) {
            Some(Held::Budget) => budget,
            Some(Held::HotPartition) => Limit::HotPartition { container },
            Some(Held::Throttled) if gate.is_throttled() => Limit::Throttled { container },
            // As many requests are under way as may be, and none was refused: answers are slow.
            Some(Held::Throttled | Held::Concurrency) | None => slow,
        }
    }

    /// Waits after errors are the service's wish where it throttles.
    fn after_errors(&self, fails: Limit) -> Limit {
        match &self.gate {
            Some(gate) if gate.is_throttled() => {
                Limit::Throttled { container: gate.container.clone() }
            }
            _ => fails,
        }
    }
}

impl Gate {
    fn is_throttled(&self) -> bool {
        self.throttled > 0 && self.throttled * THROTTLED_ONE_OF >= self.requests
    }
}
