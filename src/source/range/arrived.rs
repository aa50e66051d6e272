//! Pages of the shared reader that have arrived and were not taken yet.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::shared_pages::ReadRoom;
use crate::source::routed::RoutedPage;

/// Pages that have arrived and were not taken, in their order.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    pub(super) pages: VecDeque<Arrival>,
    /// When the first of them is looked at again, if it waits for a sink.
    pub(super) look_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) page: RoutedPage,
    pub(super) room: ReadRoom,
    /// By sink: whether the wait for it was logged.
    pub(super) is_told: Vec<bool>,
}

impl Arrivals {
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// What they hold of the reader's room.
    pub(super) fn room(&self) -> ReadRoom {
        let mut all = ReadRoom::default();
        self.pages.iter().for_each(|arrival| all.add(arrival.room));
        all
    }
}
