//! The order of the changes of one source document, which a route may send to several documents of
//! the target.

use std::collections::{HashMap, HashSet, VecDeque};

use cosmos_bridge_sink::PartitionKey;

/// The changes that are not finished, and the groups that wait for one of another group.
#[derive(Debug, Default)]
pub(super) struct SourceOrder {
    /// By hash of the source document, in the order of the feed.
    unfinished: HashMap<u64, VecDeque<u64>>,
    waiting: HashMap<u64, Vec<PartitionKey>>,
    next: u64,
}

impl SourceOrder {
    /// Adds a change of a source document; returns its number.
    pub(super) fn push(&mut self, source: u64) -> u64 {
        let number = self.next;
        self.next += 1;
        self.unfinished.entry(source).or_default().push_back(number);
        number
    }

    /// True if each earlier change of the source document is finished, or `taken` into the same batch.
    pub(super) fn is_next(&self, source: u64, number: u64, taken: &HashSet<u64>) -> bool {
        let unfinished = self.unfinished.get(&source).into_iter().flatten();
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
        if let Some(unfinished) = self.unfinished.get_mut(&source) {
            unfinished.retain(|other| *other != number);
            if unfinished.is_empty() {
                self.unfinished.remove(&source);
            }
        }
        self.waiting.remove(&source).unwrap_or_default()
    }
}
