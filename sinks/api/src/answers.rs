//! Collects the outcome of each change of one write.

use std::collections::HashSet;

use crate::change::DocumentId;
use crate::{Change, Outcome, RequestUnits, Wait, Written};

/// The reason of a change that was not sent because an earlier one was deferred.
pub const EARLIER_CHANGE: &str = "an earlier change has not been written yet";

/// The outcomes of one write while requests are in flight, and what they cost.
///
/// A change is named by its index in the write. Once a change of a document is deferred, later
/// changes of that document are held: a sink must not send them in the same write.
#[derive(Debug)]
pub struct Answers<'c> {
    changes: &'c [Change],
    outcomes: Vec<Option<Outcome>>,
    held: HashSet<DocumentId<'c>>,
    charge: RequestUnits,
    requests: u32,
    throttled: u32,
    superseded: u32,
    kept: Vec<usize>,
    collisions: u32,
    conflicts_logged: u32,
    conflicts: Vec<usize>,
    unanswered: Vec<usize>,
    wait: Option<Wait>,
}

impl<'c> Answers<'c> {
    pub fn new(changes: &'c [Change]) -> Self {
        Self {
            changes,
            outcomes: vec![None; changes.len()],
            held: HashSet::new(),
            charge: 0.0,
            requests: 0,
            throttled: 0,
            superseded: 0,
            kept: Vec::new(),
            collisions: 0,
            conflicts_logged: 0,
            conflicts: Vec::new(),
            unanswered: Vec::new(),
            wait: None,
        }
    }

    /// True if an earlier change of the same document was deferred.
    pub fn is_held(&self, index: usize) -> bool {
        !self.held.is_empty() && self.held.contains(&self.changes[index].document_id())
    }

    /// True if the change has no outcome yet and may be sent.
    pub fn is_open(&self, index: usize) -> bool {
        self.outcomes[index].is_none() && !self.is_held(index)
    }

    pub fn deliver(&mut self, index: usize) {
        self.outcomes[index] = Some(Outcome::Delivered);
    }

    /// Delivers a change that is not written because of what the target has.
    pub fn keep(&mut self, index: usize) {
        self.deliver(index);
        self.kept.push(index);
    }

    pub fn reject(&mut self, index: usize, reason: impl Into<String>) {
        self.outcomes[index] = Some(Outcome::Rejected { reason: reason.into() });
    }

    /// Rejects a change because of another document, and holds the later changes of this document.
    pub fn conflict(&mut self, index: usize, reason: impl Into<String>) {
        self.reject(index, reason);
        self.conflicts.push(index);
        self.held.insert(self.changes[index].document_id());
    }

    /// Defers a change and holds the later changes of its document.
    ///
    /// The write waits for the gravest of all its causes, and for the longest pause that was asked for
    /// because of that.
    pub fn defer(&mut self, index: usize, reason: impl Into<String>, wait: impl Into<Wait>) {
        let wait = wait.into();
        self.outcomes[index] = Some(Outcome::Deferred { reason: reason.into() });
        self.held.insert(self.changes[index].document_id());
        self.wait = Some(self.wait.map_or(wait, |known| known.and(wait)));
    }

    /// Notes that an attempt of a change was sent and not answered, and may still arrive.
    pub fn unanswered(&mut self, index: usize) {
        self.unanswered.push(index);
    }

    /// Notes it of each change that is open.
    pub fn rest_unanswered(&mut self) {
        let open: Vec<_> = (0..self.changes.len()).filter(|index| self.is_open(*index)).collect();
        self.unanswered.extend(open);
    }

    /// Delivers each change that is open.
    pub fn deliver_rest(&mut self) {
        for index in 0..self.changes.len() {
            if self.is_open(index) {
                self.deliver(index);
            }
        }
    }

    /// Defers each change that is open, for one reason.
    pub fn defer_rest(&mut self, reason: &str, wait: impl Into<Wait>) {
        let wait = wait.into();
        for index in 0..self.changes.len() {
            if self.is_open(index) {
                self.defer(index, reason, wait);
            }
        }
    }

    /// Counts requests that were sent.
    pub fn sent(&mut self, requests: usize) {
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        self.requests = self.requests.saturating_add(requests);
    }

    /// Counts one of the requests as throttled.
    pub fn throttled(&mut self) {
        self.throttled += 1;
    }

    /// Counts a change that is not written because the target has a later version.
    pub fn superseded(&mut self) {
        self.superseded += 1;
    }

    /// Counts a change whose document in the target was written from another source document.
    pub fn collided(&mut self) {
        self.collisions += 1;
    }

    /// Counts a conflict between two mirrored containers that was logged.
    pub fn conflict_logged(&mut self) {
        self.conflicts_logged += 1;
    }

    /// Adds to what the write cost.
    pub fn charge(&mut self, charge: RequestUnits) {
        self.charge += charge;
    }

    /// Adds what another part of the write has counted. Its outcomes are not taken over.
    pub fn add_counts(&mut self, other: &Answers<'_>) {
        self.charge += other.charge;
        self.requests = self.requests.saturating_add(other.requests);
        self.throttled += other.throttled;
        self.superseded += other.superseded;
        self.collisions += other.collisions;
        self.conflicts_logged += other.conflicts_logged;
    }

    /// Defers each change that has no outcome: an earlier one was deferred before it was sent.
    pub fn finish(self) -> Written {
        let Self {
            outcomes,
            charge,
            requests,
            throttled,
            superseded,
            kept,
            collisions,
            conflicts_logged,
            conflicts,
            unanswered,
            wait,
            ..
        } = self;
        let earlier = || Outcome::Deferred { reason: EARLIER_CHANGE.to_owned() };
        let outcomes = outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(earlier));
        let outcomes = outcomes.collect();
        Written {
            outcomes,
            charge,
            requests,
            throttled,
            superseded,
            kept,
            collisions,
            conflicts_logged,
            conflicts,
            unanswered,
            wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::{Cause, ContainerName, KeyValue, Operation, Origin, PartitionKey};

    fn change(container: &str, id: &str) -> Change {
        let text = |text: &str| text.to_owned();
        let partition_key = PartitionKey(vec![KeyValue::String(text("north"))]);
        let container = ContainerName {
            account: text("a"),
            database: text("d"),
            container: text(container),
            rid: text("rid"),
        };
        Change {
            id: text(id),
            partition_key: partition_key.clone(),
            operation: Operation::Delete { expired: false },
            previous: None,
            origin: Arc::new(Origin {
                container: Arc::new(container),
                id: text(id),
                partition_key,
                lsn: None,
                committed_at: None,
                nth: 0,
                expiry: None,
                is_snapshot: false,
                trace: None,
            }),
            old_copies: crate::OldCopies::None,
        }
    }

    fn shown(written: &Written) -> Vec<&str> {
        let outcomes = written.outcomes.iter();
        outcomes
            .map(|outcome| match outcome {
                Outcome::Delivered => "delivered",
                Outcome::Rejected { reason } | Outcome::Deferred { reason } => reason.as_str(),
            })
            .collect()
    }

    fn after(cause: Cause, seconds: u64) -> Wait {
        Wait { cause, retry_after: Some(Duration::from_secs(seconds)) }
    }

    #[test]
    fn later_changes_of_a_deferred_document_are_held_and_no_others() {
        let changes = [
            change("orders", "a"),
            change("orders", "b"),
            change("orders", "a"),
            change("offers", "a"),
            change("orders", "c"),
        ];
        let mut answers = Answers::new(&changes);
        assert!((0..5).all(|index| answers.is_open(index) && !answers.is_held(index)));
        answers.defer(0, "queue full", Cause::Fault);
        answers.deliver(1);
        answers.reject(4, "too large");
        let open: Vec<usize> = (0..5).filter(|index| answers.is_open(*index)).collect();
        assert_eq!(open, [3]);
        assert!(answers.is_held(2));
        answers.defer_rest("connection lost", Cause::Busy);
        let written = answers.finish();
        let expected = ["queue full", "delivered", EARLIER_CHANGE, "connection lost", "too large"];
        assert_eq!(shown(&written), expected);
        let deferred = |outcome: &Outcome| matches!(outcome, Outcome::Deferred { .. });
        assert!([0, 2, 3].iter().all(|index| deferred(&written.outcomes[*index])));
        assert_eq!(written.outcomes[4], Outcome::Rejected { reason: "too large".to_owned() });
        assert_eq!(written.wait, Some(Cause::Busy.into()));
    }

    #[test]
    fn a_write_waits_for_its_gravest_cause_and_the_longest_pause_of_that() {
        let none = |cause| Wait { cause, retry_after: None };
        let cases = [
            (vec![], None),
            (vec![none(Cause::Fault)], Some(none(Cause::Fault))),
            (vec![none(Cause::Fault), none(Cause::HotKey)], Some(none(Cause::HotKey))),
            (vec![none(Cause::Moved), none(Cause::HotKey)], Some(none(Cause::Moved))),
            (vec![none(Cause::Moved), none(Cause::Throttled)], Some(none(Cause::Throttled))),
            (vec![none(Cause::Busy), none(Cause::Throttled)], Some(none(Cause::Busy))),
            (vec![after(Cause::Throttled, 4), none(Cause::Busy)], Some(none(Cause::Busy))),
            (vec![none(Cause::Fault), after(Cause::Fault, 2)], Some(after(Cause::Fault, 2))),
            (vec![after(Cause::Busy, 1), after(Cause::Fault, 9)], Some(after(Cause::Busy, 1))),
            // One document waits for its late writes, and a partition is throttled for a moment.
            (vec![after(Cause::Fault, 30), none(Cause::Throttled)], Some(none(Cause::Throttled))),
            (vec![after(Cause::HotKey, 1), after(Cause::HotKey, 3)], Some(after(Cause::HotKey, 3))),
        ];
        for (waits, expected) in cases {
            let changes: Vec<Change> =
                (0..waits.len()).map(|number| change("orders", &number.to_string())).collect();
            for order in [waits.clone(), waits.iter().rev().copied().collect()] {
                let mut answers = Answers::new(&changes);
                for (index, wait) in order.iter().enumerate() {
                    answers.defer(index, "no", *wait);
                }
                assert_eq!(answers.finish().wait, expected, "{order:?}");
            }
        }
    }

    #[test]
    fn a_conflict_is_named_by_its_index_and_holds_the_later_changes_of_its_document() {
        let changes = [change("orders", "b"), change("orders", "a"), change("orders", "a")];
        let mut answers = Answers::new(&changes);
        answers.conflict(1, "unique key");
        assert!(answers.is_held(2) && !answers.is_held(0));
        answers.deliver_rest();
        let written = answers.finish();
        assert_eq!(shown(&written), ["delivered", "unique key", EARLIER_CHANGE]);
        assert!(matches!(written.outcomes[1], Outcome::Rejected { .. }));
        assert_eq!(written.conflicts, [1]);
    }

    #[test]
    fn what_the_target_kept_is_counted() {
        for count in 0..3 {
            let mut answers = Answers::new(&[]);
            for _ in 0..count {
                answers.superseded();
                answers.collided();
                answers.collided();
            }
            let written = answers.finish();
            assert_eq!((written.superseded, written.collisions), (count, 2 * count));
        }
    }

    #[test]
    fn what_another_part_has_counted_is_added() {
        let mut part = Answers::new(&[]);
        part.sent(2);
        part.charge(5.5);
        part.throttled();
        part.superseded();
        part.collided();
        part.conflict_logged();
        let mut answers = Answers::new(&[]);
        answers.sent(1);
        answers.charge(1.0);
        answers.add_counts(&part);
        answers.add_counts(&part);
        let written = answers.finish();
        assert_eq!((written.requests, written.throttled), (5, 2));
        assert_eq!((written.superseded, written.collisions), (2, 2));
        assert_eq!(written.conflicts_logged, 2);
        assert!((written.charge - 12.0).abs() < 1e-9);
    }

    #[test]
    fn what_has_no_outcome_at_the_end_waits_for_an_earlier_change() {
        let changes = [change("orders", "a"), change("orders", "b"), change("orders", "c")];
        let mut answers = Answers::new(&changes);
        answers.sent(1);
        answers.charge(5.5);
        answers.deliver(0);
        answers.sent(1);
        answers.charge(1.5);
        answers.throttled();
        answers.defer(1, "throttled", after(Cause::Throttled, 1));
        let written = answers.finish();
        assert_eq!(shown(&written), ["delivered", "throttled", EARLIER_CHANGE]);
        assert_eq!((written.requests, written.throttled), (2, 1));
        assert!((written.charge - 7.0).abs() < 1e-9);
        assert_eq!(written.wait, Some(after(Cause::Throttled, 1)));
    }

    #[test]
    fn the_rest_is_delivered_but_not_what_has_an_outcome() {
        let changes = [change("orders", "a"), change("orders", "b")];
        let mut answers = Answers::new(&changes);
        answers.reject(0, "too large");
        answers.deliver_rest();
        // Nothing is open any more, so there is nothing to wait for.
        answers.defer_rest("nothing was sent", Cause::Busy);
        let written = answers.finish();
        assert_eq!(shown(&written), ["too large", "delivered"]);
        assert_eq!(written.wait, None);
    }
}
