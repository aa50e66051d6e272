//! How reading ends: for one sink, for all, or in the parts of a divided range.

use cosmos_bridge_cosmos::Class;
use tokio::time::Instant;
use tracing::error;

use super::{SPLIT_GRACE, Worker};
use crate::config::SlowSinks;
use crate::cosmos::CosmosError;
use crate::observe::Parked;
use crate::source::lane::Lane;
use crate::source::reader::End;
use crate::source::standing::Standing;

impl Worker {
    pub(super) fn park(&mut self, number: usize, fault: CosmosError) {
        let lane = &mut self.lanes[number];
        lane.dismiss_reader();
        if lane.standing.is_attached() {
            let (range, lsn) = (self.range.to_string(), lane.accepted().lsn());
            lane.spool().meter().range_detached(&range, lsn, "it is parked", None);
            lane.free_reader();
        }
        lane.standing = Standing::Parked;
        self.tell_parked(Some(&self.lanes[number].name), &fault);
        self.parked = Some(fault);
    }

    /// Whether the service refuses a position that only some of the sinks need.
    pub(super) fn is_of_some(&self, fault: &CosmosError) -> bool {
        let mut attached = self.lanes.iter().filter(|lane| lane.standing.is_attached());
        fault.class() == Class::Refused
            && attached.any(|lane| lane.ahead_of(&self.shared).is_some())
    }

    /// Parks the sinks that need what the service refuses, and reads on for the others.
    pub(super) fn park_those_at_fault(&mut self, fault: &CosmosError) {
        for number in 0..self.lanes.len() {
            let lane = &self.lanes[number];
            if lane.standing.is_attached() && lane.ahead_of(&self.shared).is_none() {
                self.park(number, fault.clone());
            }
        }
        let attached = self.lanes.iter().filter(|lane| lane.standing.is_attached());
        if let Some(next) = attached.map(Lane::accepted).min_by_key(|slice| slice.lsn()) {
            self.shared = next.clone();
            self.read_for_all();
        }
    }

    fn tell_parked(&self, sink: Option<&str>, fault: &CosmosError) {
        let untouched = || "Positions and target are untouched.".to_owned();
        let hint = fault.hint().unwrap_or_else(untouched);
        let (pipeline, range) = (&self.pipeline.name, &self.range);
        error!(pipeline, sink, %range, error = %fault, hint, "parked");
        let (range, sink) = (range.to_string(), sink.map(str::to_owned));
        self.pipeline.meter.park(Parked { range, sink, error: fault.to_string() });
    }

    /// The shared reader says no more.
    pub(super) fn end_shared(&mut self, end: End) {
        if let End::Parked(fault) = &end {
            self.tell_parked(None, fault);
        }
        for lane in &mut self.lanes {
            match &end {
                End::Stopped => lane.forget_waiting(),
                // It goes on in the parts, from where it stands.
                End::Split if !lane.standing.is_attached() => lane.abandon(),
                End::Split | End::Parked(_) => {}
            }
            lane.dismiss_reader();
        }
        self.end = Some(end);
    }

    /// Begins to lose patience with the sinks of a divided range once the first is done with it, or
    /// has left it.
    pub(super) fn wait_for_the_slow(&mut self) {
        let is_divided = matches!(self.end, Some(End::Split));
        let may_leave = self.pipeline.slow_sinks == SlowSinks::FallBehind && is_divided;
        let is_done = |lane: &Lane| !lane.standing.is_attached() || lane.is_safe();
        if may_leave && self.patience.is_none() && self.lanes.iter().any(is_done) {
            self.patience = Some(Instant::now() + SPLIT_GRACE);
        }
    }

    pub(super) fn leave_the_slow(&mut self) {
        self.patience = None;
        for lane in self.lanes.iter_mut().filter(|lane| !lane.is_safe()) {
            lane.abandon();
        }
    }
}
