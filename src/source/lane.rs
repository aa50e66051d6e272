//! One sink of one feed range: what waits for it, and how far everything is safe in it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::{Grouping, Limits};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::hold::Spool;
use super::mark::{Checkpoint, Mark, Passed, SinkPage, Waiting};
use super::standing::Standing;
use crate::deliver::{Lanes, Unit, Watermark, WriteStop};
use crate::model::{DeadLetter, Position};
use crate::observe::SinkProgress;

/// How often a position that moved without any change is stored.
const IDLE_CHECKPOINT: Duration = Duration::from_mins(1);

/// One sink of one feed range.
pub(super) struct Lane {
    pub(super) sink: usize,
    pub(super) name: String,
    pub(super) standing: Standing,
    queue: Lanes,
    /// Pages that wait for room in the window.
    waiting: VecDeque<Waiting>,
    watermark: Watermark<Mark>,
    /// Safe and not stored yet.
    passed: Option<Passed>,
    /// Changes that were let through the window and are not stored.
    open: usize,
    /// Bytes.
    held: usize,
    spool: Arc<Spool>,
    stored: Position,
    checkpointing: bool,
    checkpointed: Instant,
    /// When it last took a page, or one of its changes became safe or was recorded.
    moved: Instant,
    /// The last page that was taken in: whoever reads for this sink goes on behind it.
    accepted: Position,
    /// When the oldest change of the last page was committed, in seconds since the epoch.
    accepted_at: Option<i64>,
    /// That page told that nothing is newer.
    pub(super) at_head: bool,
    /// What waits is for the next start.
    abandoned: bool,
    pub(super) stop: WriteStop,
}

/// When a position has to be stored, beyond the usual interval.
#[derive(Clone, Copy)]
pub(super) struct Urgency {
    pub(super) interval: Duration,
    /// No page will come any more.
    pub(super) ending: bool,
    /// The reader's window is more than half used up.
    pub(super) pressed: bool,
}

impl Lane {
    /// `stored` is how far the sink has everything.
    pub(super) fn new(
        (sink, name): (usize, &str),
        grouping: Grouping,
        stored: Position,
        (spool, standing): (Arc<Spool>, Standing),
        stop: &CancellationToken,
    ) -> Self {
        Self {
            sink,
            name: name.to_owned(),
            standing,
            queue: Lanes::new(grouping),
            waiting: VecDeque::new(),
            watermark: Watermark::default(),
            passed: None,
            open: 0,
            held: 0,
            spool,
            accepted: stored.clone(),
            accepted_at: None,
            stored,
            checkpointing: false,
            checkpointed: Instant::now(),
            moved: Instant::now(),
            at_head: false,
            abandoned: false,
            stop: WriteStop::branch_of(stop),
        }
    }

    /// Takes a page in. It waits until [`Lane::open`] finds room for it.
    pub(super) fn take(&mut self, page: SinkPage) {
        self.moved = Instant::now();
        if let Some(slice) = &page.slice {
            self.accepted.clone_from(slice);
        }
        self.accepted_at = page.committed_at.or(self.accepted_at);
        let mut waiting = Waiting::new(page, &self.spool);
        self.held += waiting.mark.held();
        let newest = self.waiting.back_mut().map(|waiting| &mut waiting.mark);
        let is_absorbed = newest
            .or_else(|| self.watermark.newest_mut())
            .is_some_and(|newest| newest.absorb(&mut waiting.mark));
        if !is_absorbed {
            self.waiting.push_back(waiting);
        }
    }

    /// Lets the next page through the window, if it has room; one that is larger than the window
    /// goes alone. Returns the page's number and its letters, which are settled later.
    pub(super) fn open(&mut self, window: usize) -> Option<(u64, Vec<DeadLetter>)> {
        let changes = self.waiting.front()?.mark.changes;
        if self.abandoned || (self.open > 0 && self.open + changes > window) {
            return None;
        }
        let Waiting { mark, changes, letters } = self.waiting.pop_front()?;
        self.open += mark.changes;
        let page = self.watermark.open(mark.changes, mark);
        for placed in changes {
            self.queue.push(page, placed);
        }
        Some((page, letters))
    }

    /// The next changes to be written together, if any may be written now.
    pub(super) fn next_unit(&mut self, limits: Limits) -> Option<Unit> {
        if self.abandoned { None } else { self.queue.next_unit(limits) }
    }

    /// Every change of the unit is delivered or buried.
    pub(super) fn finish(&mut self, unit: &Unit) {
        self.queue.finish(unit);
        self.settle(&unit.pages);
    }

    /// One change of each of these pages is safe.
    pub(super) fn settle(&mut self, pages: &[u64]) {
        self.moved = Instant::now();
        for same in pages.chunk_by(|a, b| a == b) {
            if let Some(mark) = self.watermark.page_mut(same[0]) {
                self.held -= mark.settle(same.len());
            }
            for page in same {
                self.watermark.settle(*page);
            }
        }
    }

    /// Moves pages that are wholly safe from "on their way" to "to be stored".
    pub(super) fn pass(&mut self) {
        while let Some(mark) = self.watermark.pass() {
            self.held -= mark.held();
            mark.pass_to(&mut self.passed);
        }
    }

    /// The position to store now, if it is time.
    pub(super) fn begin_checkpoint(&mut self, urgency: Urgency) -> Option<Checkpoint> {
        let passed = self.passed.as_ref()?;
        let since = self.checkpointed.elapsed();
        let pressed = urgency.pressed || !self.waiting.is_empty();
        let due = urgency.ending
            || self.stored.etag.is_none()
            || since >= IDLE_CHECKPOINT
            || (passed.read > 0 && (pressed || self.at_head || since >= urgency.interval));
        if !due || self.checkpointing {
            return None;
        }
        self.checkpointing = true;
        self.passed.take().map(Checkpoint::from)
    }

    pub(super) fn end_checkpoint(&mut self, stored: Checkpoint) {
        self.open -= stored.changes;
        stored.holds.iter().for_each(|hold| hold.stored());
        self.stored = stored.slice;
        self.checkpointing = false;
        self.checkpointed = Instant::now();
        self.moved = self.checkpointed;
    }

    /// Up to which log sequence number it was given everything, if that is more than whoever reads
    /// from `shared` on has read.
    pub(super) fn ahead_of(&self, shared: &Position) -> Option<i64> {
        let accepted = self.accepted.lsn()?;
        let is_ahead = match &shared.etag {
            None => true,
            Some(_) => shared.lsn().is_some_and(|shared| accepted > shared),
        };
        is_ahead.then_some(accepted)
    }

    /// Whether a page of so many bytes would be too much for what this sink may hold.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        !self.spool.has_room(bytes)
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    pub(super) fn accepted(&self) -> &Position {
        &self.accepted
    }

    pub(super) fn stored(&self) -> &Position {
        &self.stored
    }

    /// How far it is, for those who watch.
    pub(super) fn reach(&self) -> SinkProgress {
        let waiting = || self.waiting.front().map(|waiting| &waiting.mark);
        let oldest = self.watermark.oldest().or_else(waiting);
        SinkProgress {
            has_all: self.is_caught_up(),
            is_parked: self.standing.is_parked(),
            oldest: oldest.and_then(|mark| mark.committed_at),
            accepted: self.accepted_at,
            stored_lsn: self.stored.lsn(),
            stored: Some(self.checkpointed),
            moved: Some(self.moved),
        }
    }

    /// Nothing waits for this sink.
    pub(super) fn is_delivered(&self) -> bool {
        self.waiting.is_empty() && self.queue.is_idle() && self.watermark.is_empty()
    }

    /// Nothing waits to be stored either, but for a position that moved without any change.
    pub(super) fn is_safe(&self) -> bool {
        self.is_delivered()
            && !self.checkpointing
            && self.passed.as_ref().is_none_or(|passed| passed.read == 0)
    }

    /// It has everything that there is, and follows the shared reader.
    pub(super) fn is_caught_up(&self) -> bool {
        self.standing.is_attached() && self.at_head && self.is_safe()
    }

    /// When no task is under way: everything is delivered and stored, or left to the next start and
    /// stored as far as it is.
    pub(super) fn is_settled(&self) -> bool {
        // Without a task that stores it, a position is left to the next start.
        let is_stored = self.passed.is_none() || self.checkpointing;
        is_stored && (self.abandoned || self.is_delivered())
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Lets the reader that all sinks share go on, as if this one had everything that it was given.
    pub(super) fn free_reader(&self) {
        let waiting = self.waiting.iter().map(|waiting| &waiting.mark);
        waiting.chain(self.watermark.pages()).for_each(Mark::free_reader);
    }

    /// Forgets what was not let through the window yet; whoever reads next reads it again.
    pub(super) fn forget_waiting(&mut self) {
        for waiting in self.waiting.drain(..) {
            self.held -= waiting.mark.held();
            self.at_head = false;
        }
    }

    /// Offers nothing more. What is being written ends, and is not offered again.
    pub(super) fn abandon(&mut self) {
        self.forget_waiting();
        self.abandoned = true;
        self.stop.abandon();
    }
}
