//! The readers of a feed range: one for all sinks, and one for each that is behind.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::Worker;
use crate::model::Position;
use crate::source::lane::Lane;
use crate::source::reader::{End, Reader, Room, Whose};
use crate::source::standing::{OwnReader, Standing};

impl Worker {
    /// Starts the reader that all sinks share.
    pub(super) fn read_for_all(&mut self) {
        let room = Room {
            memory: Arc::clone(&self.pipeline.read_ahead),
            memory_permits: self.pipeline.read_ahead_permits,
            window: Arc::clone(&self.window),
            page: self.pipeline.shared_page(),
            change: Arc::clone(&self.change),
        };
        self.epochs += 1;
        let epoch = self.epochs;
        let task = self.spawn_reader(Whose::Shared { epoch }, room, self.shared.clone());
        self.shared_reader = Some((epoch, task));
    }

    /// Ends the reader that all share, for a while: nobody has room for the page that it brought, of which
    /// each wants so many bytes.
    pub(super) fn rest(&mut self, wanted: Vec<usize>) {
        self.refused = wanted;
        if let Some((_, task)) = self.shared_reader.take() {
            task.abort();
        }
    }

    /// Reads on for all once a sink has room again or has caught up, or waits for a split.
    pub(super) fn wake(&mut self) {
        if self.shared_reader.is_some() || self.end.is_some() || !self.parts.is_empty() {
            return;
        }
        // For some time, and for that page at least, or it would be read again and again.
        let has_room = |(lane, refused): (&Lane, &usize)| {
            lane.standing.is_attached() && lane.spool().is_half_empty() && !lane.is_full(*refused)
        };
        let waits = |lane: &Lane| lane.standing.waits_for_split();
        if self.pipeline.stop.is_cancelled() {
            self.end_shared(End::Stopped);
        } else if self.lanes.iter().zip(&self.refused).any(has_room) || self.lanes.iter().any(waits)
        {
            self.read_for_all();
        }
    }

    /// Starts a reader for each sink that is behind and has shown that it is alive.
    pub(super) fn read_for_those_behind(&mut self) {
        if self.end.is_some() || !self.parts.is_empty() || self.pipeline.stop.is_cancelled() {
            return;
        }
        for number in 0..self.lanes.len() {
            let lane = &self.lanes[number];
            let Standing::Behind(behind) = lane.standing else { continue };
            if !behind.may_read(lane.held(), lane.spool().freed()) {
                continue;
            }
            self.epochs += 1;
            let epoch = self.epochs;
            let (memory, memory_permits) = lane.spool().own();
            let window = Arc::new(Semaphore::new(self.pipeline.window));
            let room = Room {
                memory,
                memory_permits,
                window: Arc::clone(&window),
                page: lane.spool().own_page(),
                change: Arc::clone(&self.change),
            };
            let from = lane.accepted().clone();
            let whose = Whose::Own { lane: number, epoch };
            let task = self.spawn_reader(whose, room, from);
            let lane = &mut self.lanes[number];
            lane.spool().meter().range_catching_up();
            lane.standing = Standing::CatchingUp(OwnReader { epoch, window, task });
        }
    }

    fn spawn_reader(&mut self, whose: Whose, room: Room, from: Position) -> AbortHandle {
        let feed = self.pipeline.feeds.feed(from, self.pipeline.start.clone());
        let reader = Reader {
            pipeline: Arc::clone(&self.pipeline),
            range: self.range.clone(),
            meter: Arc::clone(&self.meter),
            room,
            whose,
            reports: self.sender.clone(),
        };
        self.readers.spawn(reader.run(feed))
    }
}
