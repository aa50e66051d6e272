//! Numbers the physical partitions of a container.

use parking_lot::Mutex;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{FeedRange, PartitionId};

/// The numbers of one container's partitions, assigned in the order of first use, from 1.
#[derive(Default)]
pub(super) struct PartitionIds(Mutex<State>);

#[derive(Default)]
struct State {
    ids: BTreeMap<FeedRange, PartitionId>,
    /// The ranges of the partitions as they were last read, in order.
    current: Vec<FeedRange>,
    /// Those of them that were asked for as a whole.
    whole: BTreeSet<FeedRange>,
}

impl PartitionIds {
    /// The ranges of the partitions are these now: ranges that a merge has put into one partition share its
    /// number from now on, as they share its throughput.
    pub(super) fn note(&self, current: &[FeedRange]) {
        let mut current: Vec<_> = current.iter().map(canonical_range).collect();
        current.sort();
        self.0.lock().current = current;
    }

    /// The number of the partition that a range is in, as far as it is known, or of a range that is spread
    /// over several. Both bounds count: the first part of a split has the lower bound of the whole.
    pub(super) fn of(&self, range: &FeedRange) -> PartitionId {
        let range = canonical_range(range);
        let mut state = self.0.lock();
        let after = state.current.partition_point(|current| current.min <= range.min);
        let whole = after.checked_sub(1).and_then(|at| state.current.get(at));
        let whole = whole.filter(|whole| range.max <= whole.max).cloned();
        if whole.as_ref() == Some(&range) {
            state.whole.insert(range.clone());
        }
        // What was whole before is divided now, and the parts are partitions of their own; they are not in
        // `current` before the ranges are read again.
        let whole = whole.filter(|whole| *whole == range || !state.whole.contains(whole));
        let next = u32::try_from(state.ids.len() + 1).map_or(PartitionId::UNKNOWN, PartitionId);
        *state.ids.entry(whole.unwrap_or(range)).or_insert(next)
    }
}

fn canonical_range(range: &FeedRange) -> FeedRange {
    FeedRange { min: canonical(&range.min), max: canonical(&range.max) }
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

    #[test]
    fn the_parts_of_a_split_have_numbers_of_their_own_before_the_ranges_are_read_again() {
        let ids = PartitionIds::default();
        let (lower, upper) = (range("", "80"), range("80", "FF"));
        ids.note(&[range("", "FF")]);
        assert_eq!(ids.of(&range("", "FF")), PartitionId(1));
        assert_eq!([ids.of(&lower), ids.of(&upper)], [PartitionId(2), PartitionId(3)]);
        ids.note(&[lower.clone(), upper.clone()]);
        assert_eq!([ids.of(&lower), ids.of(&upper)], [PartitionId(2), PartitionId(3)]);
        // A restart after a merge: the parts are read, the whole never was.
        let ids = PartitionIds::default();
        ids.note(&[range("", "FF")]);
        assert_eq!([ids.of(&lower), ids.of(&upper)], [PartitionId(1), PartitionId(1)]);
    }

    #[test]
    fn ranges_that_stand_in_one_partition_share_its_number() {
        let ids = PartitionIds::default();
        let quarters = [range("", "40"), range("40", "80"), range("80", "C0"), range("C0", "FF")];
        // The ranges of the partitions, and the numbers of the quarters and of the lower half.
        let table: [(Vec<FeedRange>, [u32; 4], u32); 6] = [
            (vec![], [1, 2, 3, 4], 5),
            (quarters.to_vec(), [1, 2, 3, 4], 5),
            // Two are merged, then all.
            (vec![range("", "8000"), range("80", "C0"), range("C0", "FF")], [5, 5, 3, 4], 5),
            (vec![range("", "FF")], [6, 6, 6, 6], 6),
            // A partition is divided at a place that is no bound of a feed range.
            (vec![range("", "60"), range("60", "FF")], [7, 2, 8, 8], 5),
            (quarters.to_vec(), [1, 2, 3, 4], 5),
        ];
        for (current, expected, half) in table {
            ids.note(&current);
            assert_eq!(
                quarters.each_ref().map(|quarter| ids.of(quarter).0),
                expected,
                "{current:?}"
            );
            assert_eq!(ids.of(&range("", "80")), PartitionId(half), "{current:?}");
        }
    }
}
