//! Changes of different documents that share requests, each written as it would be alone.
//!
//! Every document follows the same steps as alone ([`CosmosSink::write_alone`]), at the same time as the
//! others. Where one would send a write it waits, and when all wait, their writes are sent together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::task::Poll;

use cosmos_bridge_sink::{Answers, Change};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::CosmosSink;
use super::round::{Round, Waiting};
use crate::Answer;
use crate::document_hash::DocumentHash;
use crate::history::OldCopy;
use crate::result::{PointResult, count, settle};

/// What became of the changes of one document, and what that cost.
type Written = (Vec<(usize, PointResult)>, Answers<'static>);

/// What happens next.
enum Next {
    Finished(Written),
    Request(Vec<Waiting>),
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
        let round = Round::default();
        let mut documents: FuturesUnordered<_> = by_document(changes)
            .into_iter()
            .map(|indexes| Box::pin(self.write_in_order(indexes, changes, old_copies, &round)))
            .collect();
        while !documents.is_empty() {
            let next = poll_fn(|context| {
                if let Poll::Ready(Some(written)) = documents.poll_next_unpin(context) {
                    return Poll::Ready(Next::Finished(written));
                }
                let full = round.take_full(documents.len());
                full.map_or(Poll::Pending, |waiting| Poll::Ready(Next::Request(waiting)))
            });
            match next.await {
                Next::Finished((results, counted)) => {
                    answers.add_counts(&counted);
                    for (index, result) in results {
                        settle(answers, index, result);
                    }
                }
                Next::Request(waiting) => self.send_together(waiting, answers).await,
            }
        }
    }

    /// Writes the changes of one document one after the other, until one is not durable.
    async fn write_in_order(
        &self,
        indexes: Vec<usize>,
        changes: &[Change],
        old_copies: &[Vec<OldCopy>],
        round: &Round,
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

    async fn send_together(&self, waiting: Vec<Waiting>, answers: &mut Answers<'_>) {
        if waiting.len() == 1 {
            // Dropped, so it is sent alone.
            return;
        }
        let (operations, senders): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.operation, waiting.answer)).unzip();
        let answered = self.container.bulk(operations).await;
        for request in &answered.requests {
            count(answers, request);
        }
        let is_throttled = |answer: &Answer| answer.status == 429;
        if !answered.requests.iter().any(is_throttled)
            && answered.parts.iter().flatten().any(is_throttled)
        {
            answers.throttled();
        }
        let parts = answered.parts.into_iter().chain(std::iter::repeat(None));
        for (sender, part) in senders.into_iter().zip(parts) {
            // The document waits for it.
            drop(sender.send(part));
        }
    }
}

/// The indexes of the changes of each document, in order.
fn by_document(changes: &[Change]) -> Vec<Vec<usize>> {
    let mut places: HashMap<DocumentHash, usize> = HashMap::new();
    let mut documents: Vec<Vec<usize>> = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        match places.entry(DocumentHash::of(change)) {
            Entry::Occupied(place) => documents[*place.get()].push(index),
            Entry::Vacant(place) => {
                place.insert(documents.len());
                documents.push(vec![index]);
            }
        }
    }
    documents
}
