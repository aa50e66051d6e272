//! One feed range: the state machine, and what its shell would own.

use std::collections::BTreeSet;

use super::reader::{Places, PlayedReader, lsn_of};
use crate::deliver::WriteBatch;
use crate::model::RangeProgress;
use crate::source::range::event::Checkpoint;
use crate::source::range::shared_pages::ReadRoom;
use crate::source::range::state::RangeState;
use crate::source::reader::ReaderId;
use crate::source::sink_buffer::Held;

pub(super) struct Machine {
    pub(super) number: u64,
    pub(super) places: Places,
    pub(super) state: RangeState,
    pub(super) readers: Vec<PlayedReader>,
    /// Pages of readers that were stopped, still on their way.
    pub(super) stale: Vec<(ReaderId, super::reader::Pending)>,
    pub(super) writes: Vec<(usize, WriteBatch)>,
    pub(super) letters: Vec<(usize, Vec<u64>, Vec<i64>)>,
    pub(super) storing: Option<Vec<Checkpoint>>,
    /// By sink: its writes are cancelled.
    pub(super) abandoned: Vec<bool>,
    /// By sink: writes of earlier ranges that it waits for.
    pub(super) waits_for: Vec<BTreeSet<u64>>,
    /// What this range holds of each sink's buffer.
    pub(super) held: Vec<Held>,
    /// What its pages hold of the room of its shared reader, and by sink of own readers.
    pub(super) shared_room: ReadRoom,
    pub(super) own_memory: Vec<usize>,
    /// Changes of the shared reader's window, over all shared readers.
    pub(super) stop_asked: bool,
    /// Where the service divides it.
    pub(super) cut: Option<usize>,
    /// LSN of the end of the feed when the shared reader was last answered that nothing is newer.
    pub(super) head: i64,
    /// By sink: LSNs that were given to its sink and are not stored.
    pub(super) given: Vec<BTreeSet<i64>>,
    pub(super) shared_is_paused: bool,
}

impl Machine {
    pub(super) fn new(number: u64, places: Places, state: RangeState, sinks: usize) -> Self {
        Self {
            number,
            places,
            state,
            readers: Vec::new(),
            stale: Vec::new(),
            writes: Vec::new(),
            letters: Vec::new(),
            storing: None,
            abandoned: vec![false; sinks],
            waits_for: vec![BTreeSet::new(); sinks],
            held: vec![Held::default(); sinks],
            shared_room: ReadRoom::default(),
            own_memory: vec![0; sinks],
            stop_asked: false,
            cut: None,
            head: 0,
            given: vec![BTreeSet::new(); sinks],
            shared_is_paused: false,
        }
    }

    pub(super) fn reader(&mut self, id: ReaderId) -> Option<&mut PlayedReader> {
        self.readers.iter_mut().find(|reader| reader.id == id)
    }

    /// The part of a reader's window that pages hold.
    pub(super) fn window_of(&self, id: ReaderId) -> usize {
        match id {
            ReaderId::Shared { .. } => self.shared_room.window,
            ReaderId::Own { .. } => {
                self.readers.iter().find(|r| r.id == id).map_or(0, |reader| reader.window)
            }
        }
    }

    /// A page came to the state machine with this room.
    pub(super) fn takes(&mut self, id: ReaderId, room: ReadRoom) {
        match id {
            ReaderId::Shared { .. } => {
                self.shared_room.memory += room.memory;
                self.shared_room.window += room.window;
            }
            ReaderId::Own { sink, .. } => {
                self.own_memory[sink] += room.memory;
                if let Some(reader) = self.reader(id) {
                    reader.window += room.window;
                }
            }
        }
    }

    /// The state machine hands this room back.
    pub(super) fn frees(&mut self, id: ReaderId, room: ReadRoom) -> Result<(), String> {
        let too_much = || format!("more room is freed than was taken: {id:?} {room:?}");
        match id {
            ReaderId::Shared { .. } => {
                let ReadRoom { memory, window } = &mut self.shared_room;
                *memory = memory.checked_sub(room.memory).ok_or_else(too_much)?;
                *window = window.checked_sub(room.window).ok_or_else(too_much)?;
            }
            ReaderId::Own { sink, .. } => {
                let memory = self.own_memory[sink].checked_sub(room.memory);
                self.own_memory[sink] = memory.ok_or_else(too_much)?;
                if let Some(reader) = self.reader(id) {
                    reader.window = reader.window.checked_sub(room.window).ok_or_else(too_much)?;
                }
            }
        }
        Ok(())
    }

    /// Nothing is under way: no page, change or position holds anything.
    pub(super) fn check_empty(&self, window: usize) -> Result<(), String> {
        let none = ReadRoom::default();
        let is_empty = self.shared_room == none && self.own_memory.iter().all(|m| *m == 0);
        if !is_empty || self.held.iter().any(|held| held.shared + held.own > 0) {
            let Self { shared_room, own_memory, held, .. } = self;
            return Err(format!(
                "room is lost: {shared_room:?} own {own_memory:?} buffers {held:?} window {window}"
            ));
        }
        Ok(())
    }

    pub(super) fn report(&self) -> RangeProgress {
        let mut progress = RangeProgress::default();
        self.state.report(&mut progress);
        progress
    }

    pub(super) fn stores(&mut self, stored: &[Checkpoint]) {
        for Checkpoint { sink, position, .. } in stored {
            let lsn = lsn_of(position);
            self.given[*sink].retain(|given| *given > lsn);
        }
    }
}
