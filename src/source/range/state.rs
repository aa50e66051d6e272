//! The state machine of one feed range: events in, effects out.
//!
//! No clock, channel, task or I/O: [`RangeState::on`] is a function of the state, the event, the time
//! and the last look at the sinks. [`super::worker`] performs the effects; [`super::exploration`] plays
//! random histories against the invariants of ARCHITECTURE.md.

use std::time::Duration;

use tokio::time::Instant;

use super::arrived::Arrivals;
use super::backlog::Backlog;
use super::cursor::{SinkCursor, Urgency};
use super::cursor_state::{CursorState, SignOfLife, StartPlan, plan_start};
use super::event::{Effect, Effects, Event, Notice, Why};
use super::shared_pages::SharedPages;
use crate::config::{SlowSinks, Start};
use crate::cosmos::CosmosError;
use crate::model::{Ledger, Position, RangeProgress};
use crate::source::reader::{ReaderEnd, ReaderId};
use crate::source::sink_buffer::{Held, SinkView};
use crate::state::Conflict;

/// What does not change while a range is read.
#[derive(Clone, Debug)]
pub(in crate::source) struct RangeSettings {
    pub(in crate::source) start: Start,
    pub(in crate::source) slow_sinks: SlowSinks,
    /// Changes that a sink may have and whose position is not stored.
    pub(in crate::source) window: usize,
    pub(in crate::source) checkpoint_interval: Duration,
    /// Whether a position whose history is lost ends the range, so that what exists is copied again.
    pub(super) resyncs: bool,
}

/// One feed range, from the stored positions of its sinks until it is divided, parked or stopped.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and all combinations occur"
)]
#[derive(Debug)]
pub(in crate::source) struct RangeState {
    pub(super) settings: RangeSettings,
    /// In the order of the pipeline's sinks.
    pub(super) cursors: Vec<SinkCursor>,
    pub(super) reading: SharedReading,
    /// The last page of the shared reader, or where it starts.
    pub(super) shared: Position,
    pub(super) pages: SharedPages,
    /// Pages of the shared reader that no sink has taken yet.
    pub(super) arrivals: Arrivals,
    /// The shared reader waits for room in its window.
    pub(super) shared_waits: bool,
    pub(super) head: Head,
    /// The number of the reader that was started last.
    pub(super) readers: u64,
    is_storing: bool,
    /// The state failed after a stop was asked for: nothing more is stored.
    store_given_up: bool,
    pub(super) stop_asked: bool,
    /// When sinks that are slow to finish a divided range are abandoned.
    pub(super) grace_ends: Option<Instant>,
    /// Why a sink was parked, if one was.
    pub(super) parked: Option<CosmosError>,
    pub(super) is_finished: bool,
}

/// What the reader does that all sinks share.
#[derive(Debug)]
pub(super) enum SharedReading {
    Reading {
        number: u64,
    },
    /// No sink had room for its last page, which took `wanted` bytes of each sink's buffer. It is read
    /// again.
    Paused {
        wanted: Vec<usize>,
    },
    Ended(ReadingEnd),
}

/// How reading ended.
#[derive(Debug)]
pub(super) enum ReadingEnd {
    Stopped,
    /// The range was divided into these parts.
    Divided(Vec<Position>),
    /// Needs operator action.
    Parked(CosmosError),
    /// The range belongs to another owner.
    Lost(Conflict),
}

/// What the shared reader knows of the end of the feed.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Pages that it got and that have not arrived.
    pub(super) unseen: usize,
    /// Its last request failed: what is newer is unknown.
    pub(super) is_failing: bool,
    /// When it was last answered, and when the answer was last that nothing is newer.
    pub(super) answered_at: Option<Instant>,
    pub(super) at_head_at: Option<Instant>,
    /// What it may wait in for a slow sink.
    pub(super) backlog: Backlog,
}

impl Head {
    pub(super) fn answered(&mut self, now: Instant) {
        self.is_failing = false;
        self.answered_at = Some(now);
    }
}

impl RangeState {
    /// `stored`: one position for each sink, all of one range; `held_back`: sinks that writes of an
    /// earlier range are under way for.
    pub(in crate::source) fn new(
        settings: RangeSettings,
        stored: Vec<Position>,
        held_back: &[bool],
        views: &[SinkView],
        now: Instant,
    ) -> Self {
        let StartPlan { from, follows } =
            plan_start(&stored, &settings.start, settings.slow_sinks, settings.window);
        let start = |(sink, (stored, follows)): (usize, (Position, bool))| {
            let state = if follows {
                CursorState::Following
            } else {
                CursorState::Draining(SignOfLife::HalfDone { held: 0 })
            };
            SinkCursor::new(sink, views[sink], stored, state, held_back[sink], now)
        };
        Self {
            cursors: stored.into_iter().zip(follows).enumerate().map(start).collect(),
            pages: SharedPages::new(settings.slow_sinks),
            arrivals: Arrivals::default(),
            settings,
            reading: SharedReading::Paused { wanted: Vec::new() },
            shared: from,
            shared_waits: false,
            head: Head::default(),
            readers: 0,
            is_storing: false,
            store_given_up: false,
            stop_asked: false,
            grace_ends: None,
            parked: None,
            is_finished: false,
        }
    }

    /// Adds to `effects` what has to be done after `event`. `views` is what the sinks look like now.
    pub(in crate::source) fn on(
        &mut self,
        event: Event,
        now: Instant,
        views: &[SinkView],
        effects: &mut Effects,
    ) {
        if self.is_finished {
            return;
        }
        for (cursor, view) in self.cursors.iter_mut().zip(views) {
            cursor.look(view, now);
        }
        self.take_in(event, now, effects);
        self.take_arrivals(now, true, effects);
        self.admit(effects);
        self.resume_shared(effects);
        self.start_own_readers(effects);
        self.dispatch(effects);
        self.store_positions(now, effects);
        self.end_grace(now, effects);
        for cursor in &mut self.cursors {
            cursor.note_progress(self.head.at_head_at);
            if let Some(more) = cursor.audit() {
                effects.notice(Notice::Unbalanced { sink: cursor.sink, more });
            }
        }
        self.free_room(effects);
        self.finish(effects);
    }

    fn take_in(&mut self, event: Event, now: Instant, effects: &mut Effects) {
        match event {
            Event::Started => self.begin(effects),
            Event::PageAnswered { reader } => {
                if self.is_shared(reader) {
                    self.head.answered(now);
                    self.head.unseen += 1;
                }
            }
            Event::ReadFailed { reader } => self.head.is_failing |= self.is_shared(reader),
            Event::WindowFull { reader: ReaderId::Own { sink, number } } => {
                self.cursors[sink].own_waits |= self.cursors[sink].state.reads(number);
            }
            Event::WindowFull { reader } => self.shared_waits |= self.is_shared(reader),
            Event::PageArrived { reader: ReaderId::Own { sink, number }, page, room }
                if self.cursors[sink].state.reads(number) =>
            {
                self.take_own(sink, number, *page, room, now, effects);
            }
            Event::PageArrived { reader, page, room } if self.is_shared(reader) => {
                self.arrive(*page, room, now, effects);
            }
            // Of a reader that was stopped.
            Event::PageArrived { reader, room, .. } => {
                effects.push(Effect::FreeReadRoom { reader, room });
            }
            Event::ReaderEnded { reader: ReaderId::Own { sink, number }, end } => match end {
                _ if !self.cursors[sink].state.reads(number) => {}
                ReaderEnd::Parked(fault) if self.resyncs(&fault) => {
                    self.stop_shared(effects);
                    self.end_shared(ReadingEnd::Parked(fault), effects);
                }
                ReaderEnd::Parked(fault) => self.park(sink, fault, effects),
                ReaderEnd::Stopped => self.await_split(sink, effects),
            },
            Event::ReaderEnded { reader, end } => {
                if self.is_shared(reader) {
                    self.shared_ended(end, now, effects);
                }
            }
            Event::Written { sink, batch, fates } => {
                self.cursors[sink].finish(&batch, &fates, &mut self.pages, now);
            }
            Event::DeadLettersStored { sink, pages } => {
                self.cursors[sink].keep(&pages, &mut self.pages, now);
            }
            Event::WriteGivenUp { sink } => {
                self.cursors[sink].give_up(&mut self.pages);
                effects.push(Effect::Abandon { sink });
            }
            Event::PositionsStored => {
                self.is_storing = false;
                for cursor in &mut self.cursors {
                    cursor.end_store(&mut self.pages, now);
                }
            }
            Event::PositionsLost(conflict) => {
                self.is_storing = false;
                self.lose(conflict, effects);
            }
            Event::StoreGivenUp => {
                self.is_storing = false;
                self.store_given_up = true;
                self.abandon_all(effects);
            }
            Event::EarlierWritesEnded { sink } => self.cursors[sink].release(),
            Event::Tick => {}
            Event::StopAsked => self.ask_to_stop(effects),
        }
    }

    fn begin(&mut self, effects: &mut Effects) {
        for cursor in &self.cursors {
            let sink = cursor.sink;
            effects.notice(if cursor.state.is_following() {
                Notice::Follows { sink }
            } else {
                let (lsn, held, why) = (cursor.stored().lsn(), 0, Why::StartsBehind);
                Notice::FellBehind { sink, lsn, held, why }
            });
        }
        self.start_shared(effects);
    }

    /// Lets pages through the windows.
    fn admit(&mut self, effects: &mut Effects) {
        for cursor in &mut self.cursors {
            while let Some((number, letters)) = cursor.admit(self.settings.window) {
                if !letters.is_empty() {
                    let (sink, pages) = (cursor.sink, vec![number; letters.len()]);
                    effects.push(Effect::StoreDeadLetters { sink, letters, pages });
                }
            }
        }
    }

    /// Starts every write that may start now. What was read before a stop is still written, so that the
    /// next start repeats nothing, unless the target makes it wait.
    fn dispatch(&mut self, effects: &mut Effects) {
        for cursor in &mut self.cursors {
            while let Some(batch) = cursor.next_batch() {
                effects.push(Effect::Write { sink: cursor.sink, batch });
            }
        }
    }

    /// Stores positions where it is time. One write at a time, for all sinks of the range.
    fn store_positions(&mut self, now: Instant, effects: &mut Effects) {
        let is_ending = self.stop_asked || matches!(self.reading, SharedReading::Ended(_));
        let window = self.settings.window;
        let is_pressed = |used: usize, waits: bool| waits || window - used.min(window) < window / 2;
        let in_use = self.pages.window_in_use() + self.arrivals.room().window;
        let shared_pressed = is_pressed(in_use, self.shared_waits);
        let mut positions = Vec::new();
        for cursor in &mut self.cursors {
            cursor.pass(&mut self.pages);
            if self.store_given_up {
                cursor.forget_positions(&mut self.pages);
            }
            let is_pressed = match cursor.state {
                CursorState::CatchingUp { .. } => is_pressed(cursor.own_window, cursor.own_waits),
                _ => shared_pressed,
            };
            let interval = self.settings.checkpoint_interval;
            let urgency = Urgency { interval, is_ending, is_pressed };
            if !self.is_storing && cursor.is_store_due(urgency, now) {
                positions.extend(cursor.begin_store());
            }
        }
        if !positions.is_empty() {
            self.is_storing = true;
            effects.push(Effect::StorePositions(positions));
        }
    }

    /// Hands back the readers' room that was freed.
    fn free_room(&mut self, effects: &mut Effects) {
        let room = self.pages.take_freed();
        if !room.is_none() {
            let reader = ReaderId::Shared { number: self.readers };
            effects.push(Effect::FreeReadRoom { reader, room });
        }
        for cursor in &mut self.cursors {
            let sink = cursor.sink;
            for own in std::mem::take(&mut cursor.freed) {
                if cursor.state.reads(own.number) {
                    cursor.own_window -= own.room.window;
                }
                let reader = ReaderId::Own { sink, number: own.number };
                effects.push(Effect::FreeReadRoom { reader, room: own.room });
            }
        }
    }

    /// Whether it is the shared reader, and not an earlier one.
    fn is_shared(&self, reader: ReaderId) -> bool {
        let ReaderId::Shared { number } = reader else { return false };
        matches!(self.reading, SharedReading::Reading { number: current } if current == number)
    }

    /// When the next [`Event::Tick`] is due at the latest.
    pub(in crate::source) fn deadline(&self) -> Option<Instant> {
        let is_awaited = |cursor: &SinkCursor| !cursor.is_abandoned() && !cursor.is_safe();
        let grace_ends = self.grace_ends.filter(|_| self.cursors.iter().any(is_awaited));
        grace_ends.into_iter().chain(self.arrivals.look_at()).min()
    }

    /// What the range holds of each sink's buffer.
    pub(in crate::source) fn held(&self) -> impl Iterator<Item = Held> {
        self.cursors.iter().map(|cursor| cursor.buffer.held())
    }

    /// Whether each sink follows the shared reader.
    pub(in crate::source) fn follows(&self) -> impl Iterator<Item = bool> {
        self.cursors.iter().map(|cursor| cursor.state.is_following())
    }

    /// For each sink, the ledger since the range started, and how many changes of it are not safe.
    pub(in crate::source) fn ledgers(&self) -> impl Iterator<Item = (Ledger, usize)> {
        self.cursors.iter().map(SinkCursor::ledger)
    }

    /// Writes and dead letters that are under way, for each sink.
    pub(in crate::source) fn under_way(&self) -> impl Iterator<Item = usize> {
        self.cursors.iter().map(SinkCursor::under_way)
    }

    /// Why a sink was parked, if one was.
    pub(in crate::source) fn take_parked(&mut self) -> Option<CosmosError> {
        self.parked.take()
    }

    /// Writes down how far the sinks are. All are caught up if the shared reader's last answer was that
    /// nothing is newer, and nothing waits to be written or stored; parked sinks do not count.
    pub(in crate::source) fn report(&self, progress: &mut RangeProgress) {
        let knows_head = self.head.unseen == 0 && !self.head.is_failing;
        progress.answered_at = self.head.answered_at;
        progress.sinks.clear();
        progress.sinks.extend(self.cursors.iter().map(|cursor| cursor.progress(knows_head)));
        progress.is_caught_up =
            progress.sinks.iter().all(|sink| sink.is_parked || sink.is_caught_up);
        let has_ended =
            |cursor: &SinkCursor| matches!(cursor.state, CursorState::Parked) || cursor.has_ended();
        progress.has_ended = self.cursors.iter().all(has_ended);
    }
}
