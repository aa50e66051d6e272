//! What one sink may hold in memory, over all feed ranges of a pipeline.

use std::sync::Arc;

use cosmos_bridge_sink::Limits;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;

use crate::observe::PipelineSinkMetrics;

/// Bytes per permit of the memory for pages, so that any sensible limit fits the semaphore.
pub(super) const READ_AHEAD_UNIT: usize = 1024;

/// Of a change, regardless of its document: its id, key and origin. Deletes often have nothing else.
pub(super) const CHANGE_BYTES: usize = 512;

/// What a page of `bytes` with `read` changes takes in the buffer of a sink that gets `count` of them.
pub(super) fn buffered_bytes(bytes: usize, read: usize, count: usize) -> usize {
    (bytes / read.max(1) + CHANGE_BYTES) * count
}

/// What one sink holds in memory, over all feed ranges of a pipeline, and its limits.
pub(super) struct SinkBuffer {
    /// Of pages of shared readers.
    limit: usize,
    in_use: Mutex<InUse>,
    /// For pages that are read for this sink alone, in units of [`READ_AHEAD_UNIT`] bytes.
    own: Arc<Semaphore>,
    own_permits: u32,
    meter: Arc<PipelineSinkMetrics>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct InUse {
    shared: usize,
    own: usize,
    freed: u64,
    reserved: usize,
}

/// One consistent look at a [`SinkBuffer`]; what a feed range decides on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BufferView {
    /// Of pages of shared readers, in bytes.
    pub(super) limit: usize,
    pub(super) in_use: usize,
    /// Bytes that were given back so far, in any range: it grows while the sink makes progress.
    pub(super) freed: u64,
    /// Bytes of pages that wait, of feed ranges that hold nothing.
    pub(super) reserved: usize,
}

/// What a feed range sees of one sink at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct SinkView {
    /// What one write may hold.
    pub(super) limits: Limits,
    /// Its writes fail, and not only the last one.
    pub(super) is_failing: bool,
    pub(super) buffer: BufferView,
}

impl BufferView {
    /// Whether there is room for a page of a shared reader. A page larger than the whole buffer is
    /// admitted only when the buffer is empty.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.in_use == 0 || self.in_use + bytes <= self.limit
    }

    /// Whether there is room for a page of a feed range that holds pages already: those that hold none come first,
    /// or the range that happens to look at the right moment would take all that is freed.
    pub(super) fn has_room_for_more(&self, bytes: usize) -> bool {
        self.in_use + self.reserved + bytes <= self.limit
    }

    /// Whether there is room for some time.
    pub(super) fn is_half_empty(&self) -> bool {
        self.in_use <= self.limit / 2
    }
}

impl SinkBuffer {
    /// A quarter is set aside for pages that are read for this sink alone: a feed range that catches up
    /// would otherwise push out the feed ranges that have caught up.
    pub(super) fn new(bytes: usize, meter: Arc<PipelineSinkMetrics>) -> Self {
        let own = (bytes / 4).div_ceil(READ_AHEAD_UNIT).max(1);
        meter.set_buffer_limit(bytes);
        Self {
            limit: bytes - bytes / 4,
            in_use: Mutex::default(),
            own: Arc::new(Semaphore::new(own)),
            own_permits: u32::try_from(own).unwrap_or(u32::MAX),
            meter,
        }
    }

    /// The largest page of a shared reader, in bytes: a sink that is as fast as the others does not
    /// fall behind because of a few pages.
    pub(super) fn shared_page(&self) -> usize {
        self.limit / 4
    }

    /// The largest page that is read for this sink alone, in bytes: one is read while another is
    /// written.
    pub(super) fn own_page(&self) -> usize {
        self.own_permits as usize * READ_AHEAD_UNIT / 2
    }

    /// The whole buffer.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.meter.buffer_limit()
    }

    pub(super) fn own(&self) -> (Arc<Semaphore>, u32) {
        (Arc::clone(&self.own), self.own_permits)
    }

    pub(super) fn meter(&self) -> &PipelineSinkMetrics {
        &self.meter
    }

    pub(super) fn view(&self) -> BufferView {
        let InUse { shared, freed, reserved, .. } = *self.lock();
        BufferView { limit: self.limit, in_use: shared, freed, reserved }
    }

    fn lock(&self) -> MutexGuard<'_, InUse> {
        self.in_use.lock()
    }
}

/// What one feed range holds of a [`SinkBuffer`]; gives it back when dropped.
pub(super) struct BufferShare {
    buffer: Arc<SinkBuffer>,
    held: Held,
}

impl BufferShare {
    pub(super) fn new(buffer: Arc<SinkBuffer>) -> Self {
        Self { buffer, held: Held::default() }
    }

    /// Makes the buffer count what the feed range holds now.
    pub(super) fn sync(&mut self, held: Held) {
        if held == self.held {
            return;
        }
        let mut in_use = self.buffer.lock();
        in_use.shared = in_use.shared - self.held.shared + held.shared;
        in_use.own = in_use.own - self.held.own + held.own;
        in_use.freed += held.freed - self.held.freed;
        in_use.reserved = in_use.reserved - self.held.reserved + held.reserved;
        self.buffer.meter.set_buffered(in_use.shared + in_use.own);
        drop(in_use);
        self.held = held;
    }
}

impl Drop for BufferShare {
    fn drop(&mut self) {
        let Held { shared, own, freed, .. } = self.held;
        self.sync(Held { freed: freed + (shared + own) as u64, ..Held::default() });
    }
}

/// What one feed range holds of one sink's buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Of pages of the shared reader, and of the sink's own reader, in bytes.
    pub(super) shared: usize,
    pub(super) own: usize,
    /// Given back so far.
    pub(super) freed: u64,
    /// Wanted for a page that waits, if this feed range holds nothing.
    pub(super) reserved: usize,
}

/// A feed range's account of one sink's buffer. A plain value: the last look at the buffer, corrected by
/// what this range did since.
#[derive(Clone, Copy, Debug)]
pub(super) struct CursorBuffer {
    pub(super) view: BufferView,
    held: Held,
}

impl CursorBuffer {
    pub(super) fn new(view: BufferView) -> Self {
        Self { view, held: Held::default() }
    }

    pub(super) fn hold(&mut self, bytes: usize, is_own: bool) {
        if is_own {
            self.held.own += bytes;
        } else {
            self.held.shared += bytes;
            self.view.in_use += bytes;
        }
    }

    pub(super) fn release(&mut self, bytes: usize, is_own: bool) {
        if is_own {
            self.held.own -= bytes;
        } else {
            self.held.shared -= bytes;
            self.view.in_use = self.view.in_use.saturating_sub(bytes);
        }
        self.held.freed += bytes as u64;
        self.view.freed += bytes as u64;
    }

    /// Asks the other feed ranges to leave room for a page that waits, if this one holds none; 0 takes it back.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.held.reserved = if self.bytes() == 0 { bytes } else { 0 };
    }

    pub(super) fn held(&self) -> Held {
        self.held
    }

    /// Bytes of this range.
    pub(super) fn bytes(&self) -> usize {
        self.held.shared + self.held.own
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};
    use std::thread;

    use cosmos_bridge_corpus::Random;

    use super::{BufferShare, BufferView, CursorBuffer, SinkBuffer};
    use crate::observe::PipelineSinkMetrics;

    #[test]
    fn a_page_has_room_if_it_fits_or_nothing_is_in_use() {
        let view = |in_use, reserved| BufferView { limit: 100, in_use, freed: 0, reserved };
        // Rows: in use, reserved, the page; whether there is room, and for a range that holds pages.
        for (in_use, reserved, bytes, has_room, has_room_for_more) in [
            (0, 0, 100, true, true),
            (0, 0, 101, true, false),
            (1, 0, 99, true, true),
            (1, 0, 100, false, false),
            (1, 1, 99, true, false),
            (1, 1, 98, true, true),
            (100, 0, 0, true, true),
            (100, 0, 1, false, false),
        ] {
            let view = view(in_use, reserved);
            let found = (view.has_room(bytes), view.has_room_for_more(bytes));
            assert_eq!(found, (has_room, has_room_for_more), "{view:?} {bytes}");
        }
    }

    /// Feed ranges, each on its own thread, and what each does.
    const RANGES: usize = 4;
    const STEPS: usize = 20_000;

    /// What a look accounts for. A page moves from the one number to the other when it is given back, so
    /// the sum never falls; numbers of two moments count a page twice or not at all.
    fn accounted(view: BufferView) -> u64 {
        view.in_use as u64 + view.freed
    }

    /// One feed range that holds pages, gives them back, and looks at what all ranges hold. Returns what it
    /// has given back, and its last look.
    fn hold_and_release(buffer: &Arc<SinkBuffer>, seed: u64) -> (u64, BufferView) {
        let mut random = Random::new(seed);
        let mut share = BufferShare::new(Arc::clone(buffer));
        let (mut held, mut last) = (Vec::new(), buffer.view());
        let mut cursor = CursorBuffer::new(last);
        for _ in 0..STEPS {
            if held.len() < 3 && random.below(2) == 0 {
                held.push((1 + random.below(1000), random.below(4) == 0));
                let (bytes, is_own) = held[held.len() - 1];
                cursor.hold(bytes, is_own);
            } else if let Some((bytes, is_own)) = held.pop() {
                cursor.release(bytes, is_own);
            }
            share.sync(cursor.held());
            // Between two looks in a row, other ranges hardly take enough to hide a page that counted twice.
            for view in [buffer.view(), buffer.view()] {
                assert!(accounted(view) >= accounted(last), "{last:?}, then {view:?}");
                assert!(view.in_use >= cursor.held().shared, "{view:?}, {:?}", cursor.held());
                last = view;
            }
        }
        (cursor.held().freed + cursor.bytes() as u64, last)
    }

    /// What fills a buffer at one look is freed later: the number of freed bytes grows beyond that look. With
    /// numbers of two moments, a range that found the buffer full could wait for what was freed already.
    #[test]
    fn what_is_in_use_at_one_look_is_freed_after_it() {
        let metrics = Arc::new(PipelineSinkMetrics::new("orders", "archive"));
        let buffer = Arc::new(SinkBuffer::new(1 << 20, metrics));
        let start = Arc::new(Barrier::new(RANGES));
        let ranges = (0..RANGES as u64).map(|seed| {
            let (buffer, start) = (Arc::clone(&buffer), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                hold_and_release(&buffer, seed)
            })
        });
        let ranges: Vec<_> = ranges.collect();
        let ended: Vec<_> = ranges.into_iter().map(|range| range.join().unwrap()).collect();
        let view = buffer.view();
        assert_eq!(view.in_use, 0, "{view:?}");
        assert_eq!(view.freed, ended.iter().map(|(freed, _)| freed).sum::<u64>());
        for (_, last) in ended {
            assert!(accounted(last) <= view.freed, "{last:?}: {view:?}");
        }
    }
}
