//! Pages of the shared reader, and what they hold of its room until they are safe.
//!
//! Counted numbers, no permits: what a page holds came with it from its reader, and goes back through
//! [`Effect::FreeReadRoom`](super::event::Effect::FreeReadRoom).

use std::collections::BTreeMap;

use crate::config::SlowSinks;

/// What a page holds of its reader's room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::source) struct ReadRoom {
    /// In units of [`READ_AHEAD_UNIT`](crate::source::sink_buffer::READ_AHEAD_UNIT) bytes.
    pub(in crate::source) memory: usize,
    /// Changes.
    pub(in crate::source) window: usize,
}

impl ReadRoom {
    pub(in crate::source) fn is_none(self) -> bool {
        self == Self::default()
    }

    pub(super) fn add(&mut self, more: Self) {
        self.memory += more.memory;
        self.window += more.window;
    }
}

/// Pages of the shared reader that still hold some of its room.
///
/// The sink that is first done with a page frees the page's room, so that the fastest sink sets the
/// pace of reading; with [`SlowSinks::HoldAll`] it is the last.
#[derive(Debug)]
pub(super) struct SharedPages {
    slow_sinks: SlowSinks,
    next: u64,
    /// By number. A page that holds nothing is not kept: a sink may be away for months.
    held: BTreeMap<u64, SharedPage>,
    /// Freed, and not handed back yet.
    freed: ReadRoom,
    /// Held in all.
    in_use: ReadRoom,
}

#[derive(Debug)]
struct SharedPage {
    /// Units at first, and how many of them are freed.
    memory: usize,
    freed: usize,
    window: usize,
    /// Changes, counted once for each sink, and how many of them are safe.
    changes: usize,
    safe: usize,
    /// Sinks that have not stored the page's position yet.
    holders: usize,
}

impl SharedPages {
    pub(super) fn new(slow_sinks: SlowSinks) -> Self {
        Self {
            slow_sinks,
            next: 0,
            held: BTreeMap::new(),
            freed: ReadRoom::default(),
            in_use: ReadRoom::default(),
        }
    }

    /// Adds a page with `changes`, counted once for each sink, that `holders` sinks get.
    pub(super) fn add(&mut self, room: ReadRoom, changes: usize, holders: usize) -> u64 {
        let number = self.next;
        self.next += 1;
        self.in_use.add(room);
        let ReadRoom { memory, window } = room;
        self.held
            .insert(number, SharedPage { memory, freed: 0, window, changes, safe: 0, holders });
        if holders == 0 {
            self.free_all(number);
        }
        number
    }

    /// One sink has `safe` of its `of` changes of a page, `more` of them since the last call. Memory is
    /// freed change by change: otherwise reading would wait for the last change of a page.
    pub(super) fn settled(&mut self, number: u64, safe: usize, of: usize, more: usize) {
        let Some(page) = self.held.get_mut(&number) else { return };
        page.safe += more;
        let (safe, of) = match self.slow_sinks {
            SlowSinks::FallBehind => (safe, of),
            SlowSinks::HoldAll => (page.safe, page.changes),
        };
        let free = if safe >= of { page.memory } else { page.memory * safe / of };
        let more = free.saturating_sub(page.freed);
        page.freed += more;
        self.free(number, ReadRoom { memory: more, window: 0 });
    }

    /// One sink has the page already, or another sink needs what comes after it: reading does not wait
    /// for this sink.
    pub(super) fn pass_by(&mut self, number: u64) {
        self.settled(number, 0, 0, 0);
        self.free_window(number);
    }

    pub(super) fn pass_by_all(&mut self, pages: &Runs) {
        for number in self.held_in(pages) {
            self.pass_by(number);
        }
    }

    /// One sink's position is stored after these pages.
    pub(super) fn stored(&mut self, pages: &Runs) {
        for number in self.held_in(pages) {
            self.free_window(number);
        }
        self.let_go(pages);
    }

    /// One sink will not store the positions of these pages: it forgets them.
    pub(super) fn let_go(&mut self, pages: &Runs) {
        for number in self.held_in(pages) {
            let Some(page) = self.held.get_mut(&number) else { continue };
            page.holders -= 1;
            if page.holders == 0 {
                self.free_all(number);
            }
        }
    }

    /// What was freed since the last call.
    pub(super) fn take_freed(&mut self) -> ReadRoom {
        std::mem::take(&mut self.freed)
    }

    /// Changes that pages of the shared reader hold of its window.
    pub(super) fn window_in_use(&self) -> usize {
        self.in_use.window
    }

    /// Pages that hold room.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.held.len()
    }

    #[cfg(test)]
    pub(super) fn in_use(&self) -> ReadRoom {
        self.in_use
    }

    fn free_window(&mut self, number: u64) {
        if self.slow_sinks == SlowSinks::FallBehind
            && let Some(page) = self.held.get_mut(&number)
        {
            let window = std::mem::take(&mut page.window);
            self.free(number, ReadRoom { memory: 0, window });
        }
    }

    fn free_all(&mut self, number: u64) {
        if let Some(page) = self.held.get_mut(&number) {
            let memory = page.memory - page.freed;
            page.freed = page.memory;
            let window = std::mem::take(&mut page.window);
            self.free(number, ReadRoom { memory, window });
        }
    }

    /// Hands room back; forgets the page if it holds nothing any more.
    fn free(&mut self, number: u64, room: ReadRoom) {
        self.freed.add(room);
        self.in_use.memory -= room.memory;
        self.in_use.window -= room.window;
        let is_empty = |page: &SharedPage| page.freed == page.memory && page.window == 0;
        if self.held.get(&number).is_some_and(is_empty) {
            self.held.remove(&number);
        }
    }

    fn held_in(&self, pages: &Runs) -> Vec<u64> {
        let held = pages.0.iter().flat_map(|(first, last)| self.held.range(first..=last));
        held.map(|(number, _)| *number).collect()
    }
}

/// Numbers of shared pages, as runs without a gap: pages that have nothing for a sink take no room
/// in memory, even if the sink is away for months.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs(Vec<(u64, u64)>);

impl Runs {
    pub(super) fn of(number: u64) -> Self {
        Self(vec![(number, number)])
    }

    /// Adds later numbers.
    pub(super) fn extend(&mut self, more: &Self) {
        for (first, end) in &more.0 {
            match self.0.last_mut() {
                Some((_, last)) if *last + 1 == *first => *last = *end,
                _ => self.0.push((*first, *end)),
            }
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{ReadRoom, Runs, SharedPages};
    use crate::config::SlowSinks;

    #[test]
    fn a_page_frees_its_room_at_the_pace_of_the_first_sink_or_of_the_last() {
        use SlowSinks::{FallBehind, HoldAll};
        let room = ReadRoom { memory: 10, window: 4 };
        for (slow, after_half, after_one, after_stored) in
            [(FallBehind, 5, 10, 4), (HoldAll, 2, 5, 0)]
        {
            let mut pages = SharedPages::new(slow);
            let number = pages.add(room, 8, 2);
            pages.settled(number, 2, 4, 2);
            assert_eq!(pages.take_freed(), ReadRoom { memory: after_half, window: 0 }, "{slow:?}");
            pages.settled(number, 4, 4, 2);
            let memory = after_one - after_half;
            assert_eq!(pages.take_freed(), ReadRoom { memory, window: 0 }, "{slow:?}");
            pages.stored(&Runs::of(number));
            assert_eq!(
                pages.take_freed(),
                ReadRoom { memory: 0, window: after_stored },
                "{slow:?}"
            );
            pages.settled(number, 4, 4, 4);
            pages.stored(&Runs::of(number));
            pages.take_freed();
            assert_eq!(pages.in_use(), ReadRoom::default(), "{slow:?}");
        }
    }
}
