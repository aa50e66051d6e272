//! Which changes may be written now.
//!
//! Changes of different documents go side by side, changes of one document one after the other.
//! Changes that may share a write are offered together: those of one target partition key where that
//! makes a transactional batch, those of one physical partition where that makes a request, any where the
//! sink does not care.

use std::collections::btree_map;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use cosmos_bridge_sink::{Change, Grouping, KeyValue, Limits, PartitionKey};
use foldhash::HashMap;
use foldhash::quality::RandomState;

use self::group::{Document, Group, Queued};
use self::homes::Homes;
use self::pending::Pending;
use self::source_order::SourceOrder;
use crate::model::PartitionId;

mod group;
mod homes;
mod pending;
mod source_order;

/// How many batches of a partition may wait because of one of their changes, without being counted as under
/// way. Otherwise the changes that an endpoint always fails for would take all places of the others. More would
/// be a storm of requests where all of them fail.
const STUCK_MAX: usize = 100;

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
    /// The unfinished changes of each partition key, these included.
    pub(super) pending: Arc<Pending>,
    pub(super) slot: Slot,
}

/// The place of a batch among those of its partition.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// True if the batch waits because of one of its changes.
    is_stuck: AtomicBool,
    /// The batches of the partition that do.
    stuck: Arc<AtomicUsize>,
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
    /// By the key that its changes share, or the number of their partition; one group without a key where any
    /// changes may be written together.
    groups: HashMap<PartitionKey, Group>,
    hash: RandomState,
    /// By physical partition, so that a slow partition does not hold up the others.
    partitions: BTreeMap<PartitionId, Ready>,
    /// The partition of the last batch.
    last: PartitionId,
    sources: SourceOrder,
    homes: Homes,
    /// Not counted where any changes go together: the targets of events have no conflicts.
    pending: Arc<Pending>,
    next_sequence: u64,
    queued: usize,
    in_flight: usize,
}

#[derive(Debug, Default)]
struct Ready {
    /// Groups whose first change may be written now; each at most once.
    groups: VecDeque<PartitionKey>,
    /// Batches that are not finished, and how many of them are stuck.
    batches: usize,
    stuck: Arc<AtomicUsize>,
}

impl Ready {
    fn may_start(&self, limits: Limits) -> bool {
        let stuck = self.stuck.load(Relaxed).min(STUCK_MAX);
        !self.groups.is_empty() && self.batches - stuck < limits.concurrency
    }
}

impl WriteBatch {
    /// True if other batches have changes of a partition key that are not finished.
    pub(super) fn has_others(&self, key: &PartitionKey) -> bool {
        let here = self.changes.iter().filter(|change| change.partition_key == *key);
        self.pending.of(key) > here.count()
    }

    /// A change of the batch failed for a reason that affects no other. From now on the batch takes no place
    /// of another one.
    pub(super) fn note_stuck(&self) {
        if !self.slot.is_stuck.swap(true, Relaxed) {
            self.slot.stuck.fetch_add(1, Relaxed);
        }
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
            homes: Homes::default(),
            pending: Arc::default(),
            next_sequence: 0,
            queued: 0,
            in_flight: 0,
        }
    }

    fn key(&self, change: &Change, partition: PartitionId) -> PartitionKey {
        match self.grouping {
            Grouping::Key => change.partition_key.clone(),
            Grouping::Partition => PartitionKey(vec![KeyValue::Number(partition.0.into())]),
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
        let document = self.document(&change);
        let partition = match self.grouping {
            Grouping::Partition => self.homes.enter(document.target, partition),
            Grouping::Key | Grouping::Any => partition,
        };
        if self.grouping != Grouping::Any {
            self.pending.enter(&change.partition_key);
        }
        let key = self.key(&change, partition);
        let number = self.sources.push(document.source);
        let group = match self.groups.entry(key.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Group::default()),
        };
        group.partition = partition;
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        group.push(Queued { sequence, page, number, bytes, document, change });
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
        let after = (Bound::Excluded(self.last), Bound::Unbounded);
        let mut candidates =
            self.partitions.range(after).chain(self.partitions.range(..=self.last));
        let partition = candidates.find(|(_, ready)| ready.may_start(limits)).map(|(id, _)| *id)?;
        self.last = partition;
        let ready = self.partitions.get_mut(&partition)?;
        let key = ready.groups.pop_front()?;
        let group = self.groups.get_mut(&key)?;
        let taken = group.take(&key, limits, &mut self.sources).changes;
        let mut batch = WriteBatch {
            changes: Vec::with_capacity(taken.len()),
            pages: Vec::with_capacity(taken.len()),
            bytes: Vec::with_capacity(taken.len()),
            partition,
            documents: Vec::with_capacity(taken.len()),
            pending: Arc::clone(&self.pending),
            slot: Slot { is_stuck: AtomicBool::new(false), stuck: Arc::clone(&ready.stuck) },
        };
        for Queued { page, number, bytes, document, change, .. } in taken {
            batch.documents.push((document, number));
            batch.changes.push(change);
            batch.pages.push(page);
            batch.bytes.push(bytes);
        }
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
        if batch.slot.is_stuck.load(Relaxed) {
            batch.slot.stuck.fetch_sub(1, Relaxed);
        }
        if let btree_map::Entry::Occupied(mut ready) = self.partitions.entry(batch.partition) {
            ready.get_mut().batches -= 1;
            if ready.get().batches == 0 && ready.get().groups.is_empty() {
                ready.remove();
            }
        }
        let Some(first) = batch.changes.first() else { return };
        let key = self.key(first, batch.partition);
        if self.grouping == Grouping::Partition {
            batch.documents.iter().for_each(|(document, _)| self.homes.leave(document.target));
        }
        if self.grouping != Grouping::Any {
            batch.changes.iter().for_each(|change| self.pending.leave(&change.partition_key));
        }
        let mut others = Vec::new();
        if let Some(group) = self.groups.get_mut(&key) {
            for (document, number) in &batch.documents {
                group.finish(*document);
                let groups = self.sources.finish(document.source, *number);
                others.extend(groups.into_iter().map(|group| (document.source, group)));
            }
            if group.is_empty() {
                self.groups.remove(&key);
            }
        }
        self.start_group(&key);
        for (source, other) in others {
            if let Some(group) = self.groups.get_mut(&other) {
                group.release(source);
            }
            self.start_group(&other);
        }
    }

    /// Nothing waits and nothing is being written.
    pub fn is_idle(&self) -> bool {
        self.queued == 0 && self.in_flight == 0
    }
}

#[cfg(test)]
mod tests;
