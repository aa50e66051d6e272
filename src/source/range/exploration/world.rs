//! A source, sinks, a state and feed ranges, played event by event.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use cosmos_bridge_sink::{Grouping, Limits};
use tokio::time::Instant;

use super::machine::Machine;
use super::random::Random;
use super::reader::{Entry, PLACES, Places, feed_range, is_for, position};
use super::{Fault, Seen};
use crate::config::{SlowSinks, Start};
use crate::deliver::WriteBatch;
use crate::model::FeedRange;
use crate::source::range::event::Event;
use crate::source::range::state::{RangeSettings, RangeState};
use crate::source::sink_buffer::{BufferView, SinkView};

/// Steps of the random part, and most steps until everything has arrived afterwards.
const STEPS: usize = 90;
const DRAIN: usize = 6000;

pub(super) struct World {
    pub(super) random: Random,
    pub(super) fault: Fault,
    pub(super) is_shown: bool,
    pub(super) seen: Seen,
    pub(super) now: Instant,
    pub(super) settings: RangeSettings,
    pub(super) limits: Limits,
    /// Changes per page, and rarely of one page.
    pub(super) most: usize,
    pub(super) huge: usize,
    /// Units of memory for pages of shared readers, over all ranges.
    pub(super) read_ahead: usize,
    pub(super) sinks: usize,
    pub(super) log: Vec<Entry>,
    pub(super) buffers: Vec<BufferView>,
    /// Rows of the state: by sink and range.
    pub(super) rows: BTreeMap<(usize, FeedRange), (Places, Option<i64>)>,
    /// By sink: what is durable, as document and LSN.
    pub(super) delivered: Vec<BTreeSet<i64>>,
    /// By sink: no write returns.
    pub(super) hangs: Vec<bool>,
    /// A sink whose writes do not return is known to fail.
    tells_failures: bool,
    pub(super) machines: Vec<Machine>,
    /// Writes of ranges that were divided: number, sink and batch.
    pub(super) unfinished: Vec<(u64, usize, WriteBatch)>,
    pub(super) next: u64,
    pub(super) is_stopping: bool,
    /// Sinks that were parked since the start.
    pub(super) parked: BTreeSet<usize>,
}

pub(super) type Checked = Result<(), String>;

impl World {
    pub(super) fn new(seed: u64, fault: Fault, is_shown: bool) -> Self {
        let mut random = Random::new(seed);
        let sinks = 1 + random.below(3);
        let window = 4 + random.below(10);
        let slow_sinks = if random.once_in(5) { SlowSinks::HoldAll } else { SlowSinks::FallBehind };
        let buffer = |random: &mut Random| {
            let limit = 612 * (4 + random.below(12));
            BufferView { limit, in_use: 0, freed: 0, reserved: 0 }
        };
        let settings = RangeSettings {
            resyncs: false,
            start: Start::Beginning,
            slow_sinks,
            window,
            checkpoint_interval: Duration::from_secs(1),
        };
        let limits = Limits {
            grouping: if random.once_in(2) { Grouping::Any } else { Grouping::Key },
            changes: 1 + random.below(4),
            bytes: 1000,
            concurrency: 1 + random.below(3),
        };
        let mut world = Self {
            fault,
            is_shown,
            seen: Seen::default(),
            now: Instant::now(),
            limits,
            most: 1 + random.below(window),
            huge: if random.once_in(6) { window * 2 } else { 0 },
            read_ahead: 6 + random.below(30),
            sinks,
            log: Vec::new(),
            buffers: (0..sinks).map(|_| buffer(&mut random)).collect(),
            rows: BTreeMap::new(),
            delivered: vec![BTreeSet::new(); sinks],
            hangs: vec![false; sinks],
            tells_failures: random.once_in(2),
            machines: Vec::new(),
            unfinished: Vec::new(),
            next: 0,
            is_stopping: false,
            parked: BTreeSet::new(),
            settings,
            random,
        };
        let bounds = if world.random.once_in(3) { vec![0, 3, PLACES] } else { vec![0, PLACES] };
        for places in bounds.windows(2).map(|pair| (pair[0], pair[1])) {
            for sink in 0..sinks {
                world.rows.insert((sink, feed_range(places)), (places, None));
            }
        }
        world
    }

    pub(super) fn play(mut self) -> Result<Seen, String> {
        self.restart()?;
        for _ in 0..STEPS {
            self.random_step()?;
        }
        // One sink works again later than the others: it holds up none of them.
        let last = self.random.below(self.sinks);
        let alone = self.sinks > 1 && self.settings.slow_sinks == SlowSinks::FallBehind;
        for sink in 0..self.sinks {
            self.hangs[sink] = alone && sink == last;
        }
        if alone {
            let others: Vec<_> = (0..self.sinks).filter(|sink| *sink != last).collect();
            self.drain(|world| others.iter().all(|sink| world.lacks(*sink, i64::MAX).is_empty()))?;
        }
        self.hangs.fill(false);
        self.drain(Self::is_caught_up)?;
        for machine in &self.machines {
            machine.check_empty(self.settings.window)?;
        }
        // A stop ends it.
        for at in (0..self.machines.len()).rev() {
            self.ask_to_stop(at)?;
        }
        self.is_stopping = true;
        self.settle_until(|world| world.machines.is_empty(), "a stopped range")?;
        Ok(self.seen)
    }

    pub(super) fn is_caught_up(&self) -> bool {
        !self.is_stopping
            && self.machines.iter().all(|machine| {
                machine.report().is_caught_up
                    // Of parked sinks too.
                    && machine.writes.is_empty()
                    && machine.letters.is_empty()
                    && machine.storing.is_none()
                    && machine.stale.is_empty()
                    && machine.head == self.log.len() as i64
                    && machine.state.cursors.iter().all(|cursor| {
                        cursor.state.is_following() || self.parked.contains(&cursor.sink)
                    })
            })
            && (0..self.sinks).all(|sink| self.lacks(sink, i64::MAX).is_empty())
    }

    fn drain(&mut self, is_done: impl Fn(&Self) -> bool) -> Checked {
        self.settle_until(is_done, "a history in which sinks and state work")
    }

    fn settle_until(&mut self, is_done: impl Fn(&Self) -> bool, what: &str) -> Checked {
        for _ in 0..DRAIN {
            if is_done(self) {
                return Ok(());
            }
            if self.machines.is_empty() {
                self.restart()?;
            }
            self.step(false)?;
        }
        Err(format!(
            "{what} does not end: {:?}",
            self.machines.iter().map(Machine::report).collect::<Vec<_>>()
        ))
    }

    /// What a sink has to have up to this LSN, and has not. Nothing for a sink that was parked.
    pub(super) fn lacks(&self, sink: usize, to: i64) -> Vec<i64> {
        if self.parked.contains(&sink) {
            return Vec::new();
        }
        let due = self.log.iter().filter(|e| e.lsn <= to && is_for(sink, e));
        due.map(|e| e.lsn).filter(|lsn| !self.delivered[sink].contains(lsn)).collect()
    }

    /// Starts a range for each that is stored.
    pub(super) fn restart(&mut self) -> Checked {
        self.is_stopping = false;
        self.parked.clear();
        self.unfinished.clear();
        let ranges: BTreeSet<Places> = self.rows.values().map(|(places, _)| *places).collect();
        for places in ranges {
            self.start(places, vec![BTreeSet::new(); self.sinks])?;
        }
        Ok(())
    }

    pub(super) fn start(&mut self, places: Places, waits_for: Vec<BTreeSet<u64>>) -> Checked {
        let stored = (0..self.sinks).map(|sink| {
            let (_, lsn) = self.rows[&(sink, feed_range(places))];
            position(places, lsn.unwrap_or(0))
        });
        let held_back: Vec<_> = waits_for.iter().map(|waits| !waits.is_empty()).collect();
        self.seen.held_back += held_back.iter().filter(|held| **held).count() as u64;
        let views = self.views();
        let state =
            RangeState::new(self.settings.clone(), stored.collect(), &held_back, &views, self.now);
        self.next += 1;
        let mut machine = Machine::new(self.next, places, state, self.sinks);
        machine.waits_for = waits_for;
        self.machines.push(machine);
        self.feed(self.machines.len() - 1, Event::Started)
    }

    pub(super) fn views(&self) -> Vec<SinkView> {
        let view = |(buffer, hangs): (&BufferView, &bool)| SinkView {
            limits: self.limits,
            is_failing: self.tells_failures && *hangs,
            buffer: *buffer,
        };
        self.buffers.iter().zip(&self.hangs).map(view).collect()
    }

    #[expect(clippy::print_stderr, reason = "a history that is replayed")]
    pub(super) fn show(&self, at: usize, what: &dyn Debug) {
        if self.is_shown {
            eprintln!("{} {:?} {what:?}", self.machines[at].number, self.machines[at].places);
        }
    }
}

pub(super) fn places_of(range: &FeedRange) -> Places {
    let bound = |text: &str| text.parse().unwrap_or(0);
    (bound(&range.min), bound(&range.max))
}
