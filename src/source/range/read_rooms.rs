//! The room that pages of a range's readers hold, as permits: what the state machine counts.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::shared_pages::ReadRoom;
use crate::source::reader::{PagePermits, ReaderId};

fn room_of(page: &PagePermits) -> ReadRoom {
    let count = |permit: &Option<OwnedSemaphorePermit>| {
        permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    };
    ReadRoom { memory: count(&page.memory), window: count(&page.window) }
}

/// Holds the permits of all pages that the state machine has, and frees as many as it says. Whatever
/// is left is freed when the range ends.
pub(super) struct ReadRooms {
    shared: Pool,
    /// By sink.
    own: Vec<Pool>,
}

struct Pool {
    /// The window of the sink's current reader, by the reader's number; one window for all shared
    /// readers.
    number: u64,
    window: Arc<Semaphore>,
    held: PagePermits,
}

impl ReadRooms {
    /// Each reader has room for `window` changes.
    pub(super) fn new(sinks: usize, window: usize) -> Self {
        let pool = || Pool {
            number: 0,
            window: Arc::new(Semaphore::new(window)),
            held: PagePermits::default(),
        };
        Self { shared: pool(), own: (0..sinks).map(|_| pool()).collect() }
    }

    /// The window of a reader that starts. A sink's own reader gets a new one: what pages of its earlier
    /// reader hold does not count.
    pub(super) fn window(&mut self, reader: ReaderId, window: usize) -> Arc<Semaphore> {
        let pool = match reader {
            ReaderId::Shared { .. } => &mut self.shared,
            ReaderId::Own { sink, number } => {
                let pool = &mut self.own[sink];
                pool.number = number;
                pool.window = Arc::new(Semaphore::new(window));
                pool.held.window = None;
                pool
            }
        };
        Arc::clone(&pool.window)
    }

    /// Takes the permits of a page; returns what they are worth.
    pub(super) fn take(&mut self, reader: ReaderId, page: PagePermits) -> ReadRoom {
        let room = room_of(&page);
        let is_current = self.is_current(reader);
        let pool = self.pool(reader);
        merge(&mut pool.held.memory, page.memory);
        if is_current {
            merge(&mut pool.held.window, page.window);
        }
        room
    }

    pub(super) fn free(&mut self, reader: ReaderId, room: ReadRoom) {
        let is_current = self.is_current(reader);
        let pool = self.pool(reader);
        split(&mut pool.held.memory, room.memory);
        if is_current {
            split(&mut pool.held.window, room.window);
        }
    }

    fn is_current(&self, reader: ReaderId) -> bool {
        match reader {
            ReaderId::Shared { .. } => true,
            ReaderId::Own { sink, number } => self.own[sink].number == number,
        }
    }

    fn pool(&mut self, reader: ReaderId) -> &mut Pool {
        match reader {
            ReaderId::Shared { .. } => &mut self.shared,
            ReaderId::Own { sink, .. } => &mut self.own[sink],
        }
    }
}

fn merge(held: &mut Option<OwnedSemaphorePermit>, more: Option<OwnedSemaphorePermit>) {
    match (held.as_mut(), more) {
        (Some(held), Some(more)) => held.merge(more),
        (None, more) => *held = more,
        (Some(_), None) => {}
    }
}

fn split(held: &mut Option<OwnedSemaphorePermit>, count: usize) {
    let freed = held.as_mut().and_then(|held| held.split(count));
    debug_assert!(count == 0 || freed.is_some(), "more room is freed than was taken");
    drop(freed);
}
