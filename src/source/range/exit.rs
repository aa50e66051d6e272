//! How reading ends: for one sink, for all, or in the parts of a divided range.

use std::time::Duration;

use cosmos_bridge_cosmos::Class;
use tokio::time::Instant;

use super::cursor::SinkCursor;
use super::cursor_state::CursorState;
use super::event::{Effect, Effects, Exit, Notice, Why};
use super::state::{RangeState, ReadingEnd, SharedReading};
use crate::config::SlowSinks;
use crate::cosmos::CosmosError;
use crate::model::Position;
use crate::state::Conflict;

/// How long a divided range waits for its other sinks once the first is done with it. They then go on in
/// the parts, each from its stored position, and what they hold is read again.
const SPLIT_GRACE: Duration = Duration::from_secs(5);

/// How long a replica or region may lag behind a stored position before the position is taken for one
/// that the feed does not have. Replicas lag by milliseconds, regions by seconds.
pub(super) const AHEAD_PATIENCE: Duration = Duration::from_secs(30);

impl RangeState {
    /// Parks the sinks that are ahead of what the service has, if that has been so for some time: after
    /// a restore, a failover that lost changes, or with positions of another container. To them
    /// every change would look old. `head` is the newest log sequence number of what answered. True if
    /// nothing is read any more.
    pub(super) fn park_ahead(
        &mut self,
        head: Option<i64>,
        now: Instant,
        effects: &mut Effects,
    ) -> bool {
        let Some(head) = head else { return false };
        let mut due = Vec::new();
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.state.is_following()) {
            if cursor.accepted().changes_after_lsn().is_none_or(|lsn| lsn <= head) {
                cursor.ahead_since = None;
                continue;
            }
            let since = *cursor.ahead_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= AHEAD_PATIENCE {
                due.push((cursor.sink, CosmosError::ahead(cursor.accepted(), head)));
            }
        }
        let is_other = |cursor: &SinkCursor| {
            let is_parked = cursor.state == CursorState::Parked;
            !is_parked && !due.iter().any(|(sink, _)| *sink == cursor.sink)
        };
        if !due.is_empty() && !self.cursors.iter().any(is_other) {
            let (_, fault) = due.swap_remove(0);
            self.stop_shared(effects);
            self.end_shared(ReadingEnd::Parked(fault), effects);
            return true;
        }
        for (sink, fault) in due {
            self.park(sink, fault, effects);
        }
        false
    }

    /// Reads nothing more for one sink.
    pub(super) fn park(&mut self, sink: usize, fault: CosmosError, effects: &mut Effects) {
        self.stop_own(sink, effects);
        let cursor = &mut self.cursors[sink];
        if cursor.state.is_following() {
            let (lsn, held) = (cursor.accepted().lsn(), cursor.held());
            effects.notice(Notice::FellBehind { sink, lsn, held, why: Why::Parked });
            cursor.free_reader(&mut self.pages);
        }
        cursor.state = CursorState::Parked;
        effects.notice(Notice::Parked { sink: Some(sink), fault: fault.clone() });
        self.parked = Some(fault);
    }

    /// Whether the range ends because of this, to copy again what exists.
    pub(super) fn resyncs(&self, fault: &CosmosError) -> bool {
        self.settings.resyncs && fault.is_lost_position()
    }

    /// Whether what is not delivered at this end is read again elsewhere: in the parts of a divided range, or where the
    /// range is read again because its history is lost.
    fn is_read_again(&self, end: &ReadingEnd) -> bool {
        match end {
            ReadingEnd::Divided(_) => true,
            ReadingEnd::Parked(fault) => self.resyncs(fault),
            ReadingEnd::Stopped | ReadingEnd::Lost(_) => false,
        }
    }

    /// Whether the service refuses a position that only some of the following sinks need.
    pub(super) fn concerns_some(&self, fault: &CosmosError) -> bool {
        let mut following = self.cursors.iter().filter(|cursor| cursor.state.is_following());
        fault.class() == Class::Refused
            && following.any(|cursor| cursor.ahead_of(&self.shared).is_some())
    }

    /// Parks the sinks that need what the service refuses, and reads on for the others.
    pub(super) fn park_at_shared(&mut self, fault: &CosmosError, effects: &mut Effects) {
        for sink in 0..self.cursors.len() {
            let cursor = &self.cursors[sink];
            if cursor.state.is_following() && cursor.ahead_of(&self.shared).is_none() {
                self.park(sink, fault.clone(), effects);
            }
        }
        let following = self.cursors.iter().filter(|cursor| cursor.state.is_following());
        if let Some(next) = following.map(SinkCursor::accepted).min_by_key(|p| p.lsn()) {
            self.shared = next.clone();
            self.start_shared(effects);
        }
    }

    pub(super) fn ask_to_stop(&mut self, effects: &mut Effects) {
        self.stop_asked = true;
        for sink in 0..self.cursors.len() {
            if self.cursors[sink].is_held_back() {
                self.abandon(sink, effects);
            }
        }
        self.stop_waiting(effects);
        if matches!(self.reading, SharedReading::Paused { .. }) {
            self.end_shared(ReadingEnd::Stopped, effects);
        }
    }

    /// Nothing more is read.
    pub(super) fn end_shared(&mut self, end: ReadingEnd, effects: &mut Effects) {
        if let ReadingEnd::Parked(fault) = &end
            && !self.resyncs(fault)
        {
            effects.notice(Notice::Parked { sink: None, fault: fault.clone() });
        }
        let is_read_again = self.is_read_again(&end);
        for sink in 0..self.cursors.len() {
            if matches!(end, ReadingEnd::Stopped) {
                self.cursors[sink].forget_waiting(&mut self.pages);
            } else if is_read_again && !self.cursors[sink].state.is_following() {
                // It goes on from its stored position.
                self.abandon(sink, effects);
            }
            self.stop_own(sink, effects);
        }
        self.forget_arrivals(effects);
        self.shared_waits = false;
        self.reading = SharedReading::Ended(end);
    }

    fn abandon(&mut self, sink: usize, effects: &mut Effects) {
        self.cursors[sink].abandon(&mut self.pages);
        effects.push(Effect::Abandon { sink });
    }

    /// Another owner has the range: nothing more is written or stored.
    pub(super) fn lose(&mut self, conflict: Conflict, effects: &mut Effects) {
        self.abandon_all(effects);
        self.stop_shared(effects);
        self.end_shared(ReadingEnd::Lost(conflict), effects);
    }

    pub(super) fn abandon_all(&mut self, effects: &mut Effects) {
        for sink in 0..self.cursors.len() {
            self.cursors[sink].forget_positions(&mut self.pages);
            self.abandon(sink, effects);
        }
    }

    /// Abandons sinks that are slow to finish a range that is read again, some time after the first is done with
    /// it or does not follow any more.
    pub(super) fn end_grace(&mut self, now: Instant, effects: &mut Effects) {
        let SharedReading::Ended(end) = &self.reading else { return };
        if !self.is_read_again(end) || self.settings.slow_sinks == SlowSinks::HoldAll {
            return;
        }
        let is_done = |cursor: &SinkCursor| !cursor.state.is_following() || cursor.is_safe();
        match self.grace_ends {
            None if self.cursors.iter().any(is_done) => self.grace_ends = Some(now + SPLIT_GRACE),
            Some(end) if now >= end => {
                for sink in 0..self.cursors.len() {
                    if !self.cursors[sink].is_abandoned() && !self.cursors[sink].is_safe() {
                        self.abandon(sink, effects);
                    }
                }
            }
            _ => {}
        }
    }

    /// Ends the range once nothing is left to do. A write of an abandoned sink that does not return
    /// holds up neither what is read again nor the loss of a range to another owner.
    pub(super) fn finish(&mut self, effects: &mut Effects) {
        let SharedReading::Ended(end) = &self.reading else { return };
        let goes_on_elsewhere = self.is_read_again(end) || matches!(end, ReadingEnd::Lost(_));
        let is_done = |cursor: &SinkCursor| {
            let leaves_writes = goes_on_elsewhere && cursor.is_abandoned();
            cursor.is_settled() && (leaves_writes || cursor.under_way() == 0)
        };
        if !self.cursors.iter().all(is_done) {
            return;
        }
        self.is_finished = true;
        let SharedReading::Ended(end) =
            std::mem::replace(&mut self.reading, SharedReading::Ended(ReadingEnd::Stopped))
        else {
            return;
        };
        effects.push(Effect::Finish(match end {
            ReadingEnd::Parked(fault) => Exit::Parked(fault),
            ReadingEnd::Lost(conflict) => Exit::Lost(conflict),
            ReadingEnd::Divided(parts) if !self.stop_asked => {
                let has_whole = |cursor: &&SinkCursor| cursor.has_whole();
                let ledgers = self.cursors.iter().filter(has_whole).map(|c| (c.sink, c.rest()));
                Exit::Divided { parts: self.positions_in(&parts), ledgers: ledgers.collect() }
            }
            ReadingEnd::Divided(_) | ReadingEnd::Stopped => Exit::Stopped,
        }));
    }

    /// Where each sink starts in the parts of the range: at the parts' positions, which are behind
    /// everything that it has, or at its stored position.
    fn positions_in(&self, parts: &[Position]) -> Vec<(usize, Position)> {
        let mut positions = Vec::with_capacity(parts.len() * self.cursors.len());
        for cursor in &self.cursors {
            for part in parts {
                let is_ahead = cursor.stored().lsn() > part.lsn();
                let from = if cursor.has_whole() && !is_ahead { part } else { cursor.stored() };
                positions.push((cursor.sink, from.within(part.range.clone())));
            }
        }
        positions
    }
}
