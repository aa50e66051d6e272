//! A page on its way to one sink.

use std::sync::Arc;

use super::hold::{Hold, Spool, Spooled};
use crate::deliver::Placed;
use crate::model::{DeadLetter, Position};

/// A page for one sink.
pub(super) struct SinkPage {
    /// Where to resume once it is safe; `None` where the range was divided.
    pub(super) slice: Option<Position>,
    /// Changes read, for whatever sink.
    pub(super) read: usize,
    pub(super) committed_at: Option<i64>,
    pub(super) changes: Vec<Placed>,
    pub(super) letters: Vec<DeadLetter>,
    /// Of memory; an estimate.
    pub(super) bytes: usize,
    /// It was read for this sink alone.
    pub(super) alone: bool,
    pub(super) hold: Arc<Hold>,
}

/// A page that waits for room in the window.
pub(super) struct Waiting {
    pub(super) mark: Mark,
    pub(super) changes: Vec<Placed>,
    pub(super) letters: Vec<DeadLetter>,
}

/// A page on its way.
pub(super) struct Mark {
    slice: Option<Position>,
    read: usize,
    pub(super) committed_at: Option<i64>,
    /// Changes and letters of this sink, and how many of them are safe.
    pub(super) changes: usize,
    safe: usize,
    hold: Arc<Hold>,
    /// Of pages behind it that had nothing for this sink.
    behind: Holds,
    whole: usize,
    spooled: Spooled,
}

/// What pages hold until their position is stored. A page that holds nothing any more is forgotten:
/// a sink may be away for months.
#[derive(Default)]
struct Holds {
    all: Vec<Arc<Hold>>,
    /// How many there were when those that hold nothing were forgotten last.
    left: usize,
}

impl Holds {
    fn extend(&mut self, more: impl IntoIterator<Item = Arc<Hold>>) {
        self.all.extend(more.into_iter().filter(|hold| hold.is_held()));
        // Each time that they have doubled: the others are looked at once on average.
        if self.all.len() > 2 * self.left.max(16) {
            self.all.retain(|hold| hold.is_held());
            self.left = self.all.len();
        }
    }
}

/// Pages that are safe in the sink, and whose position is not stored yet.
pub(super) struct Passed {
    slice: Position,
    pub(super) read: usize,
    changes: usize,
    holds: Holds,
}

/// A position on its way to the state.
pub(super) struct Checkpoint {
    pub(super) slice: Position,
    pub(super) changes: usize,
    pub(super) holds: Vec<Arc<Hold>>,
}

impl Waiting {
    pub(super) fn new(page: SinkPage, spool: &Arc<Spool>) -> Self {
        let SinkPage { slice, read, committed_at, changes, letters, bytes, alone, hold } = page;
        let count = changes.len() + letters.len();
        if count == 0 {
            hold.settled(0, 0, 0);
        }
        let spooled = spool.hold(if count == 0 { 0 } else { bytes }, alone);
        let whole = spooled.bytes();
        let mark = Mark {
            slice,
            read,
            committed_at,
            changes: count,
            safe: 0,
            hold,
            behind: Holds::default(),
            whole,
            spooled,
        };
        Self { mark, changes, letters }
    }
}

impl Mark {
    /// Bytes.
    pub(super) fn held(&self) -> usize {
        self.spooled.bytes()
    }

    /// Takes in the page behind it, if that has nothing for this sink: however long a sink is away,
    /// such pages take no room.
    pub(super) fn absorb(&mut self, next: &mut Self) -> bool {
        if next.changes > 0 || next.slice.is_none() || self.slice.is_none() {
            return false;
        }
        self.slice = next.slice.take();
        self.read += next.read;
        self.behind
            .extend(std::iter::once(Arc::clone(&next.hold)).chain(next.behind.all.drain(..)));
        true
    }

    /// It is wholly safe: its position can be stored, unless the range was divided there.
    pub(super) fn pass_to(self, passed: &mut Option<Passed>) {
        let Some(slice) = self.slice else { return };
        let none = || {
            let (slice, holds) = (slice.clone(), Holds::default());
            Passed { slice, read: 0, changes: 0, holds }
        };
        let passed = passed.get_or_insert_with(none);
        passed.slice = slice;
        passed.read += self.read;
        passed.changes += self.changes;
        passed.holds.extend(std::iter::once(self.hold).chain(self.behind.all));
    }

    /// Lets the reader that all sinks share go on, however long this sink keeps the page.
    pub(super) fn free_reader(&self) {
        if !self.spooled.alone {
            self.hold.passed_by();
        }
        self.behind.all.iter().for_each(|hold| hold.passed_by());
    }

    /// So many more changes are safe; returns the bytes that this frees.
    pub(super) fn settle(&mut self, changes: usize) -> usize {
        self.safe += changes;
        self.hold.settled(self.safe, self.changes, changes);
        let before = self.spooled.bytes();
        let left = self.changes.saturating_sub(self.safe);
        self.spooled.keep(self.whole / self.changes.max(1) * left);
        before - self.spooled.bytes()
    }
}

impl From<Passed> for Checkpoint {
    fn from(Passed { slice, changes, holds, .. }: Passed) -> Self {
        Self { slice, changes, holds: holds.all }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::super::hold::{Hold, Spool};
    use super::{SinkPage, Waiting};
    use crate::config::SlowSinks;
    use crate::model::{FeedRange, Position};
    use crate::observe::PipelineMeter;

    /// However long a sink is away, pages without a change for it take no room.
    #[test]
    fn pages_that_hold_nothing_are_forgotten() {
        let spool = Arc::new(Spool::new(1_000_000, PipelineMeter::new("orders").add_sink("ill")));
        let window = Arc::new(Semaphore::new(100));
        let waiting = |hold: Hold| {
            let slice = Position { range: FeedRange::whole(), etag: Some("1".to_owned()) };
            let page = SinkPage {
                slice: Some(slice),
                read: 1,
                committed_at: None,
                changes: Vec::new(),
                letters: Vec::new(),
                bytes: 0,
                alone: false,
                hold: Arc::new(hold),
            };
            Waiting::new(page, &spool)
        };
        let hold = |permits| {
            let permit = Arc::clone(&window).try_acquire_many_owned(permits).unwrap();
            Hold::new(SlowSinks::FallBehind, (permits > 0).then_some(permit), None, 0)
        };
        let mut first = waiting(hold(1)).mark;
        for n in 0..10_000 {
            // Another sink is done with every second one, a little later.
            let mut next = waiting(hold(n % 2));
            assert!(first.absorb(&mut next.mark));
            next.mark.hold.stored();
        }
        assert!(first.behind.all.len() < 100, "{}", first.behind.all.len());
        assert_eq!(window.available_permits(), 99);
        // What reading still waits for is kept.
        let mut next = waiting(hold(50));
        assert!(first.absorb(&mut next.mark));
        drop(next);
        assert_eq!(window.available_permits(), 49);
        first.free_reader();
        assert_eq!(window.available_permits(), 100);
    }
}
