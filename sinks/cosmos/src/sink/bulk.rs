//! Changes of different documents that share requests, each written as it would be alone.
//!
//! Every document follows the same steps as alone ([`CosmosSink::write_alone`]), at the same time as the
//! others. Where one would send a write it waits, and when no other can join it, their writes are sent
//! together.

use std::collections::HashMap;
use std::future::poll_fn;
use std::task::Poll;

use cosmos_bridge_sink::{Answers, Cause, Change, Outcome, PartitionKey};
use futures::StreamExt as _;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;

use super::round::{Round, Waiting};
use super::{CosmosSink, removes_copies};
use crate::Answer;
use crate::document_hash::{DocumentHash, by_document};
use crate::history::{Known, OldCopy};
use crate::result::{PointResult, count, settle};

/// What became of the changes of one document, and what that cost.
type Written = (Vec<(usize, PointResult)>, Answers<'static>);

/// What happens next.
enum Next<'c> {
    Finished(Written),
    Request(Vec<Waiting<'c>>),
    Answered(Answers<'static>),
}

impl CosmosSink {
    /// Gives every change its outcome. What is deferred, rejected or repeated for one document does not
    /// touch the others.
    pub(super) async fn write_in_bulk(
        &self,
        changes: &[Change],
        old_copies: &[Vec<OldCopy>],
        answers: &mut Answers<'_>,
    ) {
        let by_document = by_document(changes);
        let firsts = by_document.iter().filter_map(|indexes| changes.get(*indexes.first()?));
        let round = Round::new(&self.alone, self.read_before_bulk(firsts, answers).await);
        let parts = parts(changes, old_copies, by_document);
        let mut documents: FuturesUnordered<_> = parts
            .into_iter()
            .map(|part| Box::pin(self.write_part(part, changes, old_copies, &round)))
            .collect();
        let mut requests: FuturesUnordered<BoxFuture<'_, _>> = FuturesUnordered::new();
        while !documents.is_empty() {
            let next = poll_fn(|context| {
                if let Poll::Ready(Some(written)) = documents.poll_next_unpin(context) {
                    return Poll::Ready(Next::Finished(written));
                }
                if let Some(waiting) = round.take_full(documents.len()) {
                    return Poll::Ready(Next::Request(waiting));
                }
                let answered = requests.poll_next_unpin(context);
                match answered {
                    Poll::Ready(Some(counted)) => Poll::Ready(Next::Answered(counted)),
                    Poll::Ready(None) | Poll::Pending => Poll::Pending,
                }
            });
            match next.await {
                Next::Finished((results, counted)) => {
                    answers.add_counts(&counted);
                    for (index, result) in results {
                        settle(answers, index, result);
                    }
                }
                Next::Request(waiting) => requests.push(Box::pin(self.send_together(waiting))),
                Next::Answered(counted) => answers.add_counts(&counted),
            }
        }
    }

    /// What the target has of documents that have to be read before they are written, with one request for
    /// each partition key. What cannot be read is left out, and read again alone.
    async fn read_before_bulk<'a>(
        &self,
        changes: impl Iterator<Item = &'a Change>,
        answers: &mut Answers<'_>,
    ) -> HashMap<DocumentHash, Known> {
        let expects_new = self.history.expects_new(1);
        let mut by_key: HashMap<&PartitionKey, Vec<&Change>> = HashMap::new();
        for change in changes.filter(|change| self.reads_before(change, expects_new)) {
            if self.history.known(DocumentHash::of(change)) == Known::Nothing {
                by_key.entry(&change.partition_key).or_default().push(change);
            }
        }
        // Documents with keys of their own are read when they are written, side by side.
        by_key.retain(|_, changes| changes.len() > 1);
        let read = by_key.into_values().map(|changes| async move {
            let mut counted = Answers::new(&[]);
            let permit = self.alone.acquire().await;
            let found = self.read_all(&changes, &mut counted).await;
            drop(permit);
            (found.unwrap_or_default(), counted)
        });
        let mut found = HashMap::new();
        for (documents, counted) in join_all(read).await {
            answers.add_counts(&counted);
            found.extend(documents);
        }
        found
    }

    async fn write_part<'c>(
        &'c self,
        part: Part,
        changes: &'c [Change],
        old_copies: &[Vec<OldCopy>],
        round: &Round<'c>,
    ) -> Written {
        match part {
            Part::Document(indexes) => {
                self.write_in_order(indexes, changes, old_copies, round).await
            }
            Part::Key(indexes) => round.alone(self.write_as_one(indexes, changes)).await,
        }
    }

    /// Writes changes of one partition key, of which some are of one document, as a transactional batch: in
    /// requests that each have one change of the document they would take as many round trips.
    async fn write_as_one(&self, indexes: Vec<usize>, changes: &[Change]) -> Written {
        let batch: Vec<_> = indexes.iter().map(|index| changes[*index].clone()).collect();
        let mut counted = Answers::new(&[]);
        let mut answers = Answers::new(&batch);
        if !self.write_as_batch(&batch, &mut answers).await {
            let old_copies: Vec<_> = batch.iter().map(|_| Vec::new()).collect();
            self.write_one_by_one(&batch, &old_copies, &mut answers).await;
        }
        counted.add_counts(&answers);
        let written = answers.finish();
        let wait = written.wait.unwrap_or(Cause::Fault.into());
        let results = written.outcomes.into_iter().enumerate().map(|(at, outcome)| match outcome {
            Outcome::Delivered if written.kept.contains(&at) => PointResult::Kept,
            Outcome::Delivered => PointResult::Done,
            Outcome::Rejected { reason } if written.conflicts.contains(&at) => {
                PointResult::Conflicting(reason)
            }
            Outcome::Rejected { reason } => PointResult::Refused(reason),
            Outcome::Deferred { reason } => PointResult::Failed(reason, wait),
        });
        (indexes.into_iter().zip(results).collect(), counted)
    }

    /// Writes the changes of one document one after the other, until one is not durable.
    async fn write_in_order<'c>(
        &'c self,
        indexes: Vec<usize>,
        changes: &'c [Change],
        old_copies: &[Vec<OldCopy>],
        round: &Round<'c>,
    ) -> Written {
        let mut counted = Answers::new(&[]);
        let mut results = Vec::with_capacity(indexes.len());
        for index in indexes {
            let (change, old_copies) = (&changes[index], &old_copies[index]);
            let result = self.write_alone(change, old_copies, Some(round), &mut counted).await;
            let goes_on = result.is_final();
            results.push((index, result));
            if !goes_on {
                break;
            }
        }
        (results, counted)
    }

    /// Returns what the requests have cost.
    async fn send_together(&self, waiting: Vec<Waiting<'_>>) -> Answers<'static> {
        let mut counted = Answers::new(&[]);
        if waiting.len() == 1 {
            // Dropped, so it is sent alone.
            return counted;
        }
        let (operations, senders): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.operation, waiting.answer)).unzip();
        let answered = self.container.bulk(operations).await;
        for request in &answered.requests {
            count(&mut counted, request);
        }
        let is_throttled = |answer: &Answer| answer.status == 429;
        if !answered.requests.iter().any(is_throttled)
            && answered.parts.iter().flatten().any(is_throttled)
        {
            counted.throttled();
        }
        let parts = answered.parts.into_iter().chain(std::iter::repeat(None));
        for (sender, part) in senders.into_iter().zip(parts) {
            // The document waits for it.
            drop(sender.send(part));
        }
        counted
    }
}

/// Changes of one write that are written in order, beside the others. Their indexes, in order.
enum Part {
    Document(Vec<usize>),
    /// Of one partition key.
    Key(Vec<usize>),
}

fn parts(
    changes: &[Change],
    old_copies: &[Vec<OldCopy>],
    by_document: Vec<Vec<usize>>,
) -> Vec<Part> {
    let keys = |indexes: &Vec<usize>| indexes.first().map(|first| &changes[*first].partition_key);
    let repeated = by_document.iter().filter(|indexes| indexes.len() > 1).filter_map(keys);
    // The changes of those keys that go into a transactional batch.
    let mut of_key: HashMap<&PartitionKey, Vec<usize>> =
        repeated.map(|key| (key, Vec::new())).collect();
    let is_plain = |indexes: &Vec<usize>| {
        let mut indexes = indexes.iter();
        indexes.all(|index| old_copies[*index].is_empty() && !removes_copies(&changes[*index]))
    };
    let mut parts = Vec::with_capacity(by_document.len());
    for indexes in by_document {
        let key = keys(&indexes).and_then(|key| of_key.get_mut(key));
        match key {
            Some(all) if is_plain(&indexes) => all.extend(indexes),
            _ => parts.push(Part::Document(indexes)),
        }
    }
    for mut indexes in of_key.into_values() {
        indexes.sort_unstable();
        match indexes.len() {
            0 => {}
            1 => parts.push(Part::Document(indexes)),
            _ => parts.push(Part::Key(indexes)),
        }
    }
    parts
}
