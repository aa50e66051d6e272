//! The shell of one feed range: owns its tasks and channels, feeds events to the state machine, and
//! performs the effects.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};
use tokio_util::sync::CancellationToken;

use super::done::Done;
use super::earlier_writes::{EarlierWrites, UnfinishedWrites};
use super::event::{Effect, Effects, Event, Exit};
use super::notices::Notices;
use super::positions::HeldRange;
use super::read_rooms::ReadRooms;
use super::state::{RangeSettings, RangeState};
use crate::config::Start;
use crate::cosmos::CosmosError;
use crate::deliver::{WriteBatch, WriteStop};
use crate::model::{DeadLetter, FeedRange, Ledger, Position};
use crate::observe::RangeMeter;
use crate::source::pipeline::{Pipeline, PipelineSink};
use crate::source::progress::RangeReporter;
use crate::source::reader::{Reader, ReaderId, Report, Room};
use crate::source::sink_buffer::{BufferShare, SinkView};
use crate::state::{Conflict, PositionWrite};

/// Reports that may wait between readers and worker; the bytes of pages are bounded by the read-ahead.
const REPORTS_AHEAD: usize = 8;

/// How a worker ended.
pub(in crate::source) struct Ended {
    pub(in crate::source) exit: RangeExit,
    /// Why a sink was parked, if one was.
    pub(in crate::source) parked: Option<CosmosError>,
    /// Writes of abandoned sinks that have not returned.
    pub(in crate::source) unfinished: UnfinishedWrites,
}

pub(in crate::source) enum RangeExit {
    /// Asked to stop; everything that was safe is stored.
    Stopped,
    /// The range was divided; the positions of every sink in the parts are stored.
    Divided(Vec<(usize, Position)>),
    /// Needs operator action.
    Parked(CosmosError),
    /// The positions belong to another owner.
    Lost(Conflict),
    /// An internal error: a task of this worker panicked.
    Failed(JoinError),
}

/// Reads and writes one feed range until it is divided, parked or stopped.
pub(in crate::source) struct RangeWorker {
    pipeline: Arc<Pipeline>,
    range: FeedRange,
    positions: Arc<HeldRange>,
    meter: Arc<RangeMeter>,
    reporter: RangeReporter,
    /// The branch of this range.
    stop: CancellationToken,
    /// By sink: branches of this range.
    writes: Vec<WriteStop>,
    state: RangeState,
    views: Vec<SinkView>,
    shares: Vec<BufferShare>,
    /// By sink, what the metrics know of the range's ledger.
    counted: Vec<(Ledger, usize)>,
    rooms: ReadRooms,
    /// Readers that run, and their branches.
    readers: JoinSet<()>,
    running: Vec<(ReaderId, CancellationToken)>,
    sender: mpsc::Sender<(ReaderId, Report)>,
    reports: mpsc::Receiver<(ReaderId, Report)>,
    /// Dropped when the progress of the range has been published; that of the shared reader only once
    /// no page waits, so that it reads nothing more meanwhile.
    announced: Vec<(ReaderId, oneshot::Sender<()>)>,
    /// What a change takes, in bytes, as far as any reader has seen.
    change: Arc<AtomicUsize>,
    tasks: JoinSet<Done>,
    waits: JoinSet<usize>,
}

impl RangeWorker {
    /// `stored` has one position for each sink, all of one range; `start` is where those without an
    /// `ETag` begin.
    pub(in crate::source) fn new(
        pipeline: Arc<Pipeline>,
        stored: Vec<Position>,
        start: &Start,
        meter: Arc<RangeMeter>,
        reporter: RangeReporter,
        earlier: &EarlierWrites,
    ) -> Self {
        let stop = pipeline.ports.stop.child_token();
        let range = stored[0].range.clone();
        let views: Vec<_> = pipeline.sinks.iter().map(PipelineSink::view).collect();
        let mut waits = JoinSet::new();
        let mut held_back = vec![false; views.len()];
        for (sink, held_back) in held_back.iter_mut().enumerate() {
            let earlier = earlier.of(sink);
            *held_back = earlier.iter().any(|ended| !ended.is_cancelled());
            if *held_back {
                waits.spawn(async move {
                    for ended in earlier {
                        ended.cancelled().await;
                    }
                    sink
                });
            }
        }
        let settings = RangeSettings {
            resyncs: pipeline.settings.resyncs,
            start: start.clone(),
            slow_sinks: pipeline.settings.slow_sinks,
            window: pipeline.settings.window,
            checkpoint_interval: pipeline.settings.checkpoint_interval,
        };
        let (sender, reports) = mpsc::channel(REPORTS_AHEAD);
        let grace = pipeline.settings.stop_grace;
        let positions = HeldRange::new(Arc::clone(&pipeline), &stored, stop.clone());
        Self {
            state: RangeState::new(settings, stored, &held_back, &views, Instant::now()),
            positions: Arc::new(positions),
            writes: views.iter().map(|_| WriteStop::branch_of(&stop, grace)).collect(),
            shares: pipeline
                .sinks
                .iter()
                .map(|sink| BufferShare::new(Arc::clone(&sink.buffer)))
                .collect(),
            counted: vec![Default::default(); views.len()],
            rooms: ReadRooms::new(views.len(), pipeline.settings.window),
            views,
            range,
            meter,
            reporter,
            stop,
            readers: JoinSet::new(),
            running: Vec::new(),
            sender,
            reports,
            announced: Vec::new(),
            change: Arc::default(),
            tasks: JoinSet::new(),
            waits,
            pipeline,
        }
    }

    pub(in crate::source) async fn run(mut self) -> Ended {
        let mut tick = tokio::time::interval(self.pipeline.settings.checkpoint_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = std::pin::pin!(self.stop.clone().cancelled_owned());
        let mut is_stopped = false;
        let mut effects = Effects::default();
        let mut event = Event::Started;
        loop {
            if let Some(exit) = self.step(event, &mut effects) {
                return self.end(exit).await;
            }
            let deadline = self.state.deadline();
            event = tokio::select! {
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => done.into(),
                    Err(error) => return self.ended(RangeExit::Failed(error)),
                },
                Some((reader, report)) = self.reports.recv() => self.event(reader, report),
                Some(reader) = self.readers.join_next() => match reader {
                    Err(error) if error.is_panic() => return self.ended(RangeExit::Failed(error)),
                    // It has reported its end.
                    _ => Event::Tick,
                },
                Some(Ok(sink)) = self.waits.join_next() => Event::EarlierWritesEnded { sink },
                () = &mut stopped, if !is_stopped => {
                    is_stopped = true;
                    self.writes.iter().for_each(WriteStop::note);
                    Event::StopAsked
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    Event::Tick
                }
                _ = tick.tick() => Event::Tick,
            };
        }
    }

    /// Feeds one event to the state machine and performs the effects. Returns how the range ends.
    fn step(&mut self, event: Event, effects: &mut Effects) -> Option<Exit> {
        for (view, sink) in self.views.iter_mut().zip(&self.pipeline.sinks) {
            *view = sink.view();
        }
        self.state.on(event, Instant::now(), &self.views, effects);
        for (share, held) in self.shares.iter_mut().zip(self.state.held()) {
            share.sync(held);
        }
        self.count();
        self.reporter.report(|progress| self.state.report(progress));
        let holds_shared = self.state.holds_reader();
        self.announced.retain(|(reader, _)| holds_shared && reader.only().is_none());
        let mut exit = None;
        for effect in effects.0.drain(..) {
            match effect {
                Effect::Finish(how) => exit = Some(how),
                effect => self.perform(effect),
            }
        }
        exit
    }

    /// Tells the metrics what the ledgers got since the last time.
    fn count(&mut self) {
        let sinks = self.pipeline.sinks.iter().zip(self.state.ledgers()).zip(&mut self.counted);
        for ((sink, now), counted) in sinks.filter(|((_, now), counted)| *now != **counted) {
            sink.buffer.meter().ledger.replace(*counted, now);
            *counted = now;
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::StartReader { reader, from } => self.start_reader(reader, from),
            Effect::StopReader { reader } => self.stop_reader(reader),
            Effect::FreeReadRoom { reader, room } => self.rooms.free(reader, room),
            Effect::Write { sink, batch } => self.write(sink, batch),
            Effect::StoreDeadLetters { sink, letters, pages } => {
                self.store_dead_letters(sink, letters, pages);
            }
            Effect::Abandon { sink } => self.writes[sink].abandon(),
            Effect::StorePositions(checkpoints) => {
                let held = Arc::clone(&self.positions);
                self.tasks.spawn(async move {
                    match held.store(checkpoints).await {
                        Some(PositionWrite::Stored) => Done::PositionsStored,
                        Some(PositionWrite::Lost(conflict)) => Done::PositionsLost(conflict),
                        None => Done::StoreGivenUp,
                    }
                });
            }
            Effect::Notice(notice) => {
                Notices { pipeline: &self.pipeline, range: &self.range }.give(notice);
            }
            // Handled by the caller.
            Effect::Finish(_) => {}
        }
    }

    fn write(&mut self, sink: usize, batch: WriteBatch) {
        let (pipeline, stop) = (Arc::clone(&self.pipeline), self.writes[sink].clone());
        let range = self.range.clone();
        self.tasks.spawn(async move {
            match pipeline.deliver(sink, &range, &batch, &stop).await {
                Some(fates) => Done::Written { sink, batch, fates },
                None => Done::WriteGivenUp { sink },
            }
        });
    }

    fn store_dead_letters(&mut self, sink: usize, letters: Vec<DeadLetter>, pages: Vec<u64>) {
        let (pipeline, stop) = (Arc::clone(&self.pipeline), self.stop.clone());
        self.tasks.spawn(async move {
            match pipeline.store_dead_letters(letters, &stop).await {
                Some(()) => Done::DeadLettersStored { sink, pages },
                None => Done::WriteGivenUp { sink },
            }
        });
    }

    fn start_reader(&mut self, id: ReaderId, from: Position) {
        let Pipeline { settings, sinks, .. } = &*self.pipeline;
        let window = self.rooms.window(id, settings.window);
        let (stop, memory, memory_permits, page) = match id {
            ReaderId::Shared { .. } => {
                let (memory, permits) = self.pipeline.read_ahead();
                (self.stop.child_token(), memory, permits, self.pipeline.shared_page())
            }
            ReaderId::Own { sink, .. } => {
                let buffer = &sinks[sink].buffer;
                let (memory, permits) = buffer.own();
                (self.writes[sink].stopped.child_token(), memory, permits, buffer.own_page())
            }
        };
        let change = Arc::clone(&self.change);
        let room = Room { memory, memory_permits, window, page, change };
        let reader = Reader {
            pipeline: Arc::clone(&self.pipeline),
            range: self.range.clone(),
            meter: Arc::clone(&self.meter),
            room,
            id,
            stop: stop.clone(),
            reports: self.sender.clone(),
            start: self.state.settings.start.clone(),
        };
        self.running.push((id, stop));
        self.readers.spawn(reader.run(from));
    }

    fn stop_reader(&mut self, reader: ReaderId) {
        self.running.retain(|(running, stop)| {
            let is_it = *running == reader;
            if is_it {
                stop.cancel();
            }
            !is_it
        });
    }

    fn event(&mut self, reader: ReaderId, report: Report) -> Event {
        match report {
            Report::PageAnswered(announced) => {
                self.announced.push((reader, announced));
                Event::PageAnswered { reader }
            }
            Report::ReadFailed => Event::ReadFailed { reader },
            Report::WindowFull => Event::WindowFull { reader },
            Report::Page(page, permits) => {
                let room = self.rooms.take(reader, permits);
                Event::PageArrived { reader, page, room }
            }
            Report::Ended(end) => {
                self.running.retain(|(running, _)| *running != reader);
                Event::ReaderEnded { reader, end }
            }
        }
    }

    async fn end(self, exit: Exit) -> Ended {
        let exit = match exit {
            Exit::Stopped => RangeExit::Stopped,
            Exit::Parked(fault) => RangeExit::Parked(fault),
            Exit::Lost(conflict) => RangeExit::Lost(conflict),
            Exit::Divided { parts, ledgers } => {
                match self.positions.divide(parts.clone(), ledgers).await {
                    Some(PositionWrite::Stored) => RangeExit::Divided(parts),
                    Some(PositionWrite::Lost(conflict)) => RangeExit::Lost(conflict),
                    None => RangeExit::Stopped,
                }
            }
        };
        self.ended(exit)
    }

    fn ended(mut self, exit: RangeExit) -> Ended {
        // Readers end with their branches, abandoned writes with theirs.
        for (_, stop) in &self.running {
            stop.cancel();
        }
        for (sink, counted) in self.pipeline.sinks.iter().zip(&self.counted) {
            sink.buffer.meter().ledger.give_up(counted.1);
        }
        for (sink, follows) in self.pipeline.sinks.iter().zip(self.state.follows()) {
            if !follows {
                sink.buffer.meter().range_closed();
            }
        }
        let unfinished = UnfinishedWrites::new(self.tasks, self.state.under_way());
        Ended { exit, parked: self.state.take_parked(), unfinished }
    }
}
