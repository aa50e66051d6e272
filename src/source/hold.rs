//! What a page holds of the limits while it is on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pipeline::READ_AHEAD_UNIT;
use crate::config::SlowSinks;
use crate::observe::PipelineSinkMetrics;

/// Of a change whatever its document: its id, key and origin. Deletes often have nothing else.
pub(super) const CHANGE_BYTES: usize = 512;

/// What a page holds of its reader's window and read-ahead, shared by the sinks it goes to.
///
/// The sink that is first done with a page frees what the page holds, so that reading goes at the
/// pace of the fastest; with [`SlowSinks::HoldAll`] the last.
pub(super) struct Hold {
    slow: SlowSinks,
    window: Mutex<Option<OwnedSemaphorePermit>>,
    memory: Mutex<Memory>,
}

struct Memory {
    permit: Option<OwnedSemaphorePermit>,
    /// Permits at first, and how many of them are back.
    whole: usize,
    freed: usize,
    /// Changes, counted once for each sink; and how many of them are safe.
    changes: usize,
    safe: usize,
}

impl Hold {
    /// Of a page with so many changes, counted once for each sink.
    pub(super) fn new(
        slow: SlowSinks,
        window: Option<OwnedSemaphorePermit>,
        memory: Option<OwnedSemaphorePermit>,
        changes: usize,
    ) -> Self {
        let whole = memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let memory = Memory { permit: memory, whole, freed: 0, changes, safe: 0 };
        Self { slow, window: Mutex::new(window), memory: Mutex::new(memory) }
    }

    /// One sink has `safe` of its `of` changes, `more` of them just now. Memory is freed change by
    /// change: reading would otherwise stand still until the last one of a page is written.
    pub(super) fn settled(&self, safe: usize, of: usize, more: usize) {
        let mut memory = self.memory.lock();
        memory.safe += more;
        let (safe, of) = match self.slow {
            SlowSinks::FallBehind => (safe, of),
            SlowSinks::HoldAll => (memory.safe, memory.changes),
        };
        let free = if safe >= of { memory.whole } else { memory.whole * safe / of };
        let more = free.saturating_sub(memory.freed);
        memory.freed += more;
        drop(memory.permit.as_mut().and_then(|permit| permit.split(more)));
    }

    /// One sink's position is stored behind the page.
    pub(super) fn stored(&self) {
        if self.slow == SlowSinks::FallBehind {
            self.window.lock().take();
        }
    }

    /// One sink had the page before it came, or needs what comes after it.
    pub(super) fn passed_by(&self) {
        self.settled(0, 0, 0);
        self.stored();
    }

    /// Whether reading waits for the page, or will.
    pub(super) fn is_held(&self) -> bool {
        let memory = self.memory.lock();
        let memory = memory.permit.as_ref().is_some_and(|permit| permit.num_permits() > 0);
        memory || self.window.lock().is_some()
    }
}

/// What one sink holds in memory, over all feed ranges of a pipeline.
pub struct Spool {
    /// Of pages that come to all sinks.
    limit: usize,
    /// Of such pages, and of those that were read for this sink alone.
    shared: AtomicUsize,
    alone: AtomicUsize,
    /// For those, in units of [`READ_AHEAD_UNIT`] bytes.
    own: Arc<Semaphore>,
    own_permits: u32,
    /// Bytes that were given back so far.
    freed: AtomicUsize,
    meter: Arc<PipelineSinkMetrics>,
}

impl Spool {
    /// A quarter is set aside for what is read for this sink alone: whoever reads again would
    /// otherwise push out the feed ranges that have caught up.
    pub fn new(bytes: usize, meter: Arc<PipelineSinkMetrics>) -> Self {
        let own = (bytes / 4).div_ceil(READ_AHEAD_UNIT).max(1);
        meter.set_buffer_limit(bytes);
        Self {
            limit: bytes - bytes / 4,
            shared: AtomicUsize::new(0),
            alone: AtomicUsize::new(0),
            own: Arc::new(Semaphore::new(own)),
            own_permits: u32::try_from(own).unwrap_or(u32::MAX),
            freed: AtomicUsize::new(0),
            meter,
        }
    }

    /// Whether there is room for a page that comes to all sinks. One that is larger than all there
    /// is goes alone.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let shared = self.shared.load(Relaxed);
        shared == 0 || shared + bytes <= self.limit
    }

    /// Whether there is room for some time.
    pub(super) fn is_half_empty(&self) -> bool {
        self.shared.load(Relaxed) <= self.limit / 2
    }

    /// What a page that comes to all sinks is to have at most, in bytes: a sink that is as fast as
    /// the others does not fall behind because of a few.
    pub(super) fn shared_page(&self) -> usize {
        self.limit / 4
    }

    /// What a page that is read for this sink alone is to have at most, in bytes: one is read while
    /// another is written.
    pub(super) fn own_page(&self) -> usize {
        self.own_permits as usize * READ_AHEAD_UNIT / 2
    }

    /// All that it is for.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.meter.buffer_limit()
    }

    pub(super) fn own(&self) -> (Arc<Semaphore>, u32) {
        (Arc::clone(&self.own), self.own_permits)
    }

    /// Bytes that were given back so far, of whatever range: it grows while the sink gets on.
    pub(super) fn freed(&self) -> usize {
        self.freed.load(Relaxed)
    }

    pub(super) fn meter(&self) -> &PipelineSinkMetrics {
        &self.meter
    }

    /// Counts bytes until they are given back.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize, alone: bool) -> Spooled {
        let spooled = Spooled { spool: Arc::clone(self), bytes, alone };
        spooled.counter().fetch_add(bytes, Relaxed);
        self.note();
        spooled
    }

    fn note(&self) {
        self.meter.set_buffered(self.shared.load(Relaxed) + self.alone.load(Relaxed));
    }
}

/// Bytes of one page that one sink holds.
pub(super) struct Spooled {
    spool: Arc<Spool>,
    bytes: usize,
    pub(super) alone: bool,
}

impl Spooled {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back all but this.
    pub(super) fn keep(&mut self, bytes: usize) {
        let spare = self.bytes.saturating_sub(bytes);
        self.bytes -= spare;
        self.counter().fetch_sub(spare, Relaxed);
        self.spool.freed.fetch_add(spare, Relaxed);
        self.spool.note();
    }

    fn counter(&self) -> &AtomicUsize {
        if self.alone { &self.spool.alone } else { &self.spool.shared }
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        self.keep(0);
    }
}
