//! What becomes of the pages of a feed range, and which sinks get them.
//!
//! One reader reads for all sinks. A sink that holds too much is left out, goes on with what it
//! holds, then gets a reader of its own, and shares the first again once it has got as far.

use std::sync::Arc;

use tracing::debug;

use super::Worker;
use crate::config::SlowSinks;
use crate::deliver::Placed;
use crate::model::DeadLetter;
use crate::source::hold::{CHANGE_BYTES, Hold};
use crate::source::lane::Lane;
use crate::source::mark::SinkPage;
use crate::source::reader::{End, Report, Whose};
use crate::source::routed::RoutedPage;
use crate::source::standing::{Behind, Standing, has_reached};

/// What a page has for one sink.
#[derive(Default)]
struct Share {
    changes: Vec<Placed>,
    letters: Vec<DeadLetter>,
}

impl Share {
    fn len(&self) -> usize {
        self.changes.len() + self.letters.len()
    }
}

impl Worker {
    pub(super) fn hear(&mut self, whose: Whose, report: Report) {
        match (whose, report) {
            // Of one that was told to rest.
            (Whose::Shared { epoch }, _) if !self.is_shared_reader(epoch) => {}
            (Whose::Shared { .. }, Report::Page(page)) => {
                self.meter.heard(page.caught_up);
                self.take_shared(*page);
            }
            (Whose::Shared { .. }, Report::Ended(End::Parked(fault)))
                if self.is_of_some(&fault) =>
            {
                self.park_those_at_fault(&fault);
            }
            (Whose::Shared { .. }, Report::Ended(end)) => self.end_shared(end),
            (Whose::Own { lane, epoch }, report) if self.lanes[lane].standing.reads(epoch) => {
                match report {
                    Report::Page(page) => self.take_own(lane, *page),
                    Report::Ended(End::Parked(fault)) => self.park(lane, fault),
                    Report::Ended(_) => self.wait_for_split(lane),
                }
            }
            // Of a reader that was dismissed.
            (Whose::Own { .. }, _) => {}
        }
    }

    fn is_shared_reader(&self, epoch: u64) -> bool {
        self.shared_reader.as_ref().is_some_and(|(current, _)| *current == epoch)
    }

    fn take_shared(&mut self, page: RoutedPage) {
        let slice = match page.slices.as_slice() {
            [only] => Some(only.clone()),
            parts => {
                self.parts = parts.to_vec();
                None
            }
        };
        let mut shares: Vec<_> = self.lanes.iter().map(|_| Share::default()).collect();
        // It began before a sink's position, for another one; or that sink caught up further.
        let ahead = self.lanes.iter().map(|lane| lane.ahead_of(&self.shared));
        let ahead: Vec<_> = ahead.collect();
        let has = |sink: usize, lsn: Option<i64>| ahead[sink] >= lsn && lsn.is_some();
        for (sink, placed) in page.changes {
            if !has(sink, placed.change.origin.lsn) {
                shares[sink].changes.push(placed);
            }
        }
        for (sink, letter) in page.letters {
            if !has(sink, letter.lsn) {
                shares[sink].letters.push(letter);
            }
        }
        let bytes = |share: &Share| bytes_of(page.bytes, page.read, share.len());
        let wanted: Vec<_> = shares.iter().map(bytes).collect();
        for number in 0..wanted.len() {
            if slice.is_some() && self.must_fall_behind(number, &wanted) {
                self.leave_behind(number);
            }
        }
        if slice.is_some() && self.must_rest(&wanted) {
            self.rest(wanted);
            return;
        }
        let attached = self.lanes.iter().zip(&shares).filter(|(l, _)| l.standing.is_attached());
        let changes = attached.map(|(_, share)| share.len()).sum();
        let slow = self.pipeline.slow_sinks;
        let hold = Arc::new(Hold::new(slow, page.window, page.memory, changes));
        for (lane, share) in self.lanes.iter_mut().zip(shares) {
            if !lane.standing.is_attached() {
                continue;
            }
            lane.at_head = page.caught_up;
            if slice.as_ref().is_some_and(|slice| has(lane.sink, slice.lsn())) {
                // Otherwise the next would come at the pace of whoever needs this one.
                hold.passed_by();
                continue;
            }
            lane.take(SinkPage {
                slice: slice.clone(),
                read: page.read,
                committed_at: page.committed_at,
                bytes: bytes(&share),
                changes: share.changes,
                letters: share.letters,
                alone: false,
                hold: Arc::clone(&hold),
            });
        }
        if let Some(slice) = slice {
            self.shared = slice;
        }
    }

    /// Whether a sink holds too much to take a page, of which each wants so many bytes, and another
    /// one has room or holds less: somebody always stays and sets the pace.
    fn must_fall_behind(&self, number: usize, wanted: &[usize]) -> bool {
        let lanes = || self.lanes.iter().zip(wanted).enumerate();
        let others =
            || lanes().filter(|(n, (lane, _))| *n != number && lane.standing.is_attached());
        let (lane, bytes) = (&self.lanes[number], wanted[number]);
        self.pipeline.slow_sinks == SlowSinks::FallBehind
            && lane.standing.is_attached()
            && bytes > 0
            && lane.is_full(bytes)
            && others()
                .any(|(_, (other, bytes))| !other.is_full(*bytes) || other.held() < lane.held())
    }

    /// Whether no sink that is here has room for a page, of which each wants so many bytes, while
    /// another catches up. What is read for the first alone would be freed when that one is here, feed
    /// range by feed range, and its memory would know no limit.
    fn must_rest(&self, wanted: &[usize]) -> bool {
        let is_full = |(lane, bytes): (&Lane, &usize)| {
            !lane.standing.is_attached() || (*bytes > 0 && lane.is_full(*bytes))
        };
        let standings = || self.lanes.iter().map(|lane| &lane.standing);
        self.pipeline.slow_sinks == SlowSinks::FallBehind
            && standings().any(|standing| !standing.is_attached() && !standing.is_parked())
            && !standings().any(Standing::waits_for_split)
            && self.lanes.iter().zip(wanted).all(is_full)
    }

    fn leave_behind(&mut self, number: usize) {
        let error = self.pipeline.deliveries[number].error();
        let lane = &mut self.lanes[number];
        let (range, lsn) = (self.range.to_string(), lane.accepted().lsn());
        let (pipeline, sink, held) = (&self.pipeline.name, &lane.name, lane.held());
        debug!(pipeline, sink, range, lsn, held, "falls behind");
        let why = "its memory is used up";
        lane.spool().meter().range_detached(&range, lsn, why, error.as_deref());
        lane.at_head = false;
        lane.standing = Standing::Behind(match held {
            0 => Behind::Elsewhere { freed: lane.spool().freed() },
            held => Behind::Draining { held },
        });
    }

    fn take_own(&mut self, number: usize, mut page: RoutedPage) {
        let Some(slice) = page.slices.pop().filter(|_| page.slices.is_empty()) else {
            self.wait_for_split(number);
            return;
        };
        let changes = page.changes.into_iter();
        let share = Share {
            changes: changes.map(|(_, placed)| placed).collect(),
            letters: page.letters.into_iter().map(|(_, letter)| letter).collect(),
        };
        let slow = self.pipeline.slow_sinks;
        let hold = Hold::new(slow, page.window, page.memory, share.len());
        let lane = &mut self.lanes[number];
        lane.take(SinkPage {
            slice: Some(slice),
            read: page.read,
            committed_at: page.committed_at,
            bytes: bytes_of(page.bytes, page.read, share.len()),
            changes: share.changes,
            letters: share.letters,
            alone: true,
            hold: Arc::new(hold),
        });
        let is_shared_alive = self.end.is_none() && self.parts.is_empty();
        if is_shared_alive && has_reached(lane.accepted(), &self.shared) {
            lane.dismiss_reader();
            lane.standing = Standing::Attached;
            lane.at_head = page.caught_up;
            lane.spool().meter().range_rejoined();
            let (pipeline, sink, range) = (&self.pipeline.name, &lane.name, &self.range);
            debug!(pipeline, sink, %range, lsn = lane.accepted().lsn(), "has caught up");
            self.free_reader(number);
        }
    }

    /// Nothing more can be read for a sink until the shared reader meets the split as well.
    fn wait_for_split(&mut self, number: usize) {
        self.lanes[number].wait_for_split();
        self.free_reader(number);
    }

    /// Lets the shared reader go on for a sink that waits for it, whatever others have not done yet:
    /// they may be dead, and leave only when there is a page that they have no room for.
    fn free_reader(&self, number: usize) {
        let others = self.lanes.iter().enumerate().filter(|(other, _)| *other != number);
        others.for_each(|(_, lane)| lane.free_reader());
    }
}

impl Lane {
    /// Ends its own reader, if it has one. Its pages are no longer awaited.
    pub(super) fn dismiss_reader(&mut self) {
        if let Standing::CatchingUp(_) = self.standing {
            self.wait_for_split();
        }
    }

    /// Nothing more is read for it alone: the shared reader has ended, or is about to.
    fn wait_for_split(&mut self) {
        self.spool().meter().range_stopped_catching_up();
        self.standing = Standing::Behind(Behind::BeforeSplit);
    }
}

/// What a sink holds of a page of `bytes`, of whose `read` changes it gets `count`.
fn bytes_of(bytes: usize, read: usize, count: usize) -> usize {
    (bytes / read.max(1) + CHANGE_BYTES) * count
}
