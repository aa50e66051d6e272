//! Walks one feed range: pages in, writes out, positions stored once everything is safe.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use super::lane::{Lane, Mark, Memory, Urgency};
use super::pipeline::Pipeline;
use super::reader::{self, End, RoutedPage};
use super::{ChangeFeed, FeedRange, Slice};
use crate::cosmos::Fault;
use crate::deliver::Unit;
use crate::observe::RangeMeter;
use crate::state::{DeadLetter, StoredSlice};

/// Pages that may wait between reader and worker; their bytes are bounded by the read-ahead.
const PAGES_AHEAD: usize = 4;

/// How a worker ended.
#[derive(Debug)]
pub(super) enum Exit {
    /// Asked to stop; everything that was safe is stored.
    Stopped,
    /// The range was divided; the parts, every sink's, are stored in its place.
    Split(Vec<StoredSlice>),
    /// Going on needs a person.
    Parked(Fault),
    /// A defect of the bridge: a task of this worker panicked.
    Failed(JoinError),
}

/// Walks one feed range until it is divided, parked or stopped.
pub(super) struct Worker {
    pipeline: Arc<Pipeline>,
    range: FeedRange,
    meter: Arc<RangeMeter>,
    window: Arc<Semaphore>,
    /// One per sink, in the order of the pipeline's deliveries.
    lanes: Vec<Lane>,
    tasks: JoinSet<Done>,
    /// No page will come any more.
    read_to_end: bool,
    /// The last page's parts, when the range was divided.
    parts: Vec<Slice>,
    /// The last page answered that there is nothing newer.
    at_head: bool,
    /// A stop came while something had to wait: what is left is for the next start.
    abandoned: bool,
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
        slice: Slice,
    },
    /// Asked to stop before it was done.
    Abandoned,
}

impl Worker {
    /// `stored` has one slice per sink, all of the same range.
    pub(super) fn new(pipeline: Arc<Pipeline>, stored: Vec<Slice>, meter: Arc<RangeMeter>) -> Self {
        let range = stored[0].range.clone();
        let lane = |(number, stored): (usize, Slice)| {
            let sink = &pipeline.deliveries[number].sink;
            Lane::new(number, sink.name(), sink.limits().grouping, stored)
        };
        Self {
            lanes: stored.into_iter().enumerate().map(lane).collect(),
            window: Arc::new(Semaphore::new(pipeline.window)),
            range,
            meter,
            pipeline,
            tasks: JoinSet::new(),
            read_to_end: false,
            parts: Vec::new(),
            at_head: false,
            abandoned: false,
        }
    }

    pub(super) async fn run(mut self, feed: impl ChangeFeed + 'static) -> Exit {
        let (sender, mut pages) = mpsc::channel(PAGES_AHEAD);
        let mut reading = JoinSet::new();
        let (pipeline, meter) = (Arc::clone(&self.pipeline), Arc::clone(&self.meter));
        let window = Arc::clone(&self.window);
        let range = self.range.clone();
        reading.spawn(async move {
            reader::read(&pipeline, &range, feed, &meter, &window, &sender).await
        });
        let mut tick = tokio::time::interval(self.pipeline.checkpoint_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !(self.read_to_end && self.tasks.is_empty() && self.is_settled()) {
            tokio::select! {
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.finish(done),
                    Err(error) => return Exit::Failed(error),
                },
                page = pages.recv(), if !self.read_to_end => match page {
                    Some(page) => self.accept(page),
                    None => self.read_to_end = true,
                },
                _ = tick.tick() => {}
            }
            self.dispatch();
            self.checkpoint();
            self.note_progress();
        }
        match reading.join_next().await {
            Some(Ok(Some(End::Parked(fault)))) => Exit::Parked(fault),
            Some(Ok(Some(End::Split))) if !self.pipeline.stop.is_asked() => self.split().await,
            Some(Err(error)) => Exit::Failed(error),
            _ => Exit::Stopped,
        }
    }

    /// Nothing is left to do: all is delivered, if need be abandoned, and stored.
    fn is_settled(&self) -> bool {
        self.lanes.iter().all(|lane| !lane.has_passed() && (self.abandoned || lane.is_delivered()))
    }

    fn accept(&mut self, page: RoutedPage) {
        self.at_head = page.caught_up;
        if page.read > 0 {
            self.meter.caught_up.store(false, Relaxed);
        }
        let slice = if let [only] = page.slices.as_slice() {
            Some(only.clone())
        } else {
            self.parts = page.slices;
            None
        };
        let memory = Memory::new(page.bytes, page.changes.len() + page.letters.len());
        let (memory, window) = (Arc::new(memory), Arc::new(page.window));
        let mut changes: Vec<Vec<_>> = self.lanes.iter().map(|_| Vec::new()).collect();
        let mut letters: Vec<Vec<DeadLetter>> = self.lanes.iter().map(|_| Vec::new()).collect();
        for (partition, addressed) in page.changes {
            changes[addressed.sink].push((partition, addressed.change));
        }
        for (sink, letter) in page.letters {
            letters[sink].push(letter);
        }
        for (number, (changes, letters)) in changes.into_iter().zip(letters).enumerate() {
            let mark = Mark {
                slice: slice.clone(),
                changes: page.read,
                committed_at: page.committed_at,
                window: Arc::clone(&window),
                memory: Arc::clone(&memory),
            };
            let page = self.lanes[number].accept(mark, changes, letters.len());
            if let Some(page) = page.filter(|_| !letters.is_empty()) {
                self.bury(number, page, letters);
            }
        }
    }

    fn bury(&mut self, lane: usize, page: u64, letters: Vec<DeadLetter>) {
        let pipeline = Arc::clone(&self.pipeline);
        let pages = vec![page; letters.len()];
        self.tasks.spawn(async move {
            match pipeline.bury(letters).await {
                Some(()) => Done::Buried { lane, pages },
                None => Done::Abandoned,
            }
        });
    }

    /// Starts every write that may start now. What was read before a stop is still written, so
    /// that the next start repeats nothing, unless the target makes it wait.
    fn dispatch(&mut self) {
        if self.abandoned {
            return;
        }
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            let limits = self.pipeline.deliveries[lane.sink].limits();
            while let Some(unit) = lane.queue.next_unit(limits) {
                let (pipeline, sink) = (Arc::clone(&self.pipeline), lane.sink);
                self.tasks.spawn(async move {
                    match pipeline.deliver(sink, &unit).await {
                        Some(()) => Done::Written { lane: number, unit },
                        None => Done::Abandoned,
                    }
                });
            }
        }
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Written { lane, unit } => self.lanes[lane].finish(&unit),
            Done::Buried { lane, pages } => self.lanes[lane].settle(&pages),
            Done::Stored { lane, slice } => self.lanes[lane].end_checkpoint(slice),
            Done::Abandoned => self.abandoned = true,
        }
    }

    /// Stores positions where it is time. The only place where a position moves.
    fn checkpoint(&mut self) {
        let urgency = Urgency {
            interval: self.pipeline.checkpoint_interval,
            ending: self.read_to_end || self.pipeline.stop.is_asked(),
            // A page that waits for room holds what is free, so this is true while one waits.
            pressed: self.window.available_permits() < self.pipeline.window / 2,
            at_head: self.at_head,
        };
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            lane.pass();
            let Some((slice, windows)) = lane.begin_checkpoint(urgency) else { continue };
            let pipeline = Arc::clone(&self.pipeline);
            let stored = StoredSlice { sink: lane.name.clone(), slice };
            self.tasks.spawn(async move {
                let done = pipeline.checkpoint(&stored).await;
                drop(windows);
                match done {
                    Some(()) => Done::Stored { lane: number, slice: stored.slice },
                    None => Done::Abandoned,
                }
            });
        }
    }

    fn note_progress(&self) {
        let safe = self.lanes.iter().filter_map(Lane::stored_lsn).min();
        self.meter.safe_lsn.store(safe.unwrap_or(-1), Relaxed);
        let oldest = self.lanes.iter().filter_map(Lane::oldest).min();
        self.meter.oldest_unsafe.store(oldest.unwrap_or(0), Relaxed);
        let caught_up = self.at_head && self.lanes.iter().all(Lane::is_safe);
        if caught_up && !self.meter.caught_up.swap(true, Relaxed) {
            self.pipeline.caught_up.notify_one();
        }
    }

    /// Puts the parts in the place of the range. All of it before the parts' positions is safe.
    async fn split(self) -> Exit {
        let stored = |lane: &Lane, slice: &Slice| StoredSlice {
            sink: lane.name.clone(),
            slice: slice.clone(),
        };
        let of_lane = |lane| self.parts.iter().map(move |part| stored(lane, part));
        let parts: Vec<_> = self.lanes.iter().flat_map(of_lane).collect();
        match self.pipeline.divide(&self.range, &parts).await {
            Some(()) => Exit::Split(parts),
            None => Exit::Stopped,
        }
    }
}
