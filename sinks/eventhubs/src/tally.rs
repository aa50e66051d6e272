//! What became of each change of a write.

use cosmos_bridge_sink::{Cause, Outcome, Wait, Written};

use crate::Class;
use crate::problem::Problem;

/// What a chain of batches to one partition came to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The changes that are settled, by their place in the write.
    pub(crate) settled: Vec<(usize, Outcome)>,
    pub(crate) requests: u32,
    /// Why the rest of the chain has to wait.
    pub(crate) problem: Option<Problem>,
}

/// What became of each change, while reports come in.
#[derive(Debug)]
pub(crate) struct Tally {
    outcomes: Vec<Option<Outcome>>,
    requests: u32,
    throttled: u32,
    wait: Option<Wait>,
    reason: String,
}

impl Tally {
    pub(crate) fn new(changes: usize) -> Self {
        let (wait, reason) = (None, String::new());
        Self { outcomes: vec![None; changes], requests: 0, throttled: 0, wait, reason }
    }

    pub(crate) fn settle(&mut self, number: usize, outcome: Outcome) {
        self.outcomes[number] = Some(outcome);
    }

    /// Takes in a chain of batches, whose changes are `numbers`.
    pub(crate) fn add(&mut self, numbers: &[usize], report: Report) {
        self.requests += report.requests;
        for (number, outcome) in report.settled {
            self.settle(number, outcome);
        }
        let Some(problem) = report.problem else { return };
        for &number in numbers {
            let reason = problem.reason.clone();
            self.outcomes[number].get_or_insert(Outcome::Deferred { reason });
        }
        self.note(&problem);
    }

    /// What stands in the way of everything that is not settled.
    pub(crate) fn note(&mut self, problem: &Problem) {
        self.throttled += u32::from(problem.class == Class::Deferred(Cause::Throttled));
        self.reason.clone_from(&problem.reason);
        self.wait = match (self.wait, problem.wait()) {
            (Some(held), Some(new)) => Some(graver(held, new)),
            (held, new) => held.or(new),
        };
    }

    pub(crate) fn finish(self) -> Written {
        let Self { outcomes, requests, throttled, wait, reason } = self;
        let waiting = || Outcome::Deferred { reason: reason.clone() };
        let outcomes = outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(waiting));
        Written { outcomes: outcomes.collect(), charge: 0.0, requests, throttled, wait }
    }
}

/// Of two waits the one that concerns more, for as long as either asks.
fn graver(held: Wait, new: Wait) -> Wait {
    let concerns = |cause| match cause {
        Cause::Busy => 4,
        Cause::Throttled => 3,
        Cause::Moved => 2,
        Cause::HotKey => 1,
        Cause::Fault => 0,
    };
    let cause = if concerns(new.cause) > concerns(held.cause) { new.cause } else { held.cause };
    Wait { cause, retry_after: held.retry_after.max(new.retry_after) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn problem(cause: Cause, seconds: Option<u64>) -> Problem {
        let retry_after = seconds.map(Duration::from_secs);
        Problem { class: Class::Deferred(cause), retry_after, ..Problem::broken("it broke") }
    }

    #[test]
    fn what_is_not_settled_waits_for_the_gravest_reason() {
        let mut tally = Tally::new(4);
        tally.settle(3, Outcome::Rejected { reason: "too large".to_owned() });
        let settled = vec![(0, Outcome::Delivered)];
        let throttled = Some(problem(Cause::Throttled, Some(4)));
        tally.add(&[0, 1, 3], Report { settled, requests: 2, problem: throttled });
        let busy = Some(problem(Cause::Busy, None));
        tally.add(&[2], Report { settled: vec![], requests: 1, problem: busy });
        let written = tally.finish();
        let deferred = Outcome::Deferred { reason: "it broke".to_owned() };
        let rejected = Outcome::Rejected { reason: "too large".to_owned() };
        assert_eq!(written.outcomes, [Outcome::Delivered, deferred.clone(), deferred, rejected]);
        assert_eq!((written.requests, written.throttled), (3, 1));
        let wait = Wait { cause: Cause::Busy, retry_after: Some(Duration::from_secs(4)) };
        assert_eq!(written.wait, Some(wait));
    }
}
