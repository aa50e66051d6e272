//! The memory and the window of a reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cosmos::Page;
use crate::source::sink_buffer::READ_AHEAD_UNIT;

/// The largest page of the service, except for one large transaction. Reserved for a page of unknown
/// size: many feed ranges of large documents do not all start immediately.
const LARGEST_PAGE: usize = 4 * 1024 * 1024;

/// What a reader may hold: memory over all readers that share it, and the changes of its window.
#[derive(Clone)]
pub(in crate::source) struct Room {
    pub(in crate::source) memory: Arc<Semaphore>,
    pub(in crate::source) memory_permits: u32,
    pub(in crate::source) window: Arc<Semaphore>,
    /// The largest page to ask for, in bytes, so that several fit.
    pub(in crate::source) page: usize,
    /// What a change of this range takes, in bytes, judged by the last page; 0 before the first.
    pub(in crate::source) change: Arc<AtomicUsize>,
}

impl Room {
    /// How many changes a page may have.
    pub(super) fn fitting(&self) -> usize {
        match self.change.load(Relaxed) {
            0 => usize::MAX,
            change => (self.page / change).max(1),
        }
    }

    /// What to reserve for the first page, in bytes.
    pub(super) fn first(&self) -> usize {
        if self.change.load(Relaxed) == 0 { LARGEST_PAGE } else { self.page.min(LARGEST_PAGE) }
    }

    pub(super) fn judge_by(&self, page: &Page) {
        if let Some(change) = page.bytes.checked_div(page.changes.len() + page.left_out) {
            self.change.store(change, Relaxed);
        }
    }

    pub(super) async fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = permits(bytes).min(self.memory_permits);
        Arc::clone(&self.memory).acquire_many_owned(permits).await.ok()
    }

    /// Gives back what was reserved too much. What a page holds beyond its reservation is taken as far
    /// as it is available, and not waited for: the page is in memory already.
    pub(super) fn adjust(
        &self,
        mut reserved: OwnedSemaphorePermit,
        bytes: usize,
    ) -> Option<OwnedSemaphorePermit> {
        let wanted = if bytes == 0 { 0 } else { permits(bytes) as usize };
        let spare = reserved.num_permits().saturating_sub(wanted);
        drop(reserved.split(spare));
        let missing = wanted - reserved.num_permits();
        let missing = missing.min(self.memory.available_permits());
        let more = u32::try_from(missing)
            .ok()
            .and_then(|missing| Arc::clone(&self.memory).try_acquire_many_owned(missing).ok());
        if let Some(more) = more {
            reserved.merge(more);
        }
        (reserved.num_permits() > 0).then_some(reserved)
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(READ_AHEAD_UNIT)).unwrap_or(u32::MAX)
}
