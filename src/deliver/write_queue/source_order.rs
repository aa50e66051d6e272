//! The order of the changes of one source document, which a route may send to several documents of
//! the target.

use std::collections::hash_map::Entry;

use cosmos_bridge_sink::PartitionKey;
use foldhash::{HashMap, HashSet};

/// The changes that are not finished, and the groups that wait for one of another group.
#[derive(Debug, Default)]
pub(super) struct SourceOrder {
    /// By hash of the source document, in the order of the feed.
    unfinished: HashMap<u64, Unfinished>,
    waiting: HashMap<u64, Vec<PartitionKey>>,
    next: u64,
}

/// The changes of one source document that are not finished. Most documents have one.
#[derive(Debug)]
struct Unfinished {
    first: u64,
    later: Vec<u64>,
}

impl SourceOrder {
    /// Adds a change of a source document; returns its number.
    pub(super) fn push(&mut self, source: u64) -> u64 {
        let number = self.next;
        self.next += 1;
        match self.unfinished.entry(source) {
            Entry::Occupied(mut entry) => entry.get_mut().later.push(number),
            Entry::Vacant(entry) => {
                entry.insert(Unfinished { first: number, later: Vec::new() });
            }
        }
        number
    }

    /// True if each earlier change of the source document is finished, or `taken` into the same batch.
    pub(super) fn is_next(&self, source: u64, number: u64, taken: &HashSet<u64>) -> bool {
        let Some(Unfinished { first, later }) = self.unfinished.get(&source) else { return true };
        let unfinished = std::iter::once(first).chain(later);
        unfinished.take_while(|earlier| **earlier != number).all(|earlier| taken.contains(earlier))
    }

    /// Records that the first change of a group waits for an earlier change of its source document.
    pub(super) fn wait(&mut self, source: u64, group: &PartitionKey) {
        let waiting = self.waiting.entry(source).or_default();
        if !waiting.contains(group) {
            waiting.push(group.clone());
        }
    }

    /// Removes a change that is finished. Returns the groups that may go on.
    pub(super) fn finish(&mut self, source: u64, number: u64) -> Vec<PartitionKey> {
        if let Entry::Occupied(mut entry) = self.unfinished.entry(source) {
            let Unfinished { first, later } = entry.get_mut();
            if *first != number {
                later.retain(|other| *other != number);
            } else if later.is_empty() {
                entry.remove();
            } else {
                *first = later.remove(0);
            }
        }
        self.waiting.remove(&source).unwrap_or_default()
    }
}
