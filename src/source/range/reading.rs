//! Which reader runs, and which sinks get its pages.
//!
//! One reader reads for all sinks. A sink whose buffer is full and that is not waited for
//! ([`super::patience`]) is detached, works on what it holds, then gets its own reader, and follows the
//! shared reader again once it has got as far.

use tokio::time::Instant;

use super::arrivals::has;
use super::backlog::Backlog;
use super::cursor::SinkCursor;
use super::cursor_state::{CursorState, SignOfLife, has_reached};
use super::event::{Effect, Effects, Notice, Why};
use super::in_flight::{OwnRoom, PageSource, SinkPage};
use super::shared_pages::ReadRoom;
use super::state::{RangeState, ReadingEnd, SharedReading};
use crate::config::SlowSinks;
use crate::deliver::AddressedChange;
use crate::model::{DeadLetter, Position};
use crate::source::reader::{ReaderEnd, ReaderId};
use crate::source::routed::RoutedPage;
use crate::source::sink_buffer::buffered_bytes;

/// What a page has for one sink.
#[derive(Default)]
struct Share {
    changes: Vec<AddressedChange>,
    letters: Vec<DeadLetter>,
    /// Changes that the sink has already.
    had: u64,
}

impl Share {
    fn len(&self) -> usize {
        self.changes.len() + self.letters.len()
    }
}

impl RangeState {
    pub(super) fn start_shared(&mut self, effects: &mut Effects) {
        self.readers += 1;
        let number = self.readers;
        self.reading = SharedReading::Reading { number };
        let (reader, from) = (ReaderId::Shared { number }, self.shared.clone());
        effects.push(Effect::StartReader { reader, from });
    }

    /// Stops the shared reader for a while; `wanted` is what its last page takes in each buffer.
    fn pause_shared(&mut self, wanted: Vec<usize>, effects: &mut Effects) {
        for cursor in &mut self.cursors {
            cursor.at_head = false;
        }
        self.stop_shared(effects);
        self.reading = SharedReading::Paused { wanted };
    }

    /// Its pages that were not taken are not awaited any more.
    pub(super) fn stop_shared(&mut self, effects: &mut Effects) {
        self.forget_arrivals(effects);
        if let SharedReading::Reading { number } = self.reading {
            effects.push(Effect::StopReader { reader: ReaderId::Shared { number } });
        }
        self.shared_waits = false;
        self.head.unseen = 0;
    }

    /// Reads on for all once a sink has room again or has caught up, or awaits a split.
    pub(super) fn resume_shared(&mut self, effects: &mut Effects) {
        let SharedReading::Paused { wanted } = &self.reading else { return };
        // For some time, and for that page at least, or it would be read again and again.
        let has_room = |(cursor, wanted): (&SinkCursor, &usize)| {
            cursor.state.is_following()
                && cursor.buffer.view.is_half_empty()
                && !cursor.is_full(*wanted)
        };
        let awaits_split = |cursor: &SinkCursor| cursor.state == CursorState::AwaitingSplit;
        if self.stop_asked {
            self.end_shared(ReadingEnd::Stopped, effects);
        } else if self.cursors.iter().zip(wanted).any(has_room)
            || self.cursors.iter().any(awaits_split)
        {
            self.start_shared(effects);
        }
    }

    /// Starts a reader for each detached sink that has shown that it makes progress.
    pub(super) fn start_own_readers(&mut self, effects: &mut Effects) {
        if self.stop_asked || matches!(self.reading, SharedReading::Ended(_)) {
            return;
        }
        for cursor in &mut self.cursors {
            let CursorState::Draining(sign) = cursor.state else { continue };
            if cursor.is_held_back() || !sign.is_shown(cursor.held(), cursor.buffer.view.freed) {
                continue;
            }
            self.readers += 1;
            let (sink, number) = (cursor.sink, self.readers);
            cursor.state = CursorState::CatchingUp { reader: number };
            cursor.own_window = 0;
            cursor.own_waits = false;
            let (reader, from) = (ReaderId::Own { sink, number }, cursor.accepted().clone());
            effects.notice(Notice::ReadsAgain { sink });
            effects.push(Effect::StartReader { reader, from });
        }
    }

    /// Takes the next page of the shared reader, which takes `wanted` bytes of each buffer.
    pub(super) fn take_shared(
        &mut self,
        page: RoutedPage,
        room: ReadRoom,
        wanted: Vec<usize>,
        now: Instant,
        effects: &mut Effects,
    ) {
        if page.caught_up {
            self.head.at_head_at = Some(now);
            self.head.backlog = Backlog::AtEnd;
        } else {
            self.head.unseen = self.head.unseen.saturating_sub(1);
            let here = page.positions.iter().filter_map(Position::lsn).max();
            if let Some((here, head)) = here.zip(page.head_lsn) {
                self.head.backlog = self.head.backlog.after(here, head, self.settings.window);
            }
        }
        let RoutedPage { mut positions, read, ledgers, caught_up, is_end, committed_at, .. } = page;
        let position = if positions.len() == 1 { positions.pop() } else { None };
        // The page starts before the positions of some sinks, for the sake of another one.
        let ahead = self.ahead();
        let mut shares: Vec<_> = self.cursors.iter().map(|_| Share::default()).collect();
        for (sink, change) in page.changes {
            if has(ahead[sink], change.change.origin.lsn) {
                shares[sink].had += 1;
            } else {
                shares[sink].changes.push(change);
            }
        }
        for (sink, letter) in page.letters {
            if has(ahead[sink], letter.lsn) {
                shares[sink].had += 1;
            } else {
                shares[sink].letters.push(letter);
            }
        }
        if position.is_some() && self.must_pause(&wanted) {
            let reader = ReaderId::Shared { number: self.readers };
            effects.push(Effect::FreeReadRoom { reader, room });
            self.pause_shared(wanted, effects);
            return;
        }
        let has_page = |cursor: &SinkCursor| {
            let ahead = ahead[cursor.sink];
            // Before the first page, the position of an answer that is not used has no number.
            let is_before = |p: &Position| ahead.is_some() && p.etag.is_none();
            position.as_ref().is_some_and(|p| is_before(p) || has(ahead, p.lsn()))
        };
        let follows = |cursor: &&SinkCursor| cursor.state.is_following();
        let changes = self.cursors.iter().filter(follows).map(|c| shares[c.sink].len()).sum();
        let holders = self.cursors.iter().filter(follows).filter(|c| !has_page(c)).count();
        let number = self.pages.add(room, changes, holders);
        for (cursor, share) in self.cursors.iter_mut().zip(shares) {
            if !cursor.state.is_following() {
                continue;
            }
            cursor.at_head = caught_up && cursor.ahead_since.is_none();
            cursor.is_at_end |= is_end && cursor.ahead_since.is_none();
            if has_page(cursor) {
                // Otherwise the next page would come at the pace of the sinks that need this one.
                self.pages.pass_by(number);
                continue;
            }
            let mut ledger = ledgers.get(cursor.sink).copied().unwrap_or_default();
            ledger.superseded += share.had;
            let page = SinkPage {
                position: position.clone(),
                read,
                ledger,
                committed_at,
                bytes: wanted[cursor.sink],
                changes: share.changes,
                letters: share.letters,
                source: PageSource::Shared(number),
            };
            cursor.take(page, &mut self.pages, now);
        }
        if self.cursors.iter().any(|cursor| cursor.state == CursorState::AwaitingSplit) {
            // The shared reader is about to meet the split, and must not wait for a dead sink before.
            for cursor in &self.cursors {
                cursor.free_reader(&mut self.pages);
            }
        }
        match position {
            Some(position) => self.shared = position,
            None => self.end_shared(ReadingEnd::Divided(positions), effects),
        }
    }

    /// True if no following sink has room for a page, which takes `wanted` bytes of each, while another
    /// sink catches up. Otherwise what is read for the first alone would be freed when that sink follows
    /// again, in one feed range after the other, and memory would have no bound.
    fn must_pause(&self, wanted: &[usize]) -> bool {
        let is_full = |cursor: &SinkCursor| {
            let bytes = wanted[cursor.sink];
            !cursor.state.is_following() || (bytes > 0 && cursor.is_full(bytes))
        };
        let is_behind = |cursor: &SinkCursor| {
            !matches!(cursor.state, CursorState::Following | CursorState::Parked)
        };
        let awaits_split = |cursor: &SinkCursor| cursor.state == CursorState::AwaitingSplit;
        self.settings.slow_sinks == SlowSinks::FallBehind
            && self.cursors.iter().any(is_behind)
            && !self.cursors.iter().any(awaits_split)
            && self.cursors.iter().all(is_full)
    }

    /// A following sink goes on without the shared reader.
    pub(super) fn detach(&mut self, sink: usize, why: Why, effects: &mut Effects) {
        let cursor = &mut self.cursors[sink];
        let (lsn, held) = (cursor.accepted().lsn(), cursor.held());
        effects.notice(Notice::FellBehind { sink, lsn, held, why });
        cursor.at_head = false;
        cursor.state = CursorState::Draining(match held {
            0 => SignOfLife::Freed { freed: cursor.buffer.view.freed },
            held => SignOfLife::HalfDone { held },
        });
    }

    pub(super) fn take_own(
        &mut self,
        sink: usize,
        number: u64,
        mut page: RoutedPage,
        room: ReadRoom,
        now: Instant,
        effects: &mut Effects,
    ) {
        let position = page.positions.pop().filter(|_| page.positions.is_empty());
        let Some(position) = position else {
            effects.push(Effect::FreeReadRoom { reader: ReaderId::Own { sink, number }, room });
            self.await_split(sink, effects);
            return;
        };
        let changes: Vec<_> = page.changes.into_iter().map(|(_, change)| change).collect();
        let letters: Vec<_> = page.letters.into_iter().map(|(_, letter)| letter).collect();
        let cursor = &mut self.cursors[sink];
        cursor.takes_room(room);
        let page_for_sink = SinkPage {
            position: Some(position),
            read: page.read,
            ledger: page.ledgers.get(sink).copied().unwrap_or_default(),
            committed_at: page.committed_at,
            bytes: buffered_bytes(page.bytes, page.read, changes.len() + letters.len()),
            changes,
            letters,
            source: PageSource::Own(OwnRoom { number, room }),
        };
        cursor.take(page_for_sink, &mut self.pages, now);
        cursor.is_at_end |= page.is_end;
        let is_ended = matches!(self.reading, SharedReading::Ended(_));
        if !is_ended && has_reached(cursor.accepted(), &self.shared) {
            self.stop_own(sink, effects);
            let cursor = &mut self.cursors[sink];
            cursor.state = CursorState::Following;
            cursor.at_head =
                page.caught_up && matches!(self.reading, SharedReading::Reading { .. });
            effects.notice(Notice::Rejoined { sink, lsn: cursor.accepted().lsn() });
            self.free_shared_reader(sink);
        }
    }

    /// Nothing more can be read for a sink until the shared reader meets the split as well.
    pub(super) fn await_split(&mut self, sink: usize, effects: &mut Effects) {
        self.stop_own(sink, effects);
        self.free_shared_reader(sink);
    }

    /// Stops a sink's own reader, if it has one. Its pages are no longer awaited.
    pub(super) fn stop_own(&mut self, sink: usize, effects: &mut Effects) {
        let cursor = &mut self.cursors[sink];
        if let CursorState::CatchingUp { reader: number } = cursor.state {
            cursor.state = CursorState::AwaitingSplit;
            effects.notice(Notice::StopsReadingAgain { sink });
            effects.push(Effect::StopReader { reader: ReaderId::Own { sink, number } });
        }
    }

    /// Lets the shared reader go on for a sink that waits for it, regardless of what the others have
    /// not done yet: they may be dead, and are detached only when a page comes that they have no room
    /// for.
    fn free_shared_reader(&mut self, sink: usize) {
        for other in self.cursors.iter().filter(|other| other.sink != sink) {
            other.free_reader(&mut self.pages);
        }
    }

    /// The shared reader has ended by itself.
    pub(super) fn shared_ended(&mut self, end: ReaderEnd, now: Instant, effects: &mut Effects) {
        let fault = match end {
            ReaderEnd::Stopped => return self.end_shared(ReadingEnd::Stopped, effects),
            ReaderEnd::Parked(fault) => fault,
        };
        // What it read before is not lost.
        self.take_arrivals(now, false, effects);
        if !matches!(self.reading, SharedReading::Reading { .. }) {
            return;
        }
        if self.concerns_some(&fault) && !self.resyncs(&fault) {
            self.park_at_shared(&fault, effects);
        } else {
            self.end_shared(ReadingEnd::Parked(fault), effects);
        }
    }
}
