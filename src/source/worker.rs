//! Walks one feed range: pages in, writes out, positions stored once everything is safe.

mod ends;
mod pages;
mod readers;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use super::lane::{Lane, Urgency};
use super::mark::Checkpoint;
use super::pipeline::Pipeline;
use super::reader::{End, Report, Whose};
use super::standing::{Behind, LineUp, Standing, line_up};
use crate::cosmos::CosmosError;
use crate::deliver::Unit;
use crate::model::{DeadLetter, FeedRange, Position, StoredPosition};
use crate::observe::RangeMeter;

/// Pages that may wait between readers and worker; their bytes are bounded by the read-ahead.
const PAGES_AHEAD: usize = 4;

/// How long the sinks of a divided range are waited for once the first of them is done. Others then
/// go on in the parts, each from where it stands, and what they hold is read again.
const SPLIT_GRACE: Duration = Duration::from_secs(5);

/// How a worker ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) exit: Exit,
    /// Why a sink was left behind, if one was.
    pub(super) parked: Option<CosmosError>,
}

#[derive(Debug)]
pub(super) enum Exit {
    /// Asked to stop; everything that was safe is stored.
    Stopped,
    /// The range was divided; the parts, every sink's, are stored in its place.
    Split(Vec<StoredPosition>),
    /// Going on needs a person.
    Parked(CosmosError),
    /// A defect of the bridge: a task of this worker panicked.
    Failed(JoinError),
}

/// Walks one feed range until it is divided, parked or stopped.
pub(super) struct Worker {
    pipeline: Arc<Pipeline>,
    range: FeedRange,
    meter: Arc<RangeMeter>,
    /// One per sink, in the order of the pipeline's deliveries.
    lanes: Vec<Lane>,
    tasks: JoinSet<Done>,
    readers: JoinSet<()>,
    sender: mpsc::Sender<(Whose, Report)>,
    reports: mpsc::Receiver<(Whose, Report)>,
    /// Of the shared reader.
    window: Arc<Semaphore>,
    /// What a change takes, in bytes, as far as any reader has seen.
    change: Arc<AtomicUsize>,
    /// The last page of the shared reader, or where it begins.
    shared: Position,
    /// `None` while it rests, and once it has ended.
    shared_reader: Option<(u64, AbortHandle)>,
    /// What each sink wanted of the page that nobody had room for, in bytes.
    refused: Vec<usize>,
    /// How the shared reader ended.
    end: Option<End>,
    epochs: u64,
    /// The last page's parts, when the range was divided.
    parts: Vec<Position>,
    /// When sinks that are slow to end a divided range are no longer waited for.
    patience: Option<Instant>,
    parked: Option<CosmosError>,
}

/// A task that ended.
enum Done {
    /// Every change is delivered or buried.
    Written {
        lane: usize,
        unit: Unit,
    },
    /// The route's dead letters are kept: one change each of these pages.
    Buried {
        lane: usize,
        pages: Vec<u64>,
    },
    Stored {
        lane: usize,
        checkpoint: Checkpoint,
    },
    /// Asked to stop before it was done.
    Abandoned {
        lane: usize,
    },
}

impl Worker {
    /// `stored` has one slice per sink, all of the same range.
    pub(super) fn new(
        pipeline: Arc<Pipeline>,
        stored: Vec<Position>,
        meter: Arc<RangeMeter>,
    ) -> Self {
        let LineUp { from, attached } =
            line_up(&stored, &pipeline.start, pipeline.slow_sinks, pipeline.window);
        let (sender, reports) = mpsc::channel(PAGES_AHEAD);
        let mut lanes = Vec::new();
        for (number, (stored, attached)) in stored.into_iter().zip(attached).enumerate() {
            let sink = &pipeline.deliveries[number].sink;
            let spool = Arc::clone(&pipeline.spools[number]);
            let standing = if attached {
                Standing::Attached
            } else {
                Standing::Behind(Behind::Draining { held: 0 })
            };
            let follow = spool.meter();
            if attached {
                follow.range_attached();
            } else {
                let range = from.range.to_string();
                follow.range_detached(&range, stored.lsn(), "it starts behind the others", None);
            }
            let grouping = sink.limits().grouping;
            let own = (spool, standing);
            lanes.push(Lane::new((number, sink.name()), grouping, stored, own, &pipeline.stop));
        }
        Self {
            lanes,
            tasks: JoinSet::new(),
            readers: JoinSet::new(),
            sender,
            reports,
            window: Arc::new(Semaphore::new(pipeline.window)),
            change: Arc::default(),
            range: from.range.clone(),
            shared: from,
            shared_reader: None,
            refused: Vec::new(),
            end: None,
            epochs: 0,
            parts: Vec::new(),
            patience: None,
            parked: None,
            meter,
            pipeline,
        }
    }

    pub(super) async fn run(mut self) -> Ended {
        self.read_for_all();
        let mut tick = tokio::time::interval(self.pipeline.checkpoint_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_done() {
            let patience = self.patience;
            tokio::select! {
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.finish(done),
                    Err(error) => return self.ended(Exit::Failed(error)),
                },
                Some((whose, report)) = self.reports.recv() => self.hear(whose, report),
                Some(reader) = self.readers.join_next() => match reader {
                    // One that was dismissed ends with an error that is none.
                    Err(error) if error.is_panic() => return self.ended(Exit::Failed(error)),
                    _ => {}
                },
                () = sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {
                    self.leave_the_slow();
                }
                _ = tick.tick() => {}
            }
            self.open();
            self.wake();
            self.read_for_those_behind();
            self.dispatch();
            self.checkpoint();
            self.note_progress();
            self.wait_for_the_slow();
        }
        match self.end.take() {
            Some(End::Parked(fault)) => self.ended(Exit::Parked(fault)),
            Some(End::Split) if !self.pipeline.stop.is_cancelled() => self.split().await,
            _ => self.ended(Exit::Stopped),
        }
    }

    fn ended(mut self, exit: Exit) -> Ended {
        for lane in &mut self.lanes {
            lane.dismiss_reader();
            if !lane.standing.is_attached() {
                lane.spool().meter().range_closed();
            }
        }
        Ended { exit, parked: self.parked.take() }
    }

    /// Nothing is left to do: all is delivered, if need be abandoned, and stored.
    fn is_done(&self) -> bool {
        let is_idle = self.tasks.is_empty() && self.readers.is_empty();
        is_idle && self.end.is_some() && self.lanes.iter().all(Lane::is_settled)
    }

    /// Lets pages through the windows.
    fn open(&mut self) {
        for number in 0..self.lanes.len() {
            while let Some((page, letters)) = self.lanes[number].open(self.pipeline.window) {
                if !letters.is_empty() {
                    self.bury(number, page, letters);
                }
            }
        }
    }

    fn bury(&mut self, lane: usize, page: u64, letters: Vec<DeadLetter>) {
        let pipeline = Arc::clone(&self.pipeline);
        let pages = vec![page; letters.len()];
        self.tasks.spawn(async move {
            match pipeline.bury(letters).await {
                Some(()) => Done::Buried { lane, pages },
                None => Done::Abandoned { lane },
            }
        });
    }

    /// Starts every write that may start now. What was read before a stop is still written, so
    /// that the next start repeats nothing, unless the target makes it wait.
    fn dispatch(&mut self) {
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            let limits = self.pipeline.deliveries[lane.sink].limits();
            while let Some(unit) = lane.next_unit(limits) {
                let (pipeline, stop) = (Arc::clone(&self.pipeline), lane.stop.clone());
                self.tasks.spawn(async move {
                    match pipeline.deliver(number, &unit, &stop).await {
                        Some(()) => Done::Written { lane: number, unit },
                        None => Done::Abandoned { lane: number },
                    }
                });
            }
        }
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Written { lane, unit } => self.lanes[lane].finish(&unit),
            Done::Buried { lane, pages } => self.lanes[lane].settle(&pages),
            Done::Stored { lane, checkpoint } => self.lanes[lane].end_checkpoint(checkpoint),
            Done::Abandoned { lane } => self.lanes[lane].abandon(),
        }
    }

    /// Stores positions where it is time. The only place where a position moves.
    fn checkpoint(&mut self) {
        let ending = self.end.is_some() || self.pipeline.stop.is_cancelled();
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            let window = match &lane.standing {
                Standing::CatchingUp(reader) => &reader.window,
                _ => &self.window,
            };
            let urgency = Urgency {
                interval: self.pipeline.checkpoint_interval,
                ending,
                // A page that waits for room holds what is free, so this is true while one waits.
                pressed: window.available_permits() < self.pipeline.window / 2,
            };
            lane.pass();
            let Some(checkpoint) = lane.begin_checkpoint(urgency) else { continue };
            let pipeline = Arc::clone(&self.pipeline);
            let stored =
                StoredPosition { sink: lane.name.clone(), position: checkpoint.slice.clone() };
            self.tasks.spawn(async move {
                match pipeline.checkpoint(&stored).await {
                    Some(()) => Done::Stored { lane: number, checkpoint },
                    None => Done::Abandoned { lane: number },
                }
            });
        }
    }

    fn note_progress(&self) {
        if self.meter.note(self.lanes.iter().map(Lane::reach)) {
            self.pipeline.caught_up.notify_one();
        }
    }

    /// Puts the parts in the place of the range. All of it before the parts' positions is safe, but
    /// for sinks that go on in the parts from where they stand in the whole.
    async fn split(self) -> Ended {
        let mut parts = Vec::new();
        for lane in &self.lanes {
            let is_attached = lane.standing.is_attached() && !lane.is_abandoned();
            let etag = |part: &Position| {
                let is_ahead = lane.stored().lsn() > part.lsn();
                let slice = if is_attached && !is_ahead { part } else { lane.stored() };
                slice.etag.clone()
            };
            parts.extend(self.parts.iter().map(|part| StoredPosition {
                sink: lane.name.clone(),
                position: Position { range: part.range.clone(), etag: etag(part) },
            }));
        }
        match self.pipeline.divide(&self.range, &parts).await {
            Some(()) => self.ended(Exit::Split(parts)),
            None => self.ended(Exit::Stopped),
        }
    }
}
