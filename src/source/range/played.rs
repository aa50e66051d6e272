//! One feed range whose events a test chooses.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use cosmos_bridge_sink::{Grouping, Limits};
use tokio::sync::watch;
use tokio::time::Instant;

use super::event::{Effect, Effects, Event};
use super::exploration::{Entry, change};
use super::shared_pages::ReadRoom;
use super::state::{RangeSettings, RangeState};
use crate::config::{SlowSinks, Start};
use crate::model::{FeedRange, Ledger, Position, RangeProgress};
use crate::observe::{RangeMeter, SinkStatus};
use crate::source::reader::ReaderId;
use crate::source::routed::RoutedPage;
use crate::source::sink_buffer::{BufferView, SinkView};

pub(super) const NOW: i64 = 1_000_000;
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const SHARED: ReaderId = ReaderId::Shared { number: 1 };

/// A range whose events a test chooses, and its observer.
pub(super) struct Played {
    pub(super) state: RangeState,
    pub(super) views: Vec<SinkView>,
    pub(super) published: watch::Sender<RangeProgress>,
    pub(super) meter: RangeMeter,
    /// What pages tell of the newest log sequence number.
    pub(super) head_lsn: Option<i64>,
    /// The sinks that a page has a change for.
    pub(super) sinks: usize,
    /// How many of these do not get theirs.
    pub(super) lost: usize,
}

pub(super) fn at(lsn: i64) -> Position {
    Position::of(FeedRange::whole(), Some(lsn.to_string()))
}

impl Played {
    /// With a sink at each of these log sequence numbers.
    pub(super) fn new(stored: &[i64]) -> Self {
        Self::resuming(stored.iter().map(|lsn| at(*lsn)).collect())
    }

    /// With a sink at each of these positions.
    pub(super) fn resuming(stored: Vec<Position>) -> Self {
        let limits = Limits { grouping: Grouping::Any, changes: 10, bytes: 10_000, concurrency: 2 };
        let buffer = BufferView { limit: 100_000, in_use: 0, freed: 0, reserved: 0 };
        let views = vec![SinkView { limits, buffer, is_failing: false }; stored.len()];
        let settings = RangeSettings {
            resyncs: false,
            start: Start::Beginning,
            slow_sinks: SlowSinks::FallBehind,
            window: 10,
            checkpoint_interval: SECOND,
        };
        let held_back = vec![false; stored.len()];
        let published = watch::Sender::new(RangeProgress::new(stored.len()));
        let state = RangeState::new(settings, stored, &held_back, &views, Instant::now());
        let meter = RangeMeter::new("[,FF)", published.subscribe());
        meter.start_lsn.store(10, Relaxed);
        let mut played = Self { state, views, published, meter, head_lsn: None, sinks: 1, lost: 0 };
        played.on(Event::Started);
        played
    }

    pub(super) fn on(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Effects::default();
        self.state.on(event, Instant::now(), &self.views, &mut effects);
        self.published.send_modify(|progress| self.state.report(progress));
        effects.0
    }

    /// A page of one change, or an answer that nothing is newer.
    pub(super) fn page(&mut self, lsn: i64, caught_up: bool) -> Vec<Effect> {
        let read = usize::from(!caught_up);
        let entry = Entry { lsn, document: 1 };
        let sinks = if caught_up { 0 } else { self.sinks - self.lost };
        let changes = (0..sinks).map(|sink| (sink, change(entry))).collect();
        let committed_at = (!caught_up).then_some(NOW - 60);
        let (letters, positions, bytes) = (Vec::new(), vec![at(lsn)], 100);
        let page = RoutedPage {
            positions,
            read,
            ledgers: (0..self.views.len()).map(|sink| self.ledger(sink, read)).collect(),
            changes,
            letters,
            caught_up,
            is_end: false,
            head_lsn: self.head_lsn,
            committed_at,
            bytes,
        };
        let room = ReadRoom { memory: read, window: read };
        self.on(Event::PageArrived { reader: SHARED, page: Box::new(page), room })
    }

    /// Of a page with `read` changes.
    fn ledger(&self, sink: usize, read: usize) -> Ledger {
        let filtered = if sink < self.sinks { 0 } else { read };
        Ledger { read: read as u64, filtered: filtered as u64, ..Ledger::default() }
    }

    /// Caught up, seconds (rounded up), documents.
    pub(super) fn seen(&self) -> (bool, u64, Option<u64>) {
        let sight = self.sights().remove(0);
        assert_eq!(sight.is_caught_up, sight.lag.is_zero());
        assert_eq!(sight.is_caught_up, sight.documents == Some(0));
        let seconds = sight.lag.as_secs() + u64::from(sight.lag.subsec_nanos() > 0);
        (sight.is_caught_up, seconds, sight.documents)
    }

    pub(super) fn sights(&self) -> Vec<SinkStatus> {
        self.meter.sink_statuses(NOW)
    }
}
