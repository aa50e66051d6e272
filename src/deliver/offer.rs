//! One batch, offered to its sink until each of its changes is delivered or rejected.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use cosmos_bridge_sink::{Cause, Change, EARLIER_CHANGE, Outcome, Wait, Written};
use tokio::time::Instant;
use tracing::debug;

use super::delivery::{BatchEnd, Delivery, Rejected, WriteStop};
use super::write_queue::WriteBatch;
use crate::backoff::{Attempt, Attempts, Repeat, Step, retry};
use crate::governor::{Admission, Kind, Operation, Settlement, Verdict};
use crate::model::{Fate, PartitionId};
use crate::observe::WriteActivity;
use crate::traces::WriteSpans;

impl Delivery {
    /// Offers the changes of a batch until each is delivered or rejected.
    ///
    /// `None` when stopped first: some may be written, none may be forgotten.
    pub async fn until_done(&self, batch: &WriteBatch, stop: &WriteStop) -> Option<BatchEnd> {
        retry(&mut Offer::new(self, batch, stop)).await
    }
}

/// How long a change is offered again because of a conflict with another document. The other changes
/// of its key may wait for one another, or for a conflict of their own.
const CONFLICT_LIMIT: Duration = Duration::from_mins(1);

/// What is left of a batch.
struct Offer<'a> {
    delivery: &'a Delivery,
    batch: &'a WriteBatch,
    stop: &'a WriteStop,
    spans: WriteSpans<'a>,
    attempts: Attempts,
    ended: BatchEnd,
    partition: PartitionId,
    /// The changes moved to another partition, which is looked up before the next attempt.
    has_moved: bool,
    /// The last answer was that the target will take the rest soon.
    is_busy: bool,
    /// When a change first met a conflict.
    conflict: Option<Instant>,
    /// Changes, and what they cost, of which those from `done` on are left.
    changes: Cow<'a, [Change]>,
    operations: Vec<Operation>,
    /// Where each of them is in the batch.
    places: Vec<usize>,
    done: usize,
}

/// The answer to one attempt.
struct Answer<'a> {
    admission: Admission<'a>,
    /// The number of changes that were offered.
    offered: usize,
    written: Written,
    took: Duration,
}

impl<'a> Offer<'a> {
    fn new(delivery: &'a Delivery, batch: &'a WriteBatch, stop: &'a WriteStop) -> Self {
        Self {
            delivery,
            batch,
            stop,
            spans: WriteSpans::begin(delivery.traces.as_ref()),
            attempts: Attempts::default(),
            ended: BatchEnd { rejected: Vec::new(), fates: vec![None; batch.changes.len()] },
            partition: batch.partition,
            has_moved: false,
            is_busy: false,
            conflict: None,
            changes: Cow::Borrowed(&batch.changes),
            operations: batch.changes.iter().zip(&batch.bytes).map(operation).collect(),
            places: (0..batch.changes.len()).collect(),
            done: 0,
        }
    }

    /// Waits for the budget of the next changes. A batch is made by the number of its changes; here it
    /// is known what they cost. `None` when stopped first.
    async fn admit(&mut self) -> Option<Admission<'a>> {
        let Delivery { governor, meter, .. } = self.delivery;
        if self.has_moved
            && let Some(first) = self.changes.get(self.done)
        {
            self.partition = self.delivery.partition(&first.partition_key).await;
            self.has_moved = false;
        }
        let pending = &self.operations[self.done..];
        let fitting = pending[..governor.affordable(self.partition, pending)].to_vec();
        let admission = governor.admit(self.partition, fitting);
        tokio::select! {
            // What can be sent soon is sent even if a stop was asked for: it was read.
            biased;
            admission = meter.time_spent.during(WriteActivity::Budget, admission) => Some(admission),
            () = self.stop.is_over() => None,
        }
    }

    /// Offers what the budget admits, once. `None` when stopped first.
    async fn offer(&mut self) -> Option<Answer<'a>> {
        let mut admission = self.admit().await?;
        let offered = admission.affordable();
        let Delivery { sink, meter, turns, late_writes, .. } = self.delivery;
        let turn = tokio::select! {
            biased;
            turn = meter.time_spent.during(WriteActivity::Turn, turns.acquire()) => turn.ok()?,
            // A feed range that goes on without this sink does not wait for its turn.
            () = self.stop.abandoned.cancelled() => return None,
        };
        admission.mark_sent();
        let sent = Instant::now();
        let changes = &self.changes[self.done..self.done + offered];
        let write = late_writes.write(&**sink, changes);
        let written = meter.time_spent.during(WriteActivity::Request, write).await;
        drop(turn);
        Some(Answer { admission, offered, written, took: sent.elapsed() })
    }

    /// Counts an answer, and decides how to go on.
    fn next_step(&mut self, answer: Answer<'a>) -> Step<BatchEnd> {
        let Answer { admission, offered, written, took } = answer;
        let Delivery { sink, meter, throttling, .. } = self.delivery;
        meter.count(&written, took);
        throttling.count(written.requests, written.throttled);
        // Pauses grow while nothing helps: what is written in part is not waited for longer and longer.
        if written.outcomes.contains(&Outcome::Delivered) {
            self.attempts = Attempts::default();
        }
        let repeat = written.wait.map(|wait| self.attempts.after(wait));
        admission.settle(settlement(&written, repeat));
        // A sink that defers without a reason is asked again like after a fault.
        let wait = written.wait.unwrap_or(Wait { cause: Cause::Fault, retry_after: None });
        let throttled = written.throttled;
        let is_moved = written.wait.is_some_and(|wait| wait.cause == Cause::Moved);
        let mut outcomes = written.outcomes;
        self.resolve_conflicts(&mut outcomes, &written.conflicts);
        let Some(error) = self.take_outcomes(outcomes, &written.kept, offered, wait.cause) else {
            if self.done < self.operations.len() {
                self.attempts = Attempts::default();
                return Step::Continue;
            }
            meter.write_failures.recovered();
            return Step::Done(std::mem::take(&mut self.ended));
        };
        if throttled == 0 {
            meter.write_failures.failed(&error);
        }
        let Repeat { pause, .. } = repeat.unwrap_or_else(|| self.attempts.after(wait));
        let cause = wait.cause;
        if cause == Cause::Fault {
            self.batch.note_stuck();
        }
        meter.errors.add(cause, 1);
        debug!(sink = sink.name(), ?cause, ?pause, error, "writing has to wait");
        self.has_moved = is_moved;
        self.is_busy = matches!(cause, Cause::Throttled | Cause::Moved);
        Step::RepeatAfter(pause)
    }

    /// Keeps what is left: the deferred changes and those that were not offered. Returns why the first
    /// of them was deferred, if one was.
    fn take_outcomes(
        &mut self,
        outcomes: Vec<Outcome>,
        kept: &[usize],
        offered: usize,
        cause: Cause,
    ) -> Option<String> {
        let (mut changes, mut operations, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let (mut error, mut reasons) = (None, Vec::new());
        let end = self.done + offered;
        let attempted = self.changes[self.done..end].iter().zip(&self.operations[self.done..end]);
        let attempted = attempted.zip(&self.places[self.done..end]);
        for (index, (((change, operation), place), outcome)) in attempted.zip(outcomes).enumerate()
        {
            self.spans.count(change, &outcome, cause);
            match outcome {
                Outcome::Delivered => {
                    let is_kept = kept.contains(&index);
                    let fate = if is_kept { Fate::Superseded } else { Fate::Delivered };
                    self.ended.fates[*place] = Some(fate);
                }
                Outcome::Rejected { reason } => {
                    self.ended.fates[*place] = Some(Fate::DeadLetter);
                    self.ended.rejected.push(Rejected { change: change.clone(), reason });
                }
                Outcome::Deferred { reason } => {
                    changes.push(change.clone());
                    operations.push(*operation);
                    places.push(*place);
                    reasons.push(reason != EARLIER_CHANGE);
                    error.get_or_insert(reason);
                }
            }
        }
        if error.is_none() {
            self.done = end;
        } else {
            changes.extend_from_slice(&self.changes[end..]);
            reasons.resize(changes.len(), false);
            operations.extend_from_slice(&self.operations[end..]);
            places.extend_from_slice(&self.places[end..]);
            if cause == Cause::Fault {
                let order = failed_last(&changes, &reasons);
                changes = order.iter().map(|at| changes[*at].clone()).collect();
                operations = order.iter().map(|at| operations[*at]).collect();
                places = order.iter().map(|at| places[*at]).collect();
            }
            (self.changes, self.operations) = (Cow::Owned(changes), operations);
            (self.places, self.done) = (places, 0);
        }
        error
    }
}

/// An order in which the documents whose changes failed are behind the others: a sink ends an attempt after some
/// failures, and what it did not send is to come first. `has_failed` says of each change whether it was sent.
fn failed_last(changes: &[Change], has_failed: &[bool]) -> Vec<usize> {
    let failed = changes.iter().zip(has_failed).filter(|(_, failed)| **failed);
    let failed: HashSet<_> = failed.map(|(change, _)| change.document_id()).collect();
    let is_failed: Vec<_> =
        changes.iter().map(|change| failed.contains(&change.document_id())).collect();
    let mut order: Vec<_> = (0..changes.len()).collect();
    // Stable: the changes of one document stay in their order.
    order.sort_by_key(|at| is_failed[*at]);
    order
}

impl Offer<'_> {
    /// Defers the changes that conflict with another document while other changes of their partition key
    /// are pending, which may resolve the conflict. They stay rejected after that.
    fn resolve_conflicts(&mut self, outcomes: &mut [Outcome], conflicts: &[usize]) {
        if conflicts.is_empty() {
            return;
        }
        let since = *self.conflict.get_or_insert_with(Instant::now);
        if since.elapsed() >= CONFLICT_LIMIT {
            return;
        }
        let may_resolve = |index: &usize| self.has_pending(*index, outcomes);
        let deferred: Vec<_> = conflicts.iter().copied().filter(may_resolve).collect();
        for index in deferred {
            if let Some(outcome) = outcomes.get_mut(index)
                && let Outcome::Rejected { reason } = outcome
            {
                *outcome = Outcome::Deferred { reason: std::mem::take(reason) };
            }
        }
    }

    /// True if a change of the same partition key as that of an offered one is pending, or was written with
    /// it. No other change can free the value of a unique key.
    fn has_pending(&self, index: usize, outcomes: &[Outcome]) -> bool {
        let left = &self.changes[self.done..];
        let Some(key) = left.get(index).map(|change| &change.partition_key) else { return false };
        let is_open = |at: usize| !matches!(outcomes.get(at), Some(Outcome::Rejected { .. }));
        let mut here = left.iter().enumerate().filter(|(_, change)| change.partition_key == *key);
        here.any(|(at, _)| is_open(at)) || self.batch.has_others(key)
    }
}

impl Attempt for Offer<'_> {
    type Done = BatchEnd;

    async fn attempt(&mut self) -> Step<BatchEnd> {
        match self.offer().await {
            Some(answer) => self.next_step(answer),
            None => Step::Cancelled,
        }
    }

    async fn pause(&mut self, pause: Duration) -> Option<()> {
        let pause = async {
            tokio::select! {
                biased;
                () = tokio::time::sleep(pause) => Some(()),
                () = self.stop.is_over(), if self.is_busy => None,
                // A sink that fails or is unreachable would hold the stop up for nothing.
                () = self.stop.stopped.cancelled(), if !self.is_busy => None,
            }
        };
        self.delivery.meter.time_spent.during(WriteActivity::Refused, pause).await
    }
}

fn operation((change, bytes): (&Change, &usize)) -> Operation {
    let kind = match change.operation {
        cosmos_bridge_sink::Operation::Upsert { .. } => Kind::Write,
        cosmos_bridge_sink::Operation::Delete { .. } => Kind::Delete,
    };
    Operation { kind, bytes: *bytes }
}

/// What the governor has to know of an attempt. `repeat` is how to go on where changes wait.
fn settlement(written: &Written, repeat: Option<Repeat>) -> Settlement {
    let is_delivered = |outcome: &&Outcome| **outcome == Outcome::Delivered;
    let documents = written.outcomes.iter().filter(is_delivered).count();
    let verdict = match repeat {
        Some(repeat) => repeat.verdict,
        // The others are dead letters, which say nothing about the service.
        None if documents > 0 => Verdict::Done,
        None => Verdict::Other,
    };
    Settlement { charge: written.charge, documents, throttled: written.throttled, verdict }
}
