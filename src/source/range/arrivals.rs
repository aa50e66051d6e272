//! Pages of the shared reader that have arrived, and may wait for a slow sink before they are taken.
//!
//! What waits has not been taken by any sink: no position moves, nothing counts as caught up, and a stop
//! leaves it to the next start. The reader asks for nothing more meanwhile.

use std::time::Duration;

use tokio::time::Instant;

use super::arrived::Arrival;
use super::cursor::SinkCursor;
use super::cursor_state::CursorState;
use super::event::{Effect, Effects, Notice, Why};
use super::patience::{Verdict, worth};
use super::shared_pages::ReadRoom;
use super::state::{RangeState, ReadingEnd, SharedReading};
use crate::config::SlowSinks;
use crate::model::Position;
use crate::source::reader::ReaderId;
use crate::source::routed::RoutedPage;
use crate::source::sink_buffer::buffered_bytes;

/// How soon a page that waits is looked at again: other ranges may have freed room.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A sink that has this part of a page to write is not delayed. Less does not count: a document that is written
/// again and again, or the live changes of other ranges.
const PARTS_OF_A_PAGE: usize = 8;

impl RangeState {
    /// A page of the shared reader has arrived.
    pub(super) fn arrive(
        &mut self,
        page: RoutedPage,
        room: ReadRoom,
        now: Instant,
        effects: &mut Effects,
    ) {
        let reader = ReaderId::Shared { number: self.readers };
        self.shared_waits = false;
        self.head.answered(now);
        if self.park_ahead(page.head_lsn, now, effects) {
            effects.push(Effect::FreeReadRoom { reader, room });
            return;
        }
        // The reader ends with it, and does not wait.
        let is_divided = page.positions.len() != 1;
        if page.caught_up && !self.arrivals.is_empty() {
            // The reader asks again, and is then answered about that time.
            effects.push(Effect::FreeReadRoom { reader, room });
            return;
        }
        let is_told = vec![false; self.cursors.len()];
        self.arrivals.pages.push_back(Arrival { page, room, is_told });
        if is_divided {
            self.take_arrivals(now, false, effects);
        }
    }

    /// Takes what has arrived. If it may wait, up to the first page that waits for a slow sink.
    pub(super) fn take_arrivals(&mut self, now: Instant, may_wait: bool, effects: &mut Effects) {
        let has_waited = self.arrivals.look_at.take().is_some();
        self.forget_waits();
        while let Some(first) = self.arrivals.pages.front() {
            let wanted = self.wanted(&first.page);
            if first.page.positions.len() == 1 {
                let worth = if may_wait { self.worth_of(&first.page) } else { Duration::ZERO };
                if self.waits_or_detaches(&wanted, worth, effects) {
                    self.arrivals.look_at = Some(now + LOOK_AGAIN);
                    return;
                }
            }
            if has_waited {
                // The service was not asked meanwhile.
                let since = self.cursors.iter_mut().filter_map(|c| c.ahead_since.as_mut());
                since.for_each(|since| *since = now);
            }
            let Some(Arrival { page, room, .. }) = self.arrivals.pages.pop_front() else { return };
            self.take_shared(page, room, wanted, now, effects);
        }
    }

    /// What may be waited with this page.
    fn worth_of(&self, page: &RoutedPage) -> Duration {
        let awaits_split = |cursor: &SinkCursor| cursor.state == CursorState::AwaitingSplit;
        // A sink at a split waits for the shared reader to get there.
        if self.stop_asked || self.cursors.iter().any(awaits_split) {
            return Duration::ZERO;
        }
        let here = page.positions.iter().filter_map(Position::lsn).max();
        // Without these numbers the distance to the end is unknown.
        let Some((head, here)) = page.head_lsn.zip(here) else { return Duration::ZERO };
        let left = self.head.backlog.left(here, head, self.settings.window);
        left.map_or(Duration::ZERO, |left| worth(left + page.read as u64))
    }

    /// Detaches the sinks that have no room for a page and are not worth a wait. True if it waits for
    /// another one.
    fn waits_or_detaches(
        &mut self,
        wanted: &[usize],
        worth: Duration,
        effects: &mut Effects,
    ) -> bool {
        let mut awaited = Vec::new();
        for sink in 0..wanted.len() {
            let must_fall_behind = self.must_fall_behind(sink, wanted);
            if !must_fall_behind && !self.comes_later(sink, wanted) {
                continue;
            }
            let cursor = &mut self.cursors[sink];
            match cursor.patience.judge(worth, cursor.is_failing) {
                Verdict::Waits => awaited.push(sink),
                _ if !must_fall_behind => {}
                Verdict::NotWorth | Verdict::Still => self.detach(sink, Why::BufferFull, effects),
                Verdict::TooSlow => self.detach(sink, Why::TooSlow, effects),
            }
        }
        self.tell(&awaited, effects);
        for sink in &awaited {
            self.cursors[*sink].buffer.reserve(wanted[*sink]);
        }
        let is_idle = |cursor: &SinkCursor| {
            let work = (wanted[cursor.sink] / PARTS_OF_A_PAGE).max(1);
            cursor.held() < work && cursor.buffer.view.in_use < work
        };
        let is_delayed = |cursor: &SinkCursor| {
            cursor.state.is_following() && !awaited.contains(&cursor.sink) && is_idle(cursor)
        };
        let delays = self.cursors.iter().any(is_delayed);
        for sink in &awaited {
            self.cursors[*sink].patience.delays = delays;
        }
        !awaited.is_empty()
    }

    /// Tells once for each page and sink that the page waits.
    fn tell(&mut self, awaited: &[usize], effects: &mut Effects) {
        let Some(first) = self.arrivals.pages.front_mut() else { return };
        for sink in awaited {
            if !std::mem::replace(&mut first.is_told[*sink], true) {
                effects.notice(Notice::Awaited { sink: *sink });
            }
        }
    }

    /// What a page takes of each sink's buffer.
    fn wanted(&self, page: &RoutedPage) -> Vec<usize> {
        let mut counts = vec![0; self.cursors.len()];
        let changes = page.changes.iter().map(|(sink, change)| (*sink, change.change.origin.lsn));
        let letters = page.letters.iter().map(|(sink, letter)| (*sink, letter.lsn));
        let ahead = self.ahead();
        for (sink, lsn) in changes.chain(letters) {
            counts[sink] += usize::from(!has(ahead[sink], lsn));
        }
        counts.into_iter().map(|count| buffered_bytes(page.bytes, page.read, count)).collect()
    }

    /// By sink: the LSN that it has accepted, if the next page starts before that, for the sake of
    /// another one.
    pub(super) fn ahead(&self) -> Vec<Option<i64>> {
        self.cursors.iter().map(|cursor| cursor.ahead_of(&self.shared)).collect()
    }

    /// True if this sink's buffer has no room for a page, which takes `wanted` bytes of each, while
    /// another following sink has room or a smaller backlog. So at least one sink always follows.
    fn must_fall_behind(&self, sink: usize, wanted: &[usize]) -> bool {
        let cursor = &self.cursors[sink];
        let is_better = |other: &SinkCursor| {
            other.sink != sink
                && other.state.is_following()
                && (!other.is_full(wanted[other.sink]) || other.held() < cursor.held())
        };
        self.settings.slow_sinks == SlowSinks::FallBehind
            && cursor.state.is_following()
            && wanted[sink] > 0
            && cursor.is_full(wanted[sink])
            && self.cursors.iter().any(is_better)
    }

    /// True if this sink has room for the page, and other feed ranges wait for that room and hold nothing.
    fn comes_later(&self, sink: usize, wanted: &[usize]) -> bool {
        let cursor = &self.cursors[sink];
        self.settings.slow_sinks == SlowSinks::FallBehind
            && cursor.state.is_following()
            && wanted[sink] > 0
            && cursor.held() > 0
            && cursor.buffer.view.reserved > 0
            && !cursor.buffer.view.has_room_for_more(wanted[sink])
    }

    /// Forgets for whom a page waits.
    fn forget_waits(&mut self) {
        for cursor in &mut self.cursors {
            cursor.patience.delays = false;
            cursor.buffer.reserve(0);
        }
    }

    /// Forgets what has arrived and was not taken: the next reader reads it again.
    pub(super) fn forget_arrivals(&mut self, effects: &mut Effects) {
        self.arrivals.look_at = None;
        self.forget_waits();
        for Arrival { room, .. } in std::mem::take(&mut self.arrivals.pages) {
            let reader = ReaderId::Shared { number: self.readers };
            effects.push(Effect::FreeReadRoom { reader, room });
            self.cursors.iter_mut().for_each(|cursor| cursor.at_head = false);
        }
    }

    /// At a stop nothing waits any more, and nothing behind it may be taken.
    pub(super) fn stop_waiting(&mut self, effects: &mut Effects) {
        if !self.arrivals.is_empty() && matches!(self.reading, SharedReading::Reading { .. }) {
            self.stop_shared(effects);
            self.end_shared(ReadingEnd::Stopped, effects);
        }
    }

    /// Whether a page waits: the shared reader asks for nothing more.
    pub(in crate::source) fn holds_reader(&self) -> bool {
        !self.arrivals.is_empty()
    }
}

/// Whether a sink that is ahead of the reader has a change or page with this LSN.
pub(super) fn has(ahead: Option<i64>, lsn: Option<i64>) -> bool {
    ahead >= lsn && lsn.is_some()
}

#[cfg(test)]
mod tests;
