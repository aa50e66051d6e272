//! What a replay did.

use std::collections::BTreeMap;

/// Distinct reasons; those of a target may name the document, so that each is another one.
const REASONS: usize = 20;
const OTHER: &str = "other reasons";

/// The letters of a replay, by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplaySummary {
    /// Written and removed.
    pub written: u64,
    /// Removed, because the source holds a newer version, or none.
    pub superseded: u64,
    /// Removed, because no route to the sink takes the change any more.
    pub filtered: u64,
    /// Still stored, by reason.
    pub kept: BTreeMap<String, u64>,
    /// Still stored, because the replay was stopped.
    pub not_reached: u64,
}

impl ReplaySummary {
    pub(super) fn keep(&mut self, reason: &str) {
        let is_known = self.kept.contains_key(reason) || self.kept.len() < REASONS;
        let reason = if is_known { reason } else { OTHER };
        *self.kept.entry(reason.to_owned()).or_default() += 1;
    }

    /// Letters that are still stored.
    pub fn left(&self) -> u64 {
        self.kept.values().sum::<u64>() + self.not_reached
    }

    /// Letters that were dealt with.
    pub fn done(&self) -> u64 {
        self.written + self.superseded + self.filtered + self.kept.values().sum::<u64>()
    }

    /// The sum of two replays.
    pub fn add(&mut self, other: Self) {
        self.written += other.written;
        self.superseded += other.superseded;
        self.filtered += other.filtered;
        self.not_reached += other.not_reached;
        for (reason, letters) in other.kept {
            *self.kept.entry(reason).or_default() += letters;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{REASONS, ReplaySummary};

    #[test]
    fn reasons_are_bounded_and_every_letter_is_counted() {
        let mut summary = ReplaySummary { written: 2, not_reached: 3, ..ReplaySummary::default() };
        for n in 0..100 {
            summary.keep(&format!("no room for {n}"));
        }
        assert_eq!(summary.kept.len(), REASONS + 1);
        assert_eq!((summary.left(), summary.done()), (103, 102));
        summary.add(summary.clone());
        assert_eq!((summary.left(), summary.done()), (206, 204));
    }
}
