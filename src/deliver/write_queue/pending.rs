//! How many changes of each partition key are not finished.

use std::collections::hash_map::Entry;
use std::hash::BuildHasher;

use cosmos_bridge_sink::PartitionKey;
use foldhash::HashMap;
use foldhash::quality::RandomState;
use parking_lot::Mutex;

/// Counts of one write queue, which its batches ask.
#[derive(Debug, Default)]
pub(in crate::deliver) struct Pending {
    hash: RandomState,
    /// By the hash of the key. Two keys with one hash only make a conflict wait.
    keys: Mutex<HashMap<u64, usize>>,
}

impl Pending {
    pub(in crate::deliver) fn enter(&self, key: &PartitionKey) {
        *self.keys.lock().entry(self.hash.hash_one(key)).or_default() += 1;
    }

    /// A change of this key is finished.
    pub(super) fn leave(&self, key: &PartitionKey) {
        if let Entry::Occupied(mut changes) = self.keys.lock().entry(self.hash.hash_one(key)) {
            *changes.get_mut() -= 1;
            if *changes.get() == 0 {
                changes.remove();
            }
        }
    }

    pub(super) fn of(&self, key: &PartitionKey) -> usize {
        self.keys.lock().get(&self.hash.hash_one(key)).copied().unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn has_any(&self) -> bool {
        !self.keys.lock().is_empty()
    }
}
