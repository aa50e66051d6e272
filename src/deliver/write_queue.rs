//! Which changes may be written now.
//!
//! Changes of different documents go side by side, changes of one document one after the other.
//! Changes that may share a write are offered together: those of one target partition key where that
//! makes a transactional batch, any where the sink does not care.

use std::collections::btree_map;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use cosmos_bridge_sink::{Change, Grouping, Limits, PartitionKey};
use foldhash::quality::RandomState;
use foldhash::{HashMap, HashSet};

use self::source_order::SourceOrder;
use crate::model::PartitionId;

mod source_order;

/// Changes to be written together, and the pages that they came from.
#[derive(Debug)]
pub struct WriteBatch {
    pub changes: Vec<Change>,
    /// The page of each change.
    pub pages: Vec<u64>,
    /// About how many bytes each change takes as text.
    pub bytes: Vec<usize>,
    /// The target's physical partition that all of them go to.
    pub partition: PartitionId,
    /// The document of each change, and the number of the change among those of its source document.
    pub(super) documents: Vec<(Document, u64)>,
    /// The unfinished changes of the group, these included.
    pub(super) group_size: Arc<AtomicUsize>,
}

/// A change and where it goes.
#[derive(Debug)]
pub struct AddressedChange {
    /// The target's physical partition.
    pub partition: PartitionId,
    /// About how many bytes the change takes as text.
    pub bytes: usize,
    pub change: Change,
}

/// The changes of one feed range that wait for one sink, in the order they were read.
#[derive(Debug)]
pub struct WriteQueue {
    grouping: Grouping,
    /// By the key that its changes share; one group without a key where any changes may be written together.
    groups: HashMap<PartitionKey, Group>,
    hash: RandomState,
    /// By physical partition, so that a slow partition does not hold up the others.
    partitions: BTreeMap<PartitionId, Ready>,
    /// The partition of the last batch.
    last: PartitionId,
    sources: SourceOrder,
    queued: usize,
    in_flight: usize,
}

#[derive(Debug, Default)]
struct Ready {
    /// Groups whose first change may be written now; each at most once.
    groups: VecDeque<PartitionKey>,
    /// Units being written.
    batches: usize,
}

#[derive(Debug, Default)]
struct Group {
    queue: VecDeque<Queued>,
    /// Where the last change is known to go.
    partition: PartitionId,
    /// Hashes of the documents being written, of target and source. A collision only makes a change
    /// wait without need.
    busy: HashSet<u64>,
    is_ready: bool,
    /// Changes that wait or are being written.
    size: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Queued {
    page: u64,
    /// Among the changes of its source document.
    number: u64,
    bytes: usize,
    document: Document,
    change: Change,
}

/// Hashes of the documents whose changes go one after the other: the target's and the source's. An
/// event's key and id may come from a field that changes, or be shared by many documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Document {
    target: u64,
    source: u64,
}

impl WriteBatch {
    /// True if changes of other batches of the same group are not finished.
    pub(super) fn has_others(&self) -> bool {
        self.group_size.load(Relaxed) > self.changes.len()
    }
}

impl WriteQueue {
    pub fn new(grouping: Grouping) -> Self {
        Self {
            grouping,
            groups: HashMap::default(),
            hash: RandomState::default(),
            partitions: BTreeMap::new(),
            last: PartitionId::default(),
            sources: SourceOrder::default(),
            queued: 0,
            in_flight: 0,
        }
    }

    fn key(&self, change: &Change) -> PartitionKey {
        match self.grouping {
            Grouping::Key => change.partition_key.clone(),
            Grouping::Any => PartitionKey::default(),
        }
    }

    fn document(&self, change: &Change) -> Document {
        let hash = |key: &PartitionKey, id: &str| self.hash.hash_one((key, id));
        let target = hash(&change.partition_key, &change.id);
        // The usual case: a comparison costs less than another hash.
        let source = if change.is_as_read() {
            target
        } else {
            hash(&change.origin.partition_key, &change.origin.id)
        };
        Document { target, source }
    }

    pub fn push(&mut self, page: u64, addressed: AddressedChange) {
        let AddressedChange { partition, bytes, change } = addressed;
        self.queued += 1;
        let (key, document) = (self.key(&change), self.document(&change));
        let number = self.sources.push(document.source);
        let group = match self.groups.entry(key.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Group::default()),
        };
        group.partition = partition;
        group.size.fetch_add(1, Relaxed);
        group.queue.push_back(Queued { page, number, bytes, document, change });
        self.start_group(&key);
    }

    /// Makes a group ready if its first change may be written.
    fn start_group(&mut self, key: &PartitionKey) {
        let Some(group) = self.groups.get_mut(key).filter(|group| !group.is_ready) else { return };
        group.is_ready = group.can_start(key, &mut self.sources);
        if group.is_ready {
            self.partitions.entry(group.partition).or_default().groups.push_back(key.clone());
        }
    }

    /// The next batch, or `None` while nothing may be written. Partitions take turns, and each has
    /// at most `limits.concurrency` batches under way.
    pub fn next_batch(&mut self, limits: Limits) -> Option<WriteBatch> {
        let may_start =
            |ready: &Ready| !ready.groups.is_empty() && ready.batches < limits.concurrency;
        let after = (Bound::Excluded(self.last), Bound::Unbounded);
        let mut candidates =
            self.partitions.range(after).chain(self.partitions.range(..=self.last));
        let partition = candidates.find(|(_, ready)| may_start(ready)).map(|(id, _)| *id)?;
        self.last = partition;
        let ready = self.partitions.get_mut(&partition)?;
        let key = ready.groups.pop_front()?;
        let group = self.groups.get_mut(&key)?;
        let batch = group.take(limits, partition, &self.sources);
        ready.batches += 1;
        group.is_ready = false;
        self.start_group(&key);
        self.queued -= batch.changes.len();
        self.in_flight += batch.changes.len();
        Some(batch)
    }

    /// Frees what a batch held. Its changes are delivered, or safely dead letters.
    pub fn finish(&mut self, batch: &WriteBatch) {
        self.in_flight -= batch.changes.len();
        if let btree_map::Entry::Occupied(mut ready) = self.partitions.entry(batch.partition) {
            ready.get_mut().batches -= 1;
            if ready.get().batches == 0 && ready.get().groups.is_empty() {
                ready.remove();
            }
        }
        let Some(first) = batch.changes.first() else { return };
        let key = self.key(first);
        let mut others = Vec::new();
        if let Some(group) = self.groups.get_mut(&key) {
            group.size.fetch_sub(batch.changes.len(), Relaxed);
            for (Document { target, source }, number) in &batch.documents {
                group.busy.remove(target);
                group.busy.remove(source);
                others.extend(self.sources.finish(*source, *number));
            }
            if group.queue.is_empty() && group.busy.is_empty() {
                self.groups.remove(&key);
            }
        }
        self.start_group(&key);
        for other in others {
            self.start_group(&other);
        }
    }

    /// Nothing waits and nothing is being written.
    pub fn is_idle(&self) -> bool {
        self.queued == 0 && self.in_flight == 0
    }
}

impl Group {
    /// True if the first change may be written now. If it waits for a change of its source document in
    /// another group, the end of that change starts this group.
    fn can_start(&self, key: &PartitionKey, sources: &mut SourceOrder) -> bool {
        let Some(next) = self.queue.front() else { return false };
        let source = next.document.source;
        let is_next = sources.is_next(source, next.number, &HashSet::default());
        if !is_next {
            sources.wait(source, key);
        }
        is_next && !self.is_busy(next.document)
    }

    fn is_busy(&self, Document { target, source }: Document) -> bool {
        self.busy.contains(&target) || self.busy.contains(&source)
    }

    /// Changes from the front, up to the limits and to the first whose document is being written, or
    /// that shares only one of its two documents with another here: sinks look at the target's.
    fn take(
        &mut self,
        limits: Limits,
        partition: PartitionId,
        sources: &SourceOrder,
    ) -> WriteBatch {
        let (changes, pages, documents) = (Vec::new(), Vec::new(), Vec::new());
        let (bytes, group_size) = (Vec::new(), Arc::clone(&self.size));
        let mut batch = WriteBatch { changes, pages, bytes, partition, documents, group_size };
        let mut bytes = 0;
        let (mut taken, mut hashes) = (HashSet::default(), HashSet::default());
        let mut numbers = HashSet::default();
        while let Some(next) = self.queue.front() {
            let document @ Document { target, source } = next.document;
            bytes += next.bytes;
            let full = batch.changes.len() == limits.changes || bytes > limits.bytes;
            let is_new = taken.insert(document);
            let is_mixed = is_new && (hashes.contains(&target) || hashes.contains(&source));
            let is_next = sources.is_next(source, next.number, &numbers);
            let is_full = full && !batch.changes.is_empty();
            if self.is_busy(document) || is_mixed || !is_next || is_full {
                break;
            }
            hashes.extend([target, source]);
            let Some(next) = self.queue.pop_front() else { break };
            numbers.insert(next.number);
            batch.documents.push((document, next.number));
            batch.changes.push(next.change);
            batch.pages.push(next.page);
            batch.bytes.push(next.bytes);
        }
        self.busy.extend(hashes);
        batch
    }
}

#[cfg(test)]
mod tests;
