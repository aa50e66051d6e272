//! Pages on their way to one sink, and what they hold until they are safe.

use super::shared_pages::{ReadRoom, Runs, SharedPages};
use crate::deliver::AddressedChange;
use crate::model::{DeadLetter, Ledger, Position};
use crate::source::sink_buffer::CursorBuffer;

/// What pages hold of the room of a sink's own reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnRoom {
    pub(super) number: u64,
    pub(super) room: ReadRoom,
}

/// Adds room; that of one reader is one entry.
fn add_own(all: &mut Vec<OwnRoom>, more: OwnRoom) {
    match all.last_mut() {
        Some(last) if last.number == more.number => last.room.add(more.room),
        _ if more.room.is_none() => {}
        _ => all.push(more),
    }
}

/// A page for one sink, as it arrives.
pub(super) struct SinkPage {
    /// Where to resume once it is safe; `None` where the range was divided.
    pub(super) position: Option<Position>,
    /// Changes read, for any sink.
    pub(super) read: usize,
    /// What was read for this sink, and what of it needs no write.
    pub(super) ledger: Ledger,
    pub(super) committed_at: Option<i64>,
    pub(super) changes: Vec<AddressedChange>,
    pub(super) letters: Vec<DeadLetter>,
    /// Of memory; an estimate.
    pub(super) bytes: usize,
    pub(super) source: PageSource,
}

/// The reader that a page came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageSource {
    /// The shared reader; the page's number in [`SharedPages`].
    Shared(u64),
    Own(OwnRoom),
}

/// A page that waits for room in the window.
#[derive(Debug)]
pub(super) struct WaitingPage {
    pub(super) page: PageInFlight,
    pub(super) changes: Vec<AddressedChange>,
    pub(super) letters: Vec<DeadLetter>,
}

/// A page on its way to one sink.
#[derive(Debug)]
pub(super) struct PageInFlight {
    position: Option<Position>,
    read: usize,
    pub(super) ledger: Ledger,
    pub(super) committed_at: Option<i64>,
    /// Changes and dead letters of this sink, and how many of them are safe.
    pub(super) changes: usize,
    safe: usize,
    source: PageSource,
    /// Units of its own reader's memory at first.
    memory: usize,
    /// Bytes at first, and those still held.
    whole: usize,
    pub(super) held: usize,
    /// This page, if it is shared, and pages behind it without a change for this sink.
    shared: Runs,
    /// Of such pages from a reader of this sink alone.
    own: Vec<OwnRoom>,
}

/// Pages that are safe in the sink, and whose position is not stored yet.
#[derive(Debug)]
pub(super) struct SafePoint {
    pub(super) position: Position,
    /// Changes read, for any sink.
    pub(super) read: usize,
    pub(super) ledger: Ledger,
    pub(super) changes: usize,
    pub(super) shared: Runs,
    pub(super) own: Vec<OwnRoom>,
}

/// Room of a sink's own readers that was freed.
pub(super) type FreedOwn = Vec<OwnRoom>;

impl WaitingPage {
    pub(super) fn new(
        page: SinkPage,
        buffer: &mut CursorBuffer,
        pages: &mut SharedPages,
        freed: &mut FreedOwn,
    ) -> Self {
        let SinkPage { position, read, ledger, committed_at, changes, letters, bytes, mut source } =
            page;
        let count = changes.len() + letters.len();
        let held = if count == 0 { 0 } else { bytes };
        buffer.hold(held, matches!(source, PageSource::Own(_)));
        let shared = match &mut source {
            PageSource::Shared(number) => {
                if count == 0 {
                    pages.settled(*number, 0, 0, 0);
                }
                Runs::of(*number)
            }
            PageSource::Own(own) => {
                if count == 0 {
                    let room = ReadRoom { memory: std::mem::take(&mut own.room.memory), window: 0 };
                    add_own(freed, OwnRoom { number: own.number, room });
                }
                Runs::default()
            }
        };
        let page = PageInFlight {
            position,
            read,
            ledger,
            committed_at,
            changes: count,
            safe: 0,
            memory: match source {
                PageSource::Own(own) => own.room.memory,
                PageSource::Shared(_) => 0,
            },
            source,
            whole: held,
            held,
            shared,
            own: Vec::new(),
        };
        Self { page, changes, letters }
    }
}

impl PageInFlight {
    /// Adds the page behind it, if that has nothing for this sink.
    pub(super) fn absorb(&mut self, next: &mut Self) -> bool {
        if next.changes > 0 || next.position.is_none() || self.position.is_none() {
            return false;
        }
        self.position = next.position.take();
        self.read += next.read;
        self.ledger.add(&next.ledger);
        self.shared.extend(&next.shared);
        if let PageSource::Own(own) = next.source {
            add_own(&mut self.own, own);
        }
        for own in next.own.drain(..) {
            add_own(&mut self.own, own);
        }
        true
    }

    /// `changes` more are safe.
    pub(super) fn settle(
        &mut self,
        changes: usize,
        buffer: &mut CursorBuffer,
        pages: &mut SharedPages,
        freed: &mut FreedOwn,
    ) {
        self.safe += changes;
        let left = self.changes.saturating_sub(self.safe);
        match &mut self.source {
            PageSource::Shared(number) => pages.settled(*number, self.safe, self.changes, changes),
            PageSource::Own(own) => {
                let keep = self.memory - self.memory * self.safe / self.changes.max(1);
                let memory = own.room.memory - keep.min(own.room.memory);
                own.room.memory -= memory;
                add_own(
                    freed,
                    OwnRoom { number: own.number, room: ReadRoom { memory, window: 0 } },
                );
            }
        }
        self.keep(self.whole / self.changes.max(1) * left, buffer);
    }

    /// Gives back all but `bytes` of the sink's buffer.
    fn keep(&mut self, bytes: usize, buffer: &mut CursorBuffer) {
        let spare = self.held.saturating_sub(bytes);
        self.held -= spare;
        buffer.release(spare, matches!(self.source, PageSource::Own(_)));
    }

    /// The range was divided at this page.
    pub(super) fn is_last(&self) -> bool {
        self.position.is_none()
    }

    /// It is wholly safe: its position can be stored, unless the range was divided there.
    pub(super) fn pass_to(
        mut self,
        safe: &mut Option<SafePoint>,
        buffer: &mut CursorBuffer,
        pages: &mut SharedPages,
        freed: &mut FreedOwn,
    ) {
        self.keep(0, buffer);
        let Some(position) = self.position.take() else {
            self.let_go(buffer, pages, freed);
            return;
        };
        let point = safe.get_or_insert_with(|| SafePoint {
            position: position.clone(),
            read: 0,
            ledger: Ledger::default(),
            changes: 0,
            shared: Runs::default(),
            own: Vec::new(),
        });
        point.position = position;
        point.read += self.read;
        point.ledger.add(&self.ledger);
        point.changes += self.changes;
        point.shared.extend(&self.shared);
        if let PageSource::Own(own) = self.source {
            add_own(&mut point.own, own);
        }
        for own in self.own {
            add_own(&mut point.own, own);
        }
    }

    /// Its position will not be stored by this sink: it gives back all that it holds.
    pub(super) fn let_go(
        mut self,
        buffer: &mut CursorBuffer,
        pages: &mut SharedPages,
        freed: &mut FreedOwn,
    ) {
        self.keep(0, buffer);
        pages.let_go(&self.shared);
        if let PageSource::Own(own) = self.source {
            freed.push(own);
        }
        freed.extend(self.own);
    }

    /// Lets the shared reader go on, even if this sink keeps the page for long.
    pub(super) fn pass_by(&self, pages: &mut SharedPages) {
        pages.pass_by_all(&self.shared);
    }
}

impl SafePoint {
    /// Its position is stored.
    pub(super) fn stored(self, pages: &mut SharedPages, freed: &mut FreedOwn) -> Position {
        pages.stored(&self.shared);
        freed.extend(self.own);
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::super::shared_pages::{ReadRoom, Runs, SharedPages};
    use super::{PageSource, SinkPage, WaitingPage};
    use crate::config::SlowSinks;
    use crate::model::{FeedRange, Ledger, Position};
    use crate::source::sink_buffer::{BufferView, CursorBuffer};

    /// However long a sink is away, pages without a change for it take no room.
    #[test]
    fn pages_without_a_change_for_a_sink_take_no_room() {
        let mut buffer = CursorBuffer::new(BufferView::default());
        let mut pages = SharedPages::new(SlowSinks::FallBehind);
        let mut freed = Vec::new();
        let mut waiting = |window: usize, pages: &mut SharedPages| {
            let number = pages.add(ReadRoom { memory: 0, window }, 0, 2);
            let position = Position::of(FeedRange::whole(), Some("1".to_owned()));
            let page = SinkPage {
                position: Some(position),
                read: 1,
                ledger: Ledger::default(),
                committed_at: None,
                changes: Vec::new(),
                letters: Vec::new(),
                bytes: 0,
                source: PageSource::Shared(number),
            };
            (number, WaitingPage::new(page, &mut buffer, pages, &mut freed).page)
        };
        let (_, mut first) = waiting(1, &mut pages);
        for n in 0..10_000 {
            // Another sink is done with every second one, a little later.
            let (number, mut next) = waiting(n % 2, &mut pages);
            assert!(first.absorb(&mut next));
            pages.stored(&Runs::of(number));
        }
        assert_eq!((first.shared.count(), pages.count()), (1, 1));
        assert_eq!(pages.in_use().window, 1);
        // What reading still waits for is kept.
        let (_, mut next) = waiting(50, &mut pages);
        assert!(first.absorb(&mut next));
        assert_eq!(pages.in_use().window, 51);
        first.pass_by(&mut pages);
        assert_eq!(pages.in_use(), ReadRoom::default());
        assert_eq!(pages.take_freed().window, 5000 + 51);
    }
}
