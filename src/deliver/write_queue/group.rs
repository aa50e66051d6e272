//! The changes that may share a batch, and which of them have to wait for others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cosmos_bridge_sink::{Change, Limits, PartitionKey};
use foldhash::{HashMap, HashSet};

use super::source_order::SourceOrder;
use crate::model::PartitionId;

/// Hashes of the documents whose changes go one after the other: the target's and the source's. An
/// event's key and id may come from a field that changes, or be shared by many documents. A collision only
/// makes a change wait without need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::deliver) struct Document {
    pub(super) target: u64,
    pub(super) source: u64,
}

impl Document {
    fn hashes(self) -> [u64; 2] {
        [self.target, self.source]
    }
}

#[derive(Debug)]
pub(super) struct Queued {
    /// In the order of the feed.
    pub(super) sequence: u64,
    pub(super) page: u64,
    /// Among the changes of its source document.
    pub(super) number: u64,
    pub(super) bytes: usize,
    pub(super) document: Document,
    pub(super) change: Change,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    /// In the order of the feed. Whether a change has to wait is decided when it is the first.
    queue: VecDeque<Queued>,
    waiting: Waiting,
    /// Where the last change is known to go.
    pub(super) partition: PartitionId,
    /// Of the documents being written.
    busy: HashSet<u64>,
    pub(super) is_ready: bool,
}

/// How many changes go on together once a document is free: what a batch may take. All would be too many if
/// one document has thousands, because those that the batch does not take have to wait again.
const RELEASED_MAX: usize = 100;

/// Changes that wait for an earlier one. A document that cannot be written must not hold up the changes of
/// other documents behind it.
#[derive(Debug, Default)]
struct Waiting {
    /// By the hash of the document that has to be free, and their sequence numbers.
    changes: HashMap<u64, BTreeMap<u64, Queued>>,
    /// The sequence numbers of the waiting changes of each document.
    documents: HashMap<u64, BTreeSet<u64>>,
}

impl Waiting {
    fn add(&mut self, hash: u64, change: Queued) {
        for of in change.document.hashes() {
            self.documents.entry(of).or_default().insert(change.sequence);
        }
        self.changes.entry(hash).or_default().insert(change.sequence, change);
    }

    /// Takes out the earliest changes that wait for a document. The end of any of them releases the next.
    fn release(&mut self, hash: u64) -> Vec<Queued> {
        let mut released = Vec::new();
        if let Some(waiting) = self.changes.get_mut(&hash) {
            let earliest = std::iter::from_fn(|| waiting.pop_first());
            released.extend(earliest.take(RELEASED_MAX).map(|(_, change)| change));
            if waiting.is_empty() {
                self.changes.remove(&hash);
            }
        }
        for change in &released {
            for of in change.document.hashes() {
                if let Some(sequences) = self.documents.get_mut(&of) {
                    sequences.remove(&change.sequence);
                    if sequences.is_empty() {
                        self.documents.remove(&of);
                    }
                }
            }
        }
        released
    }

    /// True if an earlier change of the document waits.
    fn has_earlier(&self, hash: u64, sequence: u64) -> bool {
        let first = self.documents.get(&hash).and_then(BTreeSet::first);
        first.is_some_and(|first| *first < sequence)
    }
}

/// What a batch takes out of a group.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) changes: Vec<Queued>,
    /// The documents, as pairs and each for itself, and the numbers of the changes.
    documents: HashSet<Document>,
    hashes: HashSet<u64>,
    numbers: HashSet<u64>,
    bytes: usize,
}

impl Group {
    pub(super) fn push(&mut self, change: Queued) {
        self.queue.push_back(change);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.waiting.changes.is_empty() && self.busy.is_empty()
    }

    /// Lets the changes that wait for a document go on, in the order of the feed.
    pub(super) fn release(&mut self, hash: u64) {
        for change in self.waiting.release(hash) {
            let at = self.queue.partition_point(|queued| queued.sequence < change.sequence);
            self.queue.insert(at, change);
        }
    }

    /// A change of this document is finished.
    pub(super) fn finish(&mut self, document: Document) {
        for hash in document.hashes() {
            self.busy.remove(&hash);
        }
        for hash in document.hashes() {
            self.release(hash);
        }
    }

    /// True if a change may be written now: then it is the first.
    pub(super) fn can_start(&mut self, key: &PartitionKey, sources: &mut SourceOrder) -> bool {
        self.sort_out(key, sources, &Taken::default());
        !self.queue.is_empty()
    }

    /// Changes in the order of the feed, up to the limits. Left out are those that wait for another change, and
    /// those that share only one of their two documents with a change here: sinks look at the target's.
    pub(super) fn take(
        &mut self,
        key: &PartitionKey,
        limits: Limits,
        sources: &mut SourceOrder,
    ) -> Taken {
        let mut taken = Taken::default();
        loop {
            self.sort_out(key, sources, &taken);
            let Some(next) = self.queue.front() else { break };
            let is_full =
                taken.changes.len() == limits.changes || taken.bytes + next.bytes > limits.bytes;
            if is_full && !taken.changes.is_empty() {
                break;
            }
            let Some(next) = self.queue.pop_front() else { break };
            taken.bytes += next.bytes;
            taken.documents.insert(next.document);
            taken.hashes.extend(next.document.hashes());
            taken.numbers.insert(next.number);
            taken.changes.push(next);
        }
        self.busy.extend(&taken.hashes);
        taken
    }

    /// Lets changes wait until the first one may be written, in one batch with what was taken.
    fn sort_out(&mut self, key: &PartitionKey, sources: &mut SourceOrder, taken: &Taken) {
        while let Some(next) = self.queue.front() {
            let Some(hash) = self.obstacle(next, key, sources, taken) else { return };
            let Some(next) = self.queue.pop_front() else { return };
            self.waiting.add(hash, next);
        }
    }

    /// The document that has to be free before a change is written.
    fn obstacle(
        &self,
        next: &Queued,
        key: &PartitionKey,
        sources: &mut SourceOrder,
        taken: &Taken,
    ) -> Option<u64> {
        let Queued { document, sequence, number, .. } = next;
        let is_mixed = !taken.documents.contains(document);
        let is_busy = |hash: &u64| {
            self.busy.contains(hash)
                || (is_mixed && taken.hashes.contains(hash))
                || self.waiting.has_earlier(*hash, *sequence)
        };
        let busy = document.hashes().into_iter().find(is_busy);
        // An earlier change of its source document may be in another group, whose end starts this one.
        let source = document.source;
        if busy.is_none() && !sources.is_next(source, *number, &taken.numbers) {
            sources.wait(source, key);
            return Some(source);
        }
        busy
    }
}
