//! What all feed ranges of one pipeline share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::dead_letters::DeadLetters;
use super::letter_limit::{LetterCount, LimitExceeded};
use super::progress::PipelineProgress;
use super::reader::PollLimits;
use super::sink_buffer::{READ_AHEAD_UNIT, SinkBuffer, SinkView};
use super::state_write::until_written;
use super::sweep::SweptSink;
use crate::config::{self, Deletes, Path, SlowSinks, Start};
use crate::cosmos::Feeds;
use crate::deliver::{BatchEnd, Delivery, WriteBatch, WriteStop};
use crate::governor::Governor;
use crate::model::{DeadLetter, Event, Fate, FeedRange, SourceChange};
use crate::observe::{Parked, PipelineMeter, Throttling};
use crate::route::Router;
use crate::state::{DeadLetterStore, PositionStore, StateError};
use crate::traces::ReadTracer;

/// The configuration of one pipeline.
#[derive(Clone, Debug)]
pub struct PipelineSettings {
    pub name: String,
    pub start: Start,
    pub source_key_paths: Vec<Path>,
    pub slow_sinks: SlowSinks,
    pub deletes: Deletes,
    pub dead_letters: config::DeadLetters,
    /// Changes of one feed range that may be delivered to a sink and not stored.
    pub window: usize,
    pub checkpoint_interval: Duration,
    /// How long writes may wait after a stop was asked for.
    pub stop_grace: Duration,
    pub polling: PollLimits,
    /// How long the source keeps all versions and deletes, where these are read.
    pub history: Option<Duration>,
    /// Whether what exists is copied again where the history is lost; otherwise it parks.
    pub resyncs: bool,
    /// Bytes that are read ahead of delivery, over all feed ranges.
    pub read_ahead: usize,
    /// Bytes that each sink may hold in memory, over all feed ranges.
    pub buffer: usize,
    /// What was committed at this time or later is not sent.
    pub until: Option<Timestamp>,
}

/// What a pipeline uses of the rest of the bridge.
pub struct Ports {
    pub feeds: Arc<dyn Feeds>,
    pub positions: Arc<dyn PositionStore>,
    pub dead_letters: Arc<dyn DeadLetterStore>,
    /// The budget of reading.
    pub governor: Arc<Governor>,
    /// `None` if traces are off.
    pub traces: Option<ReadTracer>,
    /// The time, by the clock of this machine.
    pub clock: Clock,
    /// The sinks whose copies are swept.
    pub sweeps: Vec<SweptSink>,
    /// Cancelled when everything has to stop; each feed range has a branch.
    pub stop: CancellationToken,
}

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// One pipeline, ready to run.
pub struct Pipeline {
    pub settings: PipelineSettings,
    pub ports: Ports,
    pub meter: Arc<PipelineMeter>,
    pub(super) router: Arc<Router>,
    /// In the order of the router's sink numbers.
    pub(super) sinks: Vec<PipelineSink>,
    /// In units of [`READ_AHEAD_UNIT`] bytes.
    read_ahead: Arc<Semaphore>,
    read_ahead_permits: u32,
    pub(super) throttling: Throttling,
    pub(super) progress: Arc<PipelineProgress>,
    pub(super) dead_letters: DeadLetters,
    /// The run ends when all is caught up, so that has to be proven.
    proves_end: AtomicBool,
    /// A copy is held by each reader that runs. They share what polls may cost.
    readers: Arc<()>,
    /// When the last change was read, in any feed range, or the pipeline was made.
    changed_at: Mutex<Instant>,
    pub(super) letter_count: LetterCount,
}

/// A failure that the next attempt mends takes less time.
const LASTING_FAILURE: Duration = Duration::from_millis(500);

/// How far the clocks of the service and of this machine may be apart, for the end of a pipeline.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(10);

/// One sink of one pipeline.
pub(super) struct PipelineSink {
    pub(super) delivery: Arc<Delivery>,
    pub(super) buffer: Arc<SinkBuffer>,
}

impl PipelineSink {
    pub(super) fn view(&self) -> SinkView {
        let is_failing = self.delivery.failing_for() >= Some(LASTING_FAILURE);
        SinkView { limits: self.delivery.limits(), is_failing, buffer: self.buffer.view() }
    }
}

impl Pipeline {
    /// `sinks` are in the order of the router's sink numbers.
    pub fn new(
        settings: PipelineSettings,
        ports: Ports,
        meter: Arc<PipelineMeter>,
        router: Arc<Router>,
        sinks: Vec<Arc<Delivery>>,
    ) -> Self {
        let permits = settings.read_ahead.div_ceil(READ_AHEAD_UNIT).max(1);
        let sink = |delivery: Arc<Delivery>| {
            let meter = meter.add_sink(delivery.sink.name());
            PipelineSink { buffer: Arc::new(SinkBuffer::new(settings.buffer, meter)), delivery }
        };
        let dead_letters = DeadLetters {
            pipeline: settings.name.clone(),
            source: ports.feeds.identity().container,
            sinks: sinks.iter().map(|delivery| delivery.sink.name().to_owned()).collect(),
        };
        if let Some(history) = settings.history {
            meter.set_history(history);
        }
        // A branch, so that the pipeline can be parked alone.
        let ports = Ports { stop: ports.stop.child_token(), ..ports };
        Self {
            dead_letters,
            letter_count: LetterCount::new(settings.dead_letters.clone()),
            sinks: sinks.into_iter().map(sink).collect(),
            read_ahead: Arc::new(Semaphore::new(permits)),
            read_ahead_permits: u32::try_from(permits).unwrap_or(u32::MAX),
            proves_end: AtomicBool::new(false),
            readers: Arc::default(),
            changed_at: Mutex::new(Instant::now()),
            throttling: Throttling::new(format!("reading pipeline `{}`", settings.name)),
            progress: Arc::default(),
            settings,
            ports,
            meter,
            router,
        }
    }

    /// Whether every feed range has caught up, or the pipeline has ended.
    pub fn caught_up(&self) -> watch::Receiver<bool> {
        self.progress.caught_up()
    }

    /// Has every answer that nothing is newer proven before it counts. Before the pipeline runs.
    pub fn prove_end(&self) {
        self.proves_end.store(true, Relaxed);
    }

    pub(super) fn proves_end(&self) -> bool {
        self.proves_end.load(Relaxed)
    }

    /// Whether nothing will be committed any more that is before the end of the pipeline, whichever clock
    /// is ahead.
    pub(super) fn end_is_over(&self) -> bool {
        let until = self.settings.until.and_then(|until| until.checked_add(CLOCKS_APART).ok());
        until.is_some_and(|until| (self.ports.clock)() >= until)
    }

    /// The number of readers that run.
    pub(super) fn readers(&self) -> usize {
        Arc::strong_count(&self.readers) - 1
    }

    /// Counts a reader until the result is dropped.
    pub(super) fn count_reader(&self) -> Arc<()> {
        Arc::clone(&self.readers)
    }

    /// Notes that a change was read just now.
    pub(super) fn note_change(&self) {
        *self.changed_at.lock() = Instant::now();
    }

    /// The time since the last change of any feed range.
    pub(super) fn silence(&self) -> Duration {
        self.changed_at.lock().elapsed()
    }

    /// In the order of the sinks.
    pub(super) fn sink_names(&self) -> Vec<&str> {
        self.sinks.iter().map(|sink| sink.delivery.sink.name()).collect()
    }

    /// The memory for pages of shared readers, and its permits in all.
    pub(super) fn read_ahead(&self) -> (Arc<Semaphore>, u32) {
        (Arc::clone(&self.read_ahead), self.read_ahead_permits)
    }

    /// The largest page of a shared reader, in bytes, so that it fits the read-ahead and the buffer of
    /// each sink.
    pub(super) fn shared_page(&self) -> usize {
        let buffers = self.sinks.iter().map(|sink| sink.buffer.shared_page());
        let read_ahead = self.read_ahead_permits as usize * READ_AHEAD_UNIT / 2;
        buffers.fold(read_ahead, usize::min)
    }

    /// Whether the configuration wants this change at all.
    pub(super) fn wants(&self, change: &SourceChange) -> bool {
        match (&change.event, self.settings.deletes) {
            (Event::Upsert { .. }, _) | (Event::Delete { .. }, Deletes::All) => true,
            (Event::Delete { expired, .. }, Deletes::Explicit) => !expired,
            (Event::Delete { .. }, Deletes::Ignore) => false,
        }
    }

    /// Delivers the changes of one batch of a feed range, or stores as dead letters what its sink will never take.
    /// Returns what became of each. `None` when stopped first.
    pub(super) async fn deliver(
        &self,
        sink: usize,
        range: &FeedRange,
        batch: &WriteBatch,
        stop: &WriteStop,
    ) -> Option<Vec<Option<Fate>>> {
        let PipelineSink { delivery, buffer } = &self.sinks[sink];
        let BatchEnd { rejected, fates } = delivery.until_done(batch, stop).await?;
        let delivered = batch.changes.len() - rejected.len();
        if !rejected.is_empty() {
            let letter = |r| self.dead_letters.refused(sink, range, r);
            let letters = rejected.into_iter().map(letter);
            self.store_dead_letters(letters.collect(), &self.ports.stop).await?;
        }
        buffer.meter().delivered.inc_by(delivered as u64);
        Some(fates)
    }

    /// Stores dead letters, and repeats that until it succeeds. `None` when stopped first, or once there
    /// are more than the limit allows: the changes are then read again by the next run.
    pub(super) async fn store_dead_letters(
        &self,
        letters: Vec<DeadLetter>,
        stop: &CancellationToken,
    ) -> Option<()> {
        if self.letter_count.exceeded().is_some() {
            return None;
        }
        let letters: Arc<[DeadLetter]> = letters.into();
        let write = || self.ports.dead_letters.store_dead_letters(Arc::clone(&letters));
        let are_new = until_written(&self.meter.store_failures, stop, write).await?;
        if self.ports.dead_letters.keeps() {
            for (letter, is_new) in letters.iter().zip(are_new) {
                self.meter.kept_dead_letter(letter, is_new);
            }
        }
        let cause = letters.last().map_or("", |letter| &letter.cause);
        if let Some(exceeded) = self.letter_count.count_letters(letters.len(), cause) {
            self.park(&exceeded);
        }
        Some(())
    }

    /// Stops all feed ranges of this pipeline in order; what was read is still written.
    fn park(&self, exceeded: &LimitExceeded) {
        let (pipeline, hint) = (&self.settings.name, exceeded.hint());
        if self.ports.dead_letters.keeps() {
            error!(pipeline, error = %exceeded, hint, "parked");
        }
        let (range, error) = (FeedRange::whole().to_string(), exceeded.to_string());
        self.meter.park(Parked { range, sink: None, error });
        self.ports.stop.cancel();
    }

    /// Adds the ledgers of earlier runs to those of this one.
    pub(super) async fn resume_ledgers(&self) -> Result<(), StateError> {
        for entry in self.ports.positions.ledgers(&self.settings.name).await? {
            let is_its = |sink: &&PipelineSink| sink.delivery.sink.name() == entry.sink;
            if let Some(sink) = self.sinks.iter().find(is_its) {
                sink.buffer.meter().ledger.resume(&entry.ledger);
            }
        }
        for sink in &self.sinks {
            sink.buffer.meter().log_missing();
        }
        Ok(())
    }

    /// Counts the dead letters of earlier runs.
    pub(super) async fn count_stored_letters(&self) -> Result<(), StateError> {
        let counts = self.ports.dead_letters.count_dead_letters(&self.settings.name).await?;
        self.meter.set_letters_stored(&counts);
        Ok(())
    }
}
