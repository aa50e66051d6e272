//! One request, from the moment it may be sent to its answer.

use std::time::Duration;

use cosmos_bridge_sink::RequestUnits;

use super::ledger::Ticket;
use super::{Governor, Operation};

/// What the service said to a request, as far as the budget is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it was done.
    Done,
    /// The partition has no units left: nothing more for so long, and less after that.
    Throttled { wait: Duration },
    /// The service has trouble of its own: fewer at once.
    Slowed,
    /// It says nothing about other requests: refused for its own sake, one hot key, no answer.
    Other,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settlement {
    /// What all its attempts cost.
    pub charge: RequestUnits,
    /// Documents that it read or wrote.
    pub documents: usize,
    /// Attempts that were refused for the rate of requests.
    pub throttled: u32,
    pub verdict: Verdict,
}

/// A request that may be sent now. Dropped without an answer, it counts as what was expected.
#[derive(Debug)]
#[must_use = "it has to be settled with what the request cost"]
pub struct Admission<'g> {
    pub(super) governor: &'g Governor,
    pub(super) ticket: Ticket,
    pub(super) operations: Vec<Operation>,
    pub(super) expected: RequestUnits,
    pub(super) is_settled: bool,
}

impl Admission<'_> {
    /// What the request was expected to cost.
    pub fn expected(&self) -> RequestUnits {
        self.expected
    }

    /// How many of its operations the request may hold now, from the first on: the budget may have
    /// shrunk while it waited. The others are not part of it any more.
    pub fn affordable(&mut self) -> usize {
        let count = self.governor.affordable(&self.operations);
        if count < self.operations.len() {
            self.operations.truncate(count);
            // Of the ledger's books the difference goes with the answer.
            self.expected = self.governor.state.lock().charges.predict(&self.operations);
        }
        count
    }

    /// Leaves for the service, after whatever else it had to wait for here.
    pub fn leaves(&self) {
        let now = self.governor.now();
        self.governor.state.lock().ledger.leaves(now, self.ticket);
    }

    /// Books the answer.
    pub fn settle(mut self, settlement: Settlement) {
        let Settlement { charge, documents, throttled, verdict } = settlement;
        let governor = self.governor;
        let now = governor.now();
        let mut state = governor.state.lock();
        if verdict == Verdict::Done {
            state.charges.learn(&self.operations, charge);
            state.learn_documents(charge, documents);
        }
        state.resize(verdict);
        state.usage.requests += 1;
        state.usage.throttled += u64::from(throttled);
        state.usage.charged += charge;
        state.usage.expected += self.expected;
        state.ledger.settle(now, self.ticket, charge, verdict);
        governor.dispatch(&mut state, now);
        self.is_settled = true;
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        let governor = self.governor;
        let now = governor.now();
        let mut state = governor.state.lock();
        state.ledger.forget(now, self.ticket);
        state.waiting.remove(&self.ticket);
        governor.dispatch(&mut state, now);
    }
}
