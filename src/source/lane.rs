//! One sink of one feed range: what waits for it, and how far everything is safe in it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cosmos_bridge_sink::{Change, Grouping};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Slice;
use crate::cosmos::PartitionId;
use crate::deliver::{Lanes, Unit, Watermark};

/// How often a position that moved without any change is stored.
const IDLE_CHECKPOINT: Duration = Duration::from_mins(1);

/// What a page holds of the window, shared by the sinks it goes to.
pub(super) type Hold = Arc<Option<OwnedSemaphorePermit>>;

/// What a page holds of the read-ahead, shared by the sinks it goes to.
///
/// Every change that is safe gives its share back, because its memory is free by then: reading
/// would otherwise stand still until the last change of a page is written.
pub(super) struct Memory {
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    share: usize,
}

impl Memory {
    /// Of a page with so many changes, counted once for each sink.
    pub(super) fn new(permit: Option<OwnedSemaphorePermit>, changes: usize) -> Self {
        let held = permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        Self { permit: Mutex::new(permit), share: held / changes.max(1) }
    }

    fn give_back(&self, changes: usize) {
        let mut permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        drop(permit.as_mut().and_then(|permit| permit.split(self.share * changes)));
    }
}

/// One sink of one feed range.
pub(super) struct Lane {
    pub(super) sink: usize,
    pub(super) name: String,
    pub(super) queue: Lanes,
    watermark: Watermark<Mark>,
    /// Safe and not stored yet.
    passed: Option<Passed>,
    /// What is stored, to skip what this sink has already.
    stored: Slice,
    checkpointing: bool,
    checkpointed: Instant,
}

/// A page on its way.
pub(super) struct Mark {
    /// Where to resume once it is safe; `None` where the range was divided.
    pub(super) slice: Option<Slice>,
    /// Changes read.
    pub(super) changes: usize,
    pub(super) committed_at: Option<i64>,
    /// Freed when the position is stored.
    pub(super) window: Hold,
    /// Freed change by change; what is left, when the page is delivered.
    pub(super) memory: Arc<Memory>,
}

/// Pages that are safe in the sink, and whose position is not stored yet.
struct Passed {
    slice: Slice,
    changes: usize,
    windows: Vec<Hold>,
}

/// When a position has to be stored, beyond the usual interval.
#[derive(Clone, Copy)]
pub(super) struct Urgency {
    pub(super) interval: Duration,
    /// No page will come any more.
    pub(super) ending: bool,
    /// The window is more than half used up.
    pub(super) pressed: bool,
    /// There is nothing newer to wait for.
    pub(super) at_head: bool,
}

impl Lane {
    pub(super) fn new(sink: usize, name: &str, grouping: Grouping, stored: Slice) -> Self {
        Self {
            sink,
            name: name.to_owned(),
            queue: Lanes::new(grouping),
            watermark: Watermark::default(),
            passed: None,
            stored,
            checkpointing: false,
            checkpointed: Instant::now(),
        }
    }

    /// Takes a page in. `letters` of its changes go elsewhere and are settled later. Returns the
    /// page's number, or `None` if this sink has the page already.
    pub(super) fn accept(
        &mut self,
        mark: Mark,
        changes: Vec<(PartitionId, Change)>,
        letters: usize,
    ) -> Option<u64> {
        // Another sink of this range was behind, and so the page was read again.
        let known = mark.slice.as_ref().is_some_and(|slice| self.has(slice));
        let outstanding = if known { 0 } else { changes.len() + letters };
        let page = self.watermark.open(outstanding, mark);
        if known {
            return None;
        }
        for (partition, change) in changes {
            self.queue.push(page, partition, change);
        }
        Some(page)
    }

    /// Every change of the unit is delivered or buried.
    pub(super) fn finish(&mut self, unit: &Unit) {
        self.queue.finish(unit);
        self.settle(&unit.pages);
    }

    /// One change of each of these pages is safe.
    pub(super) fn settle(&mut self, pages: &[u64]) {
        for same in pages.chunk_by(|a, b| a == b) {
            if let Some(mark) = self.watermark.page(same[0]) {
                mark.memory.give_back(same.len());
            }
            for page in same {
                self.watermark.settle(*page);
            }
        }
    }

    /// Moves pages that are wholly safe from "on their way" to "to be stored".
    pub(super) fn pass(&mut self) {
        while let Some(mark) = self.watermark.pass() {
            let Some(slice) = mark.slice else { continue };
            let passed = self.passed.get_or_insert_with(|| Passed {
                slice: slice.clone(),
                changes: 0,
                windows: Vec::new(),
            });
            passed.slice = slice;
            passed.changes += mark.changes;
            if mark.window.is_some() {
                passed.windows.push(mark.window);
            }
        }
    }

    /// The position to store now, if it is time, and what storing it frees of the window.
    pub(super) fn begin_checkpoint(&mut self, urgency: Urgency) -> Option<(Slice, Vec<Hold>)> {
        let passed = self.passed.as_ref()?;
        let since = self.checkpointed.elapsed();
        let due = urgency.ending
            || self.stored.etag.is_none()
            || since >= IDLE_CHECKPOINT
            || (passed.changes > 0
                && (urgency.pressed || urgency.at_head || since >= urgency.interval));
        if !due || self.checkpointing {
            return None;
        }
        self.checkpointing = true;
        self.passed.take().map(|passed| (passed.slice, passed.windows))
    }

    pub(super) fn end_checkpoint(&mut self, stored: Slice) {
        self.stored = stored;
        self.checkpointing = false;
        self.checkpointed = Instant::now();
    }

    /// Whether everything up to this slice is stored for this sink.
    fn has(&self, slice: &Slice) -> bool {
        matches!((self.stored.lsn(), slice.lsn()), (Some(stored), Some(here)) if here <= stored)
    }

    pub(super) fn stored_lsn(&self) -> Option<i64> {
        self.stored.lsn()
    }

    /// When the oldest change that is not safe was committed, in seconds since the epoch.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.watermark.oldest()?.committed_at
    }

    /// Nothing waits for this sink.
    pub(super) fn is_delivered(&self) -> bool {
        self.queue.is_idle() && self.watermark.is_empty()
    }

    /// Nothing waits to be stored either, but for a position that moved without any change.
    pub(super) fn is_safe(&self) -> bool {
        self.is_delivered()
            && !self.checkpointing
            && self.passed.as_ref().is_none_or(|passed| passed.changes == 0)
    }

    pub(super) fn has_passed(&self) -> bool {
        self.passed.is_some()
    }
}
