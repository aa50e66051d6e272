//! One request, from the moment it may be sent to its response.

use cosmos_bridge_sink::RequestUnits;

use super::Governor;
use super::charges::{Kind, Operation};
use super::partition::Ticket;
use super::settlement::{Settlement, Verdict};
use crate::model::PartitionId;

/// A request that may be sent now. If it is dropped without a result, the predicted charge counts.
#[derive(Debug)]
#[must_use = "it has to be settled with the charge of the request"]
pub struct Admission<'g> {
    pub(super) governor: &'g Governor,
    pub(super) ticket: Ticket,
    pub(super) partition: PartitionId,
    pub(super) operations: Vec<Operation>,
    pub(super) expected: RequestUnits,
    pub(super) is_settled: bool,
}

impl Admission<'_> {
    /// The predicted charge.
    pub fn expected(&self) -> RequestUnits {
        self.expected
    }

    /// How many of its operations the request may contain now, counted from the first: the budget may have
    /// become smaller while it waited. The other operations are removed.
    pub fn affordable(&mut self) -> usize {
        let count = self.governor.affordable(self.partition, &self.operations);
        if count < self.operations.len() {
            self.operations.truncate(count);
            // The ledger corrects the difference when the request is settled.
            self.expected = self.governor.state.lock().charges.predict(&self.operations);
        }
        count
    }

    /// The request is sent now, after other waits in the bridge.
    pub fn mark_sent(&self) {
        let now = self.governor.now();
        self.governor.state.lock().ledger.mark_sent(now, self.ticket);
    }

    /// Books the result.
    pub fn settle(mut self, settlement: Settlement) {
        let Settlement { charge, documents, throttled, verdict } = settlement;
        let governor = self.governor;
        let now = governor.now();
        let mut state = governor.state.lock();
        if verdict == Verdict::Done {
            if let Some(whole) = self.whole_charge(charge, documents) {
                state.charges.learn(&self.operations, whole);
            }
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

    /// The charge of the request if all its documents had been written; `None` if none was. A refused document
    /// costs less than a written one, and only the sum is known: that of the written ones is a little too high.
    fn whole_charge(&self, charge: RequestUnits, documents: usize) -> Option<RequestUnits> {
        let is_page = |operation: &Operation| operation.kind == Kind::Page;
        let operations = self.operations.len();
        if documents >= operations || self.operations.iter().all(is_page) {
            return Some(charge);
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a request has far fewer than 2^53 documents"
        )]
        let share = operations as f64 / documents as f64;
        (documents > 0).then_some(charge * share)
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
