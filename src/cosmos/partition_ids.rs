//! Numbers the physical partitions of a container.

use parking_lot::Mutex;

use std::collections::BTreeMap;

use crate::model::{FeedRange, PartitionId};

/// The numbers of one container's partitions, assigned in the order of first use, from 1.
#[derive(Default)]
pub(super) struct PartitionIds(Mutex<BTreeMap<FeedRange, PartitionId>>);

impl PartitionIds {
    /// The number of a range. Both bounds count: the first part of a split has the lower bound of
    /// the whole.
    pub(super) fn of(&self, range: &FeedRange) -> PartitionId {
        let range = FeedRange { min: canonical(&range.min), max: canonical(&range.max) };
        let mut ids = self.0.lock();
        let next = u32::try_from(ids.len() + 1).map_or(PartitionId::UNKNOWN, PartitionId);
        *ids.entry(range).or_insert(next)
    }
}

/// Removes zero bytes at the end of a bound. They have no meaning, and not every API writes them.
fn canonical(bound: &str) -> String {
    let mut bound = bound;
    while let Some(shorter) = bound.strip_suffix("00").filter(|b| b.len().is_multiple_of(2)) {
        bound = shorter;
    }
    bound.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::PartitionIds;
    use crate::model::{FeedRange, PartitionId};

    fn range(min: &str, max: &str) -> FeedRange {
        FeedRange { min: min.to_owned(), max: max.to_owned() }
    }

    #[test]
    fn a_range_keeps_its_number_and_its_parts_get_new_ones() {
        let ids = PartitionIds::default();
        for (range, expected) in [
            (range("", "FF"), 1),
            (range("", "80"), 2),
            (range("80", "FF"), 3),
            (range("8000", "FF"), 3),
            (range("", "ff"), 1),
            (range("800", "FF"), 4), // No whole bytes: not the same bound.
        ] {
            assert_eq!(ids.of(&range), PartitionId(expected), "{range}");
        }
    }
}
