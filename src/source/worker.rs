//! Walks one feed range: pages in, writes out, positions stored once everything is safe.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use super::pipeline::Pipeline;
use super::reader::{self, End, RoutedPage};
use super::{ChangeFeed, FeedRange, Slice};
use crate::backoff::Backoff;
use crate::cosmos::Fault;
use crate::deliver::{Lanes, Unit, Watermark};
use crate::observe::RangeMeter;
use crate::state::{DeadLetter, StoredSlice};

/// Pages that may wait between reader and worker; their bytes are bounded by the read-ahead.
const PAGES_AHEAD: usize = 4;

/// How often a position that moved without any change is stored.
const IDLE_CHECKPOINT: Duration = Duration::from_mins(1);

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
    lanes: Vec<Lane>,
    tasks: JoinSet<Done>,
    /// Sinks whose position is being stored.
    storing: usize,
    /// No page will come any more.
    read_to_end: bool,
    /// The last page's parts, when the range was divided.
    parts: Vec<Slice>,
    /// The last page answered that there is nothing newer.
    at_head: bool,
}

/// One sink of one feed range.
struct Lane {
    sink: usize,
    name: String,
    lanes: Lanes,
    watermark: Watermark<Mark>,
    /// Passed and not stored yet: where, what the window holds for it, and whether any change was
    /// among it.
    passed: Option<Passed>,
    /// What is stored, to skip what this sink has already.
    stored: Slice,
    checkpointing: bool,
    checkpointed: Instant,
    units: usize,
}

/// A page on its way.
struct Mark {
    slice: Option<Slice>,
    changes: usize,
    committed_at: Option<i64>,
    window: Arc<Option<OwnedSemaphorePermit>>,
    _bytes: Arc<Option<OwnedSemaphorePermit>>,
}

struct Passed {
    slice: Slice,
    changes: usize,
    windows: Vec<Arc<Option<OwnedSemaphorePermit>>>,
}

/// A task that ended.
enum Done {
    /// Every change is delivered or buried.
    Written {
        lane: usize,
        unit: Unit,
    },
    /// Letters of the route are kept; one page's change each.
    Buried {
        lane: usize,
        pages: Vec<u64>,
    },
    Stored {
        lane: usize,
        slice: Slice,
    },
    /// Asked to stop before it was done.
    Abandoned {
        stored: bool,
    },
}

impl Worker {
    /// `stored` has one slice per sink, all of the same range.
    pub(super) fn new(pipeline: Arc<Pipeline>, stored: Vec<Slice>, meter: Arc<RangeMeter>) -> Self {
        let range = stored[0].range.clone();
        let lanes = stored.into_iter().enumerate().map(|(sink, stored)| Lane {
            sink,
            name: pipeline.deliveries[sink].sink.name().to_owned(),
            lanes: Lanes::default(),
            watermark: Watermark::default(),
            passed: None,
            stored,
            checkpointing: false,
            checkpointed: Instant::now(),
            units: 0,
        });
        Self {
            lanes: lanes.collect(),
            window: Arc::new(Semaphore::new(pipeline.window)),
            range,
            meter,
            pipeline,
            tasks: JoinSet::new(),
            storing: 0,
            read_to_end: false,
            parts: Vec::new(),
            at_head: false,
        }
    }

    pub(super) async fn run(mut self, feed: impl ChangeFeed + 'static) -> Exit {
        let (sender, mut pages) = mpsc::channel(PAGES_AHEAD);
        let mut reading = JoinSet::new();
        let (pipeline, meter) = (Arc::clone(&self.pipeline), Arc::clone(&self.meter));
        let window = Arc::clone(&self.window);
        reading.spawn(async move { reader::read(&pipeline, feed, &meter, &window, &sender).await });
        let mut tick = tokio::time::interval(self.pipeline.checkpoint_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
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
            self.pass();
            self.checkpoint();
            self.note_progress();
            if self.read_to_end && self.tasks.is_empty() && self.is_settled() {
                break;
            }
        }
        match reading.join_next().await {
            Some(Ok(Some(End::Parked(fault)))) => Exit::Parked(fault),
            Some(Ok(Some(End::Split))) if !self.pipeline.stop.is_asked() => self.split().await,
            Some(Err(error)) => Exit::Failed(error),
            _ => Exit::Stopped,
        }
    }

    /// Nothing is left that could be done: all is stored, or a stop was asked for.
    fn is_settled(&self) -> bool {
        let stopping = self.pipeline.stop.is_asked();
        self.lanes.iter().all(|lane| {
            let stored = lane.passed.is_none();
            stored && (stopping || (lane.lanes.is_idle() && lane.watermark.is_empty()))
        })
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
        let (bytes, window) = (Arc::new(page.bytes), Arc::new(page.window));
        let mut changes: Vec<Vec<_>> = self.lanes.iter().map(|_| Vec::new()).collect();
        let mut letters: Vec<Vec<DeadLetter>> = self.lanes.iter().map(|_| Vec::new()).collect();
        for addressed in page.changes {
            changes[addressed.sink].push(addressed.change);
        }
        for letter in page.letters {
            if let Some(lane) = self.lanes.iter().position(|lane| lane.name == letter.sink) {
                letters[lane].push(letter);
            }
        }
        let queues = changes.into_iter().zip(letters);
        for (number, (changes, letters)) in queues.enumerate() {
            let lane = &mut self.lanes[number];
            // Another sink of this range was behind, so this one has the page already.
            let skip = slice.as_ref().is_some_and(|slice| lane.has(slice));
            let outstanding = if skip { 0 } else { changes.len() + letters.len() };
            let mark = Mark {
                slice: slice.clone(),
                changes: page.read,
                committed_at: page.committed_at,
                window: Arc::clone(&window),
                _bytes: Arc::clone(&bytes),
            };
            let at = lane.watermark.open(outstanding, mark);
            if skip {
                continue;
            }
            for change in changes {
                lane.lanes.push(at, change);
            }
            if !letters.is_empty() {
                self.bury(number, at, letters);
            }
        }
    }

    fn bury(&mut self, lane: usize, page: u64, letters: Vec<DeadLetter>) {
        let pipeline = Arc::clone(&self.pipeline);
        let pages = vec![page; letters.len()];
        self.tasks.spawn(async move {
            match bury(&pipeline, letters).await {
                Some(()) => Done::Buried { lane, pages },
                None => Done::Abandoned { stored: false },
            }
        });
    }

    /// Starts every write that may start now.
    fn dispatch(&mut self) {
        if self.pipeline.stop.is_asked() {
            return;
        }
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            let limits = self.pipeline.deliveries[lane.sink].sink.limits();
            while lane.units < limits.concurrency
                && let Some(unit) = lane.lanes.next_unit(limits)
            {
                lane.units += 1;
                let (pipeline, sink) = (Arc::clone(&self.pipeline), lane.sink);
                self.tasks.spawn(async move {
                    match write(&pipeline, sink, &unit).await {
                        Some(()) => Done::Written { lane: number, unit },
                        None => Done::Abandoned { stored: false },
                    }
                });
            }
        }
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Written { lane, unit } => {
                let lane = &mut self.lanes[lane];
                lane.units -= 1;
                lane.lanes.finish(&unit);
                for page in &unit.pages {
                    lane.watermark.settle(*page);
                }
            }
            Done::Buried { lane, pages } => {
                for page in pages {
                    self.lanes[lane].watermark.settle(page);
                }
            }
            Done::Stored { lane, slice } => {
                let lane = &mut self.lanes[lane];
                lane.stored = slice;
                lane.checkpointing = false;
                lane.checkpointed = Instant::now();
                self.storing -= 1;
            }
            Done::Abandoned { stored } => self.storing -= usize::from(stored),
        }
    }

    /// Moves pages that are wholly safe from "on their way" to "to be stored".
    fn pass(&mut self) {
        for lane in &mut self.lanes {
            while let Some(mark) = lane.watermark.pass() {
                let Some(slice) = mark.slice else { continue };
                let passed = lane.passed.get_or_insert_with(|| Passed {
                    slice: slice.clone(),
                    changes: 0,
                    windows: Vec::new(),
                });
                passed.slice = slice;
                passed.changes += mark.changes;
                if mark.window.is_some() {
                    passed.windows.push(mark.window);
                }
            }
        }
    }

    /// Stores positions where it is time. The only place where a position moves.
    fn checkpoint(&mut self) {
        let ending = self.read_to_end || self.pipeline.stop.is_asked();
        let pressed = self.window.available_permits() < self.pipeline.window / 2;
        let at_head = self.at_head;
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            let due = lane.passed.as_ref().is_some_and(|passed| {
                let since = lane.checkpointed.elapsed();
                let never = lane.stored.etag.is_none();
                let moved = passed.changes > 0
                    && (pressed || at_head || since >= self.pipeline.checkpoint_interval);
                ending || never || moved || since >= IDLE_CHECKPOINT
            });
            if !due || lane.checkpointing {
                continue;
            }
            let Some(Passed { slice, windows, .. }) = lane.passed.take() else { continue };
            lane.checkpointing = true;
            self.storing += 1;
            let pipeline = Arc::clone(&self.pipeline);
            let stored = StoredSlice { sink: lane.name.clone(), slice };
            self.tasks.spawn(async move {
                let done = store(&pipeline, &stored).await;
                drop(windows);
                match done {
                    Some(()) => Done::Stored { lane: number, slice: stored.slice },
                    None => Done::Abandoned { stored: true },
                }
            });
        }
    }

    fn note_progress(&self) {
        let safe = self.lanes.iter().filter_map(|lane| lane.stored.lsn()).min();
        self.meter.safe_lsn.store(safe.unwrap_or(-1), Relaxed);
        let oldest =
            self.lanes.iter().filter_map(|lane| lane.watermark.oldest()?.committed_at).min();
        self.meter.oldest_unsafe.store(oldest.unwrap_or(0), Relaxed);
        let safe = self.storing == 0
            && self.lanes.iter().all(|lane| {
                lane.lanes.is_idle()
                    && lane.watermark.is_empty()
                    && lane.passed.as_ref().is_none_or(|passed| passed.changes == 0)
            });
        if self.at_head && safe && !self.meter.caught_up.swap(true, Relaxed) {
            self.pipeline.caught_up.notify_one();
        }
    }

    /// Puts the parts in the place of the range. All of it before the parts' positions is safe.
    async fn split(self) -> Exit {
        let parts: Vec<_> = self
            .lanes
            .iter()
            .flat_map(|lane| {
                let stored =
                    |slice: &Slice| StoredSlice { sink: lane.name.clone(), slice: slice.clone() };
                self.parts.iter().map(stored)
            })
            .collect();
        let mut backoff = Backoff::for_requests();
        let Self { pipeline, range, .. } = self;
        loop {
            match pipeline.store.replace(&pipeline.name, &range, &parts).await {
                Ok(()) => return Exit::Split(parts),
                Err(error) => pipeline.storing.failed(&error.to_string()),
            }
            let wait = tokio::time::sleep(backoff.next_wait(None));
            if pipeline.stop.within(wait).await.is_none() {
                return Exit::Stopped;
            }
        }
    }
}

impl Lane {
    /// Whether everything up to this slice is stored for this sink.
    fn has(&self, slice: &Slice) -> bool {
        matches!((self.stored.lsn(), slice.lsn()), (Some(stored), Some(here)) if here <= stored)
    }
}

/// Writes a unit until every change is delivered or buried. `None` when stopped first.
async fn write(pipeline: &Pipeline, sink: usize, unit: &Unit) -> Option<()> {
    let delivery = &pipeline.deliveries[sink];
    let rejected = delivery.until_done(&unit.changes, &pipeline.stop).await?;
    let delivered = unit.changes.len() - rejected.len();
    if !rejected.is_empty() {
        let letters = rejected.into_iter().map(|r| pipeline.refused(sink, r)).collect();
        bury(pipeline, letters).await?;
    }
    pipeline.meter.delivered.fetch_add(delivered as u64, Relaxed);
    Some(())
}

/// Keeps dead letters, however often it takes. `None` when stopped first.
async fn bury(pipeline: &Pipeline, letters: Vec<DeadLetter>) -> Option<()> {
    let count = letters.len() as u64;
    let mut backoff = Backoff::for_requests();
    while let Err(error) = pipeline.store.bury(letters.clone()).await {
        pipeline.storing.failed(&error.to_string());
        pipeline.stop.within(tokio::time::sleep(backoff.next_wait(None))).await?;
    }
    pipeline.storing.recovered();
    pipeline.meter.dead_letters.fetch_add(count, Relaxed);
    for letter in &letters {
        let DeadLetter { sink, cause, source_id: id, .. } = letter;
        tracing::warn!(pipeline = pipeline.name, sink, id, cause, "kept a dead letter");
    }
    Some(())
}

/// Stores a position, however often it takes. `None` when stopped first.
async fn store(pipeline: &Pipeline, stored: &StoredSlice) -> Option<()> {
    let mut backoff = Backoff::for_requests();
    while let Err(error) = pipeline.store.checkpoint(&pipeline.name, stored).await {
        pipeline.storing.failed(&error.to_string());
        pipeline.stop.within(tokio::time::sleep(backoff.next_wait(None))).await?;
    }
    pipeline.storing.recovered();
    Some(())
}
