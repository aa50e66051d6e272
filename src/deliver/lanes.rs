//! Which changes may be written now.
//!
//! Changes of different documents go side by side, changes of one document one after the other.
//! Changes that may share a write are offered together: those of one target partition key where that
//! makes a transactional batch, any where the sink does not care.

use std::collections::btree_map;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::ops::Bound;

use cosmos_bridge_sink::{Change, Grouping, Limits, PartitionKey};

use crate::model::PartitionId;

/// Changes to be written together, and the pages they came from.
#[derive(Debug)]
pub struct Unit {
    pub changes: Vec<Change>,
    /// The page of each change.
    pub pages: Vec<u64>,
    /// About how many bytes each change takes as text.
    pub bytes: Vec<usize>,
    /// The target's physical partition that all of them go to.
    pub partition: PartitionId,
}

/// A change and where it goes.
#[derive(Debug)]
pub struct Placed {
    /// The target's physical partition.
    pub partition: PartitionId,
    /// About how many bytes the change takes as text.
    pub bytes: usize,
    pub change: Change,
}

/// The changes of one feed range that wait for one sink, in the order they were read.
#[derive(Debug)]
pub struct Lanes {
    grouping: Grouping,
    /// By what its changes share; one of no key at all where anything may be written together.
    groups: HashMap<PartitionKey, Group>,
    /// By physical partition, so that one that is slow holds up nobody else.
    partitions: BTreeMap<PartitionId, Ready>,
    /// The partition that was served last.
    last: PartitionId,
    queued: usize,
    in_flight: usize,
}

#[derive(Debug, Default)]
struct Ready {
    /// Groups whose first change may be written now; each at most once.
    groups: VecDeque<PartitionKey>,
    /// Units being written.
    units: usize,
}

#[derive(Debug, Default)]
struct Group {
    queue: VecDeque<Queued>,
    /// Where the last change is known to go.
    partition: PartitionId,
    /// Hashes of the documents being written, of target and source. Two with one hash wait for each
    /// other needlessly, and that is all.
    busy: HashSet<u64>,
    is_ready: bool,
}

#[derive(Debug)]
struct Queued {
    page: u64,
    bytes: usize,
    document: Document,
    change: Change,
}

/// Hashes of whose changes go one after the other: the target's document, and that of the source. An
/// event's key and id may be taken from a field that changes, or be those of many documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Document {
    target: u64,
    source: u64,
}

impl Lanes {
    pub fn new(grouping: Grouping) -> Self {
        Self {
            grouping,
            groups: HashMap::new(),
            partitions: BTreeMap::new(),
            last: PartitionId::default(),
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
        let target = hash(&change.partition_key, &change.id);
        let source = match self.grouping {
            // Upserts and deletes are of the target's document, whatever they were made of.
            Grouping::Key => target,
            // Mostly one and the same: to compare costs less than another hash.
            Grouping::Any if change.is_as_read() => target,
            Grouping::Any => hash(&change.origin.partition_key, &change.origin.id),
        };
        Document { target, source }
    }

    pub fn push(&mut self, page: u64, placed: Placed) {
        let Placed { partition, bytes, change } = placed;
        self.queued += 1;
        let (key, document) = (self.key(&change), self.document(&change));
        let group = match self.groups.entry(key.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Group::default()),
        };
        group.partition = partition;
        group.queue.push_back(Queued { page, bytes, document, change });
        if !group.is_ready && group.can_start() {
            group.is_ready = true;
            self.partitions.entry(partition).or_default().groups.push_back(key);
        }
    }

    /// The next unit, or `None` while nothing may be written. Partitions take turns, and each has
    /// at most `limits.concurrency` units under way.
    pub fn next_unit(&mut self, limits: Limits) -> Option<Unit> {
        let may_start =
            |ready: &Ready| !ready.groups.is_empty() && ready.units < limits.concurrency;
        let after = (Bound::Excluded(self.last), Bound::Unbounded);
        let mut candidates =
            self.partitions.range(after).chain(self.partitions.range(..=self.last));
        let partition = candidates.find(|(_, ready)| may_start(ready)).map(|(id, _)| *id)?;
        self.last = partition;
        let ready = self.partitions.get_mut(&partition)?;
        let key = ready.groups.pop_front()?;
        let group = self.groups.get_mut(&key)?;
        let unit = group.take(limits, partition);
        ready.units += 1;
        group.is_ready = group.can_start();
        if group.is_ready {
            self.partitions.entry(group.partition).or_default().groups.push_back(key);
        }
        self.queued -= unit.changes.len();
        self.in_flight += unit.changes.len();
        Some(unit)
    }

    /// Frees what a unit held. Its changes are delivered, or safely dead letters.
    pub fn finish(&mut self, unit: &Unit) {
        self.in_flight -= unit.changes.len();
        if let btree_map::Entry::Occupied(mut ready) = self.partitions.entry(unit.partition) {
            ready.get_mut().units -= 1;
            if ready.get().units == 0 && ready.get().groups.is_empty() {
                ready.remove();
            }
        }
        let Some(first) = unit.changes.first() else { return };
        let key = self.key(first);
        let documents: Vec<_> = unit.changes.iter().map(|change| self.document(change)).collect();
        let Some(group) = self.groups.get_mut(&key) else { return };
        for Document { target, source } in documents {
            group.busy.remove(&target);
            group.busy.remove(&source);
        }
        if group.queue.is_empty() && group.busy.is_empty() {
            self.groups.remove(&key);
        } else if !group.is_ready && group.can_start() {
            group.is_ready = true;
            self.partitions.entry(group.partition).or_default().groups.push_back(key);
        }
    }

    /// Nothing waits and nothing is being written.
    pub fn is_idle(&self) -> bool {
        self.queued == 0 && self.in_flight == 0
    }
}

impl Group {
    fn can_start(&self) -> bool {
        self.queue.front().is_some_and(|next| !self.is_busy(next.document))
    }

    fn is_busy(&self, Document { target, source }: Document) -> bool {
        self.busy.contains(&target) || self.busy.contains(&source)
    }

    /// Changes from the front, up to the limits and to the first whose document is being written, or
    /// that shares only one of its two documents with another here: sinks look at the target's.
    fn take(&mut self, limits: Limits, partition: PartitionId) -> Unit {
        let (changes, pages) = (Vec::new(), Vec::new());
        let mut unit = Unit { changes, pages, bytes: Vec::new(), partition };
        let mut bytes = 0;
        let (mut taken, mut hashes) = (HashSet::new(), HashSet::new());
        while let Some(next) = self.queue.front() {
            let document @ Document { target, source } = next.document;
            bytes += next.bytes;
            let full = unit.changes.len() == limits.changes || bytes > limits.bytes;
            let is_new = taken.insert(document);
            let is_mixed = is_new && (hashes.contains(&target) || hashes.contains(&source));
            if self.is_busy(document) || is_mixed || (full && !unit.changes.is_empty()) {
                break;
            }
            hashes.extend([target, source]);
            let Some(next) = self.queue.pop_front() else { break };
            unit.changes.push(next.change);
            unit.pages.push(next.page);
            unit.bytes.push(next.bytes);
        }
        self.busy.extend(hashes);
        unit
    }
}

fn hash(key: &PartitionKey, id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, id).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
