//! Which changes may be written now.
//!
//! Changes of different documents go side by side, changes of one document one after the other.
//! Changes that share a target partition key are offered together, because one transactional
//! batch then saves requests.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};

use cosmos_bridge_sink::{Change, Limits, Operation, PartitionKey, document_bytes};

/// Changes to be written together, and the pages they came from.
#[derive(Debug)]
pub struct Unit {
    pub changes: Vec<Change>,
    /// The page of each change.
    pub pages: Vec<u64>,
}

/// The changes of one feed range that wait for one sink, in the order they were read.
#[derive(Debug, Default)]
pub struct Lanes {
    groups: HashMap<PartitionKey, Group>,
    /// Groups whose first change may be written now; each at most once.
    ready: VecDeque<PartitionKey>,
    queued: usize,
    in_flight: usize,
}

#[derive(Debug, Default)]
struct Group {
    queue: VecDeque<(u64, Change)>,
    /// Hashes of the ids being written. Two ids with one hash wait for each other needlessly,
    /// and that is all.
    busy: HashSet<u64>,
    is_ready: bool,
}

impl Lanes {
    pub fn push(&mut self, page: u64, change: Change) {
        self.queued += 1;
        let key = change.partition_key.clone();
        let group = match self.groups.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Group::default()),
        };
        group.queue.push_back((page, change));
        if !group.is_ready && group.can_start() {
            group.is_ready = true;
            let key = &group.queue[0].1.partition_key;
            self.ready.push_back(key.clone());
        }
    }

    /// The next unit, or `None` while nothing may be written.
    pub fn next_unit(&mut self, limits: Limits) -> Option<Unit> {
        let key = self.ready.pop_front()?;
        let group = self.groups.get_mut(&key)?;
        let unit = group.take(limits);
        group.is_ready = group.can_start();
        if group.is_ready {
            self.ready.push_back(key);
        }
        self.queued -= unit.changes.len();
        self.in_flight += unit.changes.len();
        Some(unit)
    }

    /// Frees what a unit held. Its changes are delivered, or safely dead letters.
    pub fn finish(&mut self, unit: &Unit) {
        self.in_flight -= unit.changes.len();
        let Some(first) = unit.changes.first() else { return };
        let Some(group) = self.groups.get_mut(&first.partition_key) else { return };
        for change in &unit.changes {
            group.busy.remove(&hash(&change.id));
        }
        if group.queue.is_empty() && group.busy.is_empty() {
            self.groups.remove(&first.partition_key);
        } else if !group.is_ready && group.can_start() {
            group.is_ready = true;
            self.ready.push_back(first.partition_key.clone());
        }
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Nothing waits and nothing is being written.
    pub fn is_idle(&self) -> bool {
        self.queued == 0 && self.in_flight == 0
    }
}

impl Group {
    fn can_start(&self) -> bool {
        self.queue.front().is_some_and(|(_, change)| !self.busy.contains(&hash(&change.id)))
    }

    /// Changes from the front, up to the limits and to the first whose document is being written.
    fn take(&mut self, limits: Limits) -> Unit {
        let mut unit = Unit { changes: Vec::new(), pages: Vec::new() };
        let mut bytes = 0;
        let mut taken = HashSet::new();
        while let Some((_, change)) = self.queue.front() {
            let id = hash(&change.id);
            bytes += change_bytes(change);
            let full = unit.changes.len() == limits.changes || bytes > limits.bytes;
            if self.busy.contains(&id) || (full && !unit.changes.is_empty()) {
                break;
            }
            taken.insert(id);
            let Some((page, change)) = self.queue.pop_front() else { break };
            unit.changes.push(change);
            unit.pages.push(page);
        }
        self.busy.extend(taken);
        unit
    }
}

fn change_bytes(change: &Change) -> usize {
    match &change.operation {
        Operation::Upsert { document } => document_bytes(document),
        Operation::Delete { .. } => change.id.len(),
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
