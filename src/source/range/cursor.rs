//! One sink of one feed range: what waits for it, and how far everything is safe in it.

use std::collections::VecDeque;
use std::time::Duration;

use cosmos_bridge_sink::Limits;
use tokio::time::Instant;

use super::cursor_state::CursorState;
use super::event::Checkpoint;
use super::in_flight::{FreedOwn, PageInFlight, SafePoint, SinkPage, WaitingPage};
use super::patience::Patience;
use super::shared_pages::{ReadRoom, SharedPages};
use crate::deliver::{Watermark, WriteBatch, WriteQueue};
use crate::model::{DeadLetter, Fate, Ledger, Position, SinkProgress};
use crate::source::sink_buffer::{CursorBuffer, SinkView};

/// How often a position that moved without any change is stored.
const IDLE_STORE_INTERVAL: Duration = Duration::from_mins(1);

/// One sink of one feed range.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and all combinations occur"
)]
#[derive(Debug)]
pub(super) struct SinkCursor {
    pub(super) sink: usize,
    pub(super) state: CursorState,
    pub(super) limits: Limits,
    /// Its last writes have failed.
    pub(super) is_failing: bool,
    /// How long reading waits for it.
    pub(super) patience: Patience,
    pub(super) buffer: CursorBuffer,
    queue: WriteQueue,
    /// Pages that wait for room in the window.
    waiting: VecDeque<WaitingPage>,
    watermark: Watermark<PageInFlight>,
    /// Safe, and not on its way to the state yet.
    safe: Option<SafePoint>,
    /// On its way to the state.
    storing: Option<SafePoint>,
    /// Of all that it took since the range started, and the changes and dead letters of that which are not safe.
    ledger: Ledger,
    open: usize,
    /// What is missing in the ledger, as far as observers know.
    missing: i64,
    /// Of the page at which the range was divided.
    rest: Ledger,
    /// Changes that were let through the window and are not stored.
    unstored: usize,
    stored: Position,
    stored_at: Instant,
    /// When it last took a page, or one of its changes became safe or was stored.
    moved_at: Instant,
    /// The last page that it took: a reader for this sink goes on behind it.
    accepted: Position,
    /// When the oldest change of the last page was committed, in seconds since the epoch.
    accepted_at: Option<i64>,
    /// The last page of the shared reader was an answer that nothing is newer.
    pub(super) at_head: bool,
    /// It was given all that is before the end of the pipeline. That is final.
    pub(super) is_at_end: bool,
    /// Since when answers have told of nothing as new as what it has accepted.
    pub(super) ahead_since: Option<Instant>,
    /// When it last had everything.
    had_all: Option<Instant>,
    /// Offers nothing more: what waits is left to the parts of the range, or to the next start.
    abandoned: bool,
    /// Writes of a range that this one is a part of are still under way. They may hold the same
    /// documents, so nothing is written before they end.
    held_back: bool,
    /// Writes and dead letters under way.
    under_way: usize,
    /// Of its own reader: its room in use, and whether it waits for the window.
    pub(super) own_window: usize,
    pub(super) own_waits: bool,
    /// Room of its own readers that was freed, and not handed back yet.
    pub(super) freed: FreedOwn,
}

/// When a position has to be stored, beyond the usual interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Urgency {
    pub(super) interval: Duration,
    /// No page will come any more.
    pub(super) is_ending: bool,
    /// The reader's window is more than half used up, or the reader waits for it.
    pub(super) is_pressed: bool,
}

impl SinkCursor {
    /// `stored` is how far the sink has everything.
    pub(super) fn new(
        sink: usize,
        view: SinkView,
        stored: Position,
        state: CursorState,
        held_back: bool,
        now: Instant,
    ) -> Self {
        Self {
            sink,
            state,
            limits: view.limits,
            is_failing: view.is_failing,
            patience: Patience::new(&view, now),
            buffer: CursorBuffer::new(view.buffer),
            queue: WriteQueue::new(view.limits.grouping),
            waiting: VecDeque::new(),
            watermark: Watermark::default(),
            safe: None,
            storing: None,
            ledger: Ledger::default(),
            open: 0,
            missing: 0,
            rest: Ledger::default(),
            unstored: 0,
            accepted: stored.clone(),
            stored,
            stored_at: now,
            moved_at: now,
            accepted_at: None,
            at_head: false,
            is_at_end: false,
            ahead_since: None,
            had_all: None,
            abandoned: false,
            held_back,
            under_way: 0,
            own_window: 0,
            own_waits: false,
            freed: Vec::new(),
        }
    }

    /// What the sink looks like now.
    pub(super) fn look(&mut self, view: &SinkView, now: Instant) {
        self.limits = view.limits;
        self.is_failing = view.is_failing;
        self.buffer.view = view.buffer;
        self.patience.look(view, now);
    }

    /// Takes a page. It waits until [`SinkCursor::admit`] finds room for it in the window.
    pub(super) fn take(&mut self, page: SinkPage, pages: &mut SharedPages, now: Instant) {
        self.moved_at = now;
        if let Some(position) = &page.position {
            self.accepted.clone_from(position);
        }
        self.accepted_at = page.committed_at.or(self.accepted_at);
        let mut next = WaitingPage::new(page, &mut self.buffer, pages, &mut self.freed);
        self.ledger.add(&next.page.ledger);
        self.open += next.page.changes;
        let newest = self.waiting.back_mut().map(|waiting| &mut waiting.page);
        let newest = newest.or_else(|| self.watermark.newest_mut());
        if !newest.is_some_and(|newest| newest.absorb(&mut next.page)) {
            self.waiting.push_back(next);
        }
    }

    /// Lets the next page through the window, if it has room; a page larger than the window goes
    /// alone. Returns the page's number and its dead letters, which are settled later.
    pub(super) fn admit(&mut self, window: usize) -> Option<(u64, Vec<DeadLetter>)> {
        let changes = self.waiting.front()?.page.changes;
        if self.abandoned || (self.unstored > 0 && self.unstored + changes > window) {
            return None;
        }
        let WaitingPage { page, changes, letters } = self.waiting.pop_front()?;
        self.unstored += page.changes;
        let number = self.watermark.open(page.changes, page);
        for change in changes {
            self.queue.push(number, change);
        }
        self.under_way += usize::from(!letters.is_empty());
        Some((number, letters))
    }

    /// The next changes to be written together, if any may be written now.
    pub(super) fn next_batch(&mut self) -> Option<WriteBatch> {
        if self.abandoned || self.held_back {
            return None;
        }
        let batch = self.queue.next_batch(self.limits)?;
        self.under_way += 1;
        Some(batch)
    }

    /// Every change of the batch is delivered or a dead letter.
    pub(super) fn finish(
        &mut self,
        batch: &WriteBatch,
        fates: &[Option<Fate>],
        pages: &mut SharedPages,
        now: Instant,
    ) {
        self.queue.finish(batch);
        self.settle(&batch.pages, fates, pages, now);
    }

    /// The route's dead letters are stored: one change of each of these pages.
    pub(super) fn keep(&mut self, settled: &[u64], pages: &mut SharedPages, now: Instant) {
        self.settle(settled, &vec![Some(Fate::DeadLetter); settled.len()], pages, now);
    }

    /// One change of each of these pages is safe; the write or the dead letters have ended.
    fn settle(
        &mut self,
        settled: &[u64],
        fates: &[Option<Fate>],
        pages: &mut SharedPages,
        now: Instant,
    ) {
        self.under_way -= 1;
        self.moved_at = now;
        self.open -= settled.len();
        let mut fates = fates.iter();
        for same in settled.chunk_by(|a, b| a == b) {
            let mut closed = Ledger::default();
            fates.by_ref().take(same.len()).flatten().for_each(|fate| closed.count(*fate));
            self.ledger.add(&closed);
            if let Some(page) = self.watermark.page_mut(same[0]) {
                page.ledger.add(&closed);
                page.settle(same.len(), &mut self.buffer, pages, &mut self.freed);
            }
            for page in same {
                self.watermark.settle(*page);
            }
        }
    }

    /// A write or dead letters were given up before they were done.
    pub(super) fn give_up(&mut self, pages: &mut SharedPages) {
        self.under_way -= 1;
        self.abandon(pages);
    }

    /// Moves pages that are wholly safe from "on their way" to "to be stored".
    pub(super) fn pass(&mut self, pages: &mut SharedPages) {
        while let Some(page) = self.watermark.pass() {
            if page.is_last() {
                self.rest.add(&page.ledger);
            }
            page.pass_to(&mut self.safe, &mut self.buffer, pages, &mut self.freed);
        }
    }

    /// Whether it is time to store a position.
    pub(super) fn is_store_due(&self, urgency: Urgency, now: Instant) -> bool {
        let Some(safe) = &self.safe else { return false };
        let since = now.saturating_duration_since(self.stored_at);
        let is_pressed = urgency.is_pressed || !self.waiting.is_empty();
        urgency.is_ending
            || self.stored.etag.is_none()
            || since >= IDLE_STORE_INTERVAL
            || (safe.read > 0 && (is_pressed || self.at_head || since >= urgency.interval))
    }

    /// The position to store now. [`SinkCursor::end_store`] has to follow.
    pub(super) fn begin_store(&mut self) -> Option<Checkpoint> {
        self.storing = self.safe.take();
        let SafePoint { position, ledger, .. } = self.storing.as_ref()?;
        Some(Checkpoint { sink: self.sink, position: position.clone(), ledger: *ledger })
    }

    pub(super) fn end_store(&mut self, pages: &mut SharedPages, now: Instant) {
        let Some(point) = self.storing.take() else { return };
        self.unstored -= point.changes;
        self.stored = point.stored(pages, &mut self.freed);
        self.stored_at = now;
        self.moved_at = now;
    }

    /// The LSN that this sink has accepted, if it is ahead of a reader that reads from `shared` on.
    pub(super) fn ahead_of(&self, shared: &Position) -> Option<i64> {
        let accepted = self.accepted.lsn()?;
        let is_ahead = match &shared.etag {
            None => true,
            Some(_) => shared.lsn().is_some_and(|shared| accepted > shared),
        };
        is_ahead.then_some(accepted)
    }

    /// Whether a page of `bytes` exceeds the sink's buffer.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        !self.buffer.view.has_room(bytes)
    }

    /// Bytes of this range in the sink's buffer.
    pub(super) fn held(&self) -> usize {
        self.buffer.bytes()
    }

    pub(super) fn accepted(&self) -> &Position {
        &self.accepted
    }

    pub(super) fn stored(&self) -> &Position {
        &self.stored
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Of a divided range: it has everything up to the parts.
    pub(super) fn has_whole(&self) -> bool {
        self.state.is_following() && !self.abandoned
    }

    pub(super) fn is_held_back(&self) -> bool {
        self.held_back
    }

    /// The writes of the range that this one is a part of have ended.
    pub(super) fn release(&mut self) {
        self.held_back = false;
    }

    /// Nothing waits for this sink.
    fn is_delivered(&self) -> bool {
        self.waiting.is_empty() && self.queue.is_idle() && self.watermark.is_empty()
    }

    /// Nothing waits to be stored either, except a position that moved without any change.
    pub(super) fn is_safe(&self) -> bool {
        self.is_delivered()
            && self.storing.is_none()
            && self.safe.as_ref().is_none_or(|safe| safe.read == 0)
    }

    /// It has everything that the shared reader has read, and that reader knows of nothing newer.
    pub(super) fn has_all(&self) -> bool {
        self.state.is_following() && self.at_head && !self.held_back && self.is_safe()
    }

    /// It has everything that is before the end of the pipeline.
    pub(super) fn has_ended(&self) -> bool {
        self.is_at_end && !self.held_back && !self.abandoned && self.is_safe()
    }

    /// Nothing is left to do: everything is delivered and stored, or left to the parts of the range or
    /// to the next start.
    pub(super) fn is_settled(&self) -> bool {
        let is_stored = self.safe.is_none() && self.storing.is_none();
        is_stored && (self.abandoned || self.is_delivered())
    }

    /// Writes and dead letters under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Lets the shared reader go on, as if this sink had everything that it was given.
    pub(super) fn free_reader(&self, pages: &mut SharedPages) {
        let waiting = self.waiting.iter().map(|waiting| &waiting.page);
        waiting.chain(self.watermark.pages()).for_each(|page| page.pass_by(pages));
    }

    /// Forgets what was not let through the window yet; the next reader reads it again.
    pub(super) fn forget_waiting(&mut self, pages: &mut SharedPages) {
        if !self.waiting.is_empty() {
            // It was that of a page which is forgotten.
            self.accepted_at = None;
        }
        for waiting in self.waiting.drain(..) {
            self.ledger.remove(&waiting.page.ledger);
            self.open -= waiting.page.changes;
            waiting.page.let_go(&mut self.buffer, pages, &mut self.freed);
            self.at_head = false;
            self.is_at_end = false;
        }
    }

    /// Offers nothing more. What is being written ends, and is not offered again.
    pub(super) fn abandon(&mut self, pages: &mut SharedPages) {
        self.forget_waiting(pages);
        self.abandoned = true;
    }

    /// Stores nothing more: its positions belong to another owner, or cannot be stored before the end.
    pub(super) fn forget_positions(&mut self, pages: &mut SharedPages) {
        for point in self.safe.take().into_iter().chain(self.storing.take()) {
            pages.let_go(&point.shared);
            self.freed.extend(point.own);
        }
    }

    /// Everything that it took since the range started, and how many changes of that are not safe.
    pub(super) fn ledger(&self) -> (Ledger, usize) {
        (self.ledger, self.open)
    }

    /// Of the page at which the range was divided.
    pub(super) fn rest(&self) -> Ledger {
        self.rest
    }

    /// How many more changes are missing in the ledger than observers know, if any.
    pub(super) fn audit(&mut self) -> Option<i64> {
        let missing = self.ledger.open() - i64::try_from(self.open).unwrap_or(i64::MAX);
        let more = missing - std::mem::replace(&mut self.missing, missing);
        (more != 0).then_some(more)
    }

    /// Its own reader brought a page that holds this room.
    pub(super) fn takes_room(&mut self, room: ReadRoom) {
        self.own_window += room.window;
        self.own_waits = false;
    }

    pub(super) fn note_progress(&mut self, at_head_at: Option<Instant>) {
        // Behind the end of the pipeline there may be more.
        if self.has_all() && !self.is_at_end {
            self.had_all = at_head_at;
        }
    }

    /// How far it is. `knows_head`: the shared reader's last answer has arrived, and it was no error.
    pub(super) fn progress(&self, knows_head: bool) -> SinkProgress {
        let waiting = || self.waiting.front().map(|waiting| &waiting.page);
        let oldest = self.watermark.oldest().or_else(waiting);
        SinkProgress {
            is_caught_up: knows_head && self.has_all(),
            is_parked: matches!(self.state, CursorState::Parked),
            is_copying: self.stored.stream_from.is_some(),
            had_all: self.had_all,
            oldest: oldest.and_then(|page| page.committed_at),
            accepted: self.accepted_at,
            stored_lsn: self.stored.lsn(),
            stored_at: Some(self.stored_at),
            moved_at: Some(self.moved_at),
        }
    }

    /// Pages that hold room of the sink's buffer.
    #[cfg(test)]
    pub(super) fn pages(&self) -> impl Iterator<Item = &PageInFlight> {
        self.waiting.iter().map(|waiting| &waiting.page).chain(self.watermark.pages())
    }
}
