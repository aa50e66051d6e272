//! Which physical partition the changes of a document are written with.

use std::collections::hash_map::Entry;

use foldhash::HashMap;

use crate::model::PartitionId;

/// The partitions of documents with unfinished changes, by the hash of the document. When a partition is divided,
/// the later changes of a document stay with its earlier ones, so that they go one after the other.
#[derive(Debug, Default)]
pub(super) struct Homes(HashMap<u64, (PartitionId, usize)>);

impl Homes {
    /// Adds a change that is known to go to `partition`; returns where it is written.
    pub(super) fn enter(&mut self, document: u64, partition: PartitionId) -> PartitionId {
        let (home, changes) = self.0.entry(document).or_insert((partition, 0));
        *changes += 1;
        *home
    }

    /// A change is finished.
    pub(super) fn leave(&mut self, document: u64) {
        if let Entry::Occupied(mut home) = self.0.entry(document) {
            home.get_mut().1 -= 1;
            if home.get().1 == 0 {
                home.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Homes;
    use crate::model::PartitionId;

    #[test]
    fn a_document_has_one_partition_until_all_its_changes_are_finished() {
        let mut homes = Homes::default();
        let [old, new] = [1, 2].map(PartitionId);
        assert_eq!(homes.enter(7, old), old);
        assert_eq!(homes.enter(7, new), old);
        assert_eq!(homes.enter(8, new), new);
        homes.leave(7);
        assert_eq!(homes.enter(7, new), old);
        homes.leave(7);
        homes.leave(7);
        assert_eq!(homes.enter(7, new), new);
        homes.leave(7);
        homes.leave(8);
        assert!(homes.0.is_empty());
        homes.leave(9);
    }
}
