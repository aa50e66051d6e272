//! The conservation ledger: what became of every change that was read for a sink.

use super::FeedRange;

/// What was read for one sink of one feed range, and what became of it. Everything that was read is filtered,
/// delivered, superseded, a dead letter or in flight; a change without one of these fates is lost.
///
/// The two sides are counted at different places: `read` is what the service says that its page holds, times the
/// routes to the sink; the others are counted where their fate is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Changes, once for each route to the sink; one that a route sends as a delete and an upsert counts twice.
    pub read: u64,
    /// Left out by a route or by `deletes`.
    pub filtered: u64,
    /// Written by the sink.
    pub delivered: u64,
    /// Not written: the target has a later version, or the sink already had the change.
    pub superseded: u64,
    /// Stored as dead letters.
    pub dead_letters: u64,
}

/// What became of one change that a sink was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    /// Not written because of what the target has.
    Superseded,
    DeadLetter,
}

/// The ledger of one sink of one feed range. Ranges that were divided are summed up under [`LedgerEntry::past`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    pub sink: String,
    pub range: FeedRange,
    pub ledger: Ledger,
}

impl Ledger {
    /// Changes that were read and have no fate: those in flight, and any that are lost. Negative if more came out
    /// than went in.
    pub fn open(&self) -> i64 {
        let Self { read, filtered, delivered, superseded, dead_letters } = *self;
        let closed = filtered + delivered + superseded + dead_letters;
        signed(read) - signed(closed)
    }

    pub fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Delivered => self.delivered += 1,
            Fate::Superseded => self.superseded += 1,
            Fate::DeadLetter => self.dead_letters += 1,
        }
    }

    pub fn add(&mut self, more: &Self) {
        self.read += more.read;
        self.filtered += more.filtered;
        self.delivered += more.delivered;
        self.superseded += more.superseded;
        self.dead_letters += more.dead_letters;
    }

    /// Takes back what is read again.
    pub fn remove(&mut self, less: &Self) {
        self.read = self.read.saturating_sub(less.read);
        self.filtered = self.filtered.saturating_sub(less.filtered);
        self.delivered = self.delivered.saturating_sub(less.delivered);
        self.superseded = self.superseded.saturating_sub(less.superseded);
        self.dead_letters = self.dead_letters.saturating_sub(less.dead_letters);
    }
}

impl LedgerEntry {
    /// The bounds of no feed range, for those that do not exist any more.
    pub fn past() -> FeedRange {
        FeedRange { min: String::new(), max: String::new() }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Ledger;

    #[test]
    fn what_is_open_is_what_was_read_and_has_no_fate() {
        let cases = [
            ([0, 0, 0, 0, 0], 0),
            ([9, 0, 0, 0, 0], 9),
            ([9, 1, 2, 3, 3], 0),
            ([9, 1, 2, 3, 2], 1),
            ([9, 1, 2, 3, 4], -1),
        ];
        for ([read, filtered, delivered, superseded, dead_letters], open) in cases {
            let ledger = Ledger { read, filtered, delivered, superseded, dead_letters };
            assert_eq!(ledger.open(), open, "{ledger:?}");
            let mut twice = ledger;
            twice.add(&ledger);
            assert_eq!(twice.open(), 2 * open, "{ledger:?}");
            twice.remove(&ledger);
            assert_eq!(twice, ledger);
        }
    }
}
