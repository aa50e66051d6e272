//! A page on its way to one sink.

use std::sync::Arc;

use super::Slice;
use super::hold::{Hold, Spool, Spooled};
use crate::deliver::Placed;
use crate::state::DeadLetter;

/// A page for one sink.
pub(super) struct SinkPage {
    /// Where to resume once it is safe; `None` where the range was divided.
    pub(super) slice: Option<Slice>,
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
    slice: Option<Slice>,
    read: usize,
    pub(super) committed_at: Option<i64>,
    /// Changes and letters of this sink, and how many of them are safe.
    pub(super) changes: usize,
    safe: usize,
    /// Its own and those of pages behind it that had nothing for this sink.
    holds: Vec<Arc<Hold>>,
    whole: usize,
    spooled: Spooled,
}

/// Pages that are safe in the sink, and whose position is not stored yet.
pub(super) struct Passed {
    slice: Slice,
    pub(super) read: usize,
    changes: usize,
    holds: Vec<Arc<Hold>>,
}

/// A position on its way to the state.
pub(super) struct Checkpoint {
    pub(super) slice: Slice,
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
        let holds = vec![hold];
        let mark =
            Mark { slice, read, committed_at, changes: count, safe: 0, holds, whole, spooled };
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
        self.holds.append(&mut next.holds);
        true
    }

    /// It is wholly safe: its position can be stored, unless the range was divided there.
    pub(super) fn pass_to(self, passed: &mut Option<Passed>) {
        let Some(slice) = self.slice else { return };
        let none = || Passed { slice: slice.clone(), read: 0, changes: 0, holds: Vec::new() };
        let passed = passed.get_or_insert_with(none);
        passed.slice = slice;
        passed.read += self.read;
        passed.changes += self.changes;
        passed.holds.extend(self.holds);
    }

    /// So many more changes are safe; returns the bytes that this frees.
    pub(super) fn settle(&mut self, changes: usize) -> usize {
        self.safe += changes;
        // Pages behind it had nothing for this sink and hold nothing any more.
        if let Some(hold) = self.holds.first() {
            hold.settled(self.safe, self.changes, changes);
        }
        let before = self.spooled.bytes();
        let left = self.changes.saturating_sub(self.safe);
        self.spooled.keep(self.whole / self.changes.max(1) * left);
        before - self.spooled.bytes()
    }
}

impl From<Passed> for Checkpoint {
    fn from(Passed { slice, changes, holds, .. }: Passed) -> Self {
        Self { slice, changes, holds }
    }
}
