//! Reads one feed range ahead of its delivery.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use cosmos_bridge_cosmos::Class;
use cosmos_bridge_sink::{Cause, Wait};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::debug;

use super::pipeline::{Pipeline, READ_AHEAD_UNIT};
use super::routed::{RoutedPage, route};
use crate::backoff::{Attempts, Repeat};
use crate::cosmos::{ChangeFeed, CosmosError, Page};
use crate::governor::{Kind, Operation, Settlement, Verdict};
use crate::model::{FeedRange, Mode, Position};
use crate::observe::{RangeMeter, ReadActivity};

/// First pause after a poll that found nothing; it doubles up to the poll interval.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What the service puts into one page at most, one large transaction aside. Reserved for a page
/// that nothing is known of: many feed ranges of large documents do not all begin at once.
const LARGEST_PAGE: usize = 4 * 1024 * 1024;

/// How reading a feed range ends.
pub(super) enum End {
    Stopped,
    /// The range was divided; the last page holds the parts.
    Split,
    /// Going on needs a person.
    Parked(CosmosError),
}

/// Whose reader it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The one that all sinks share. The number tells its pages from those of an earlier one.
    Shared { epoch: u64 },
    /// That of one sink alone.
    Own { lane: usize, epoch: u64 },
}

/// What a reader says to its worker.
pub(super) enum Report {
    Page(Box<RoutedPage>),
    /// The last word.
    Ended(End),
}

/// What a reader may hold: memory over all readers that share it, and changes of its own.
#[derive(Clone)]
pub(super) struct Room {
    pub memory: Arc<Semaphore>,
    pub memory_permits: u32,
    pub window: Arc<Semaphore>,
    /// What a page is to have at most, in bytes, so that several fit.
    pub page: usize,
    /// What a change of this range takes, in bytes, judged by the last page; 0 before the first.
    pub change: Arc<AtomicUsize>,
}

impl Room {
    /// How many changes a page may have.
    fn fitting(&self) -> usize {
        match self.change.load(Relaxed) {
            0 => usize::MAX,
            change => (self.page / change).max(1),
        }
    }

    /// What to reserve for the first page, in bytes.
    fn first(&self) -> usize {
        if self.change.load(Relaxed) == 0 { LARGEST_PAGE } else { self.page.min(LARGEST_PAGE) }
    }

    fn judge_by(&self, page: &Page) {
        if let Some(change) = page.bytes.checked_div(page.changes.len()) {
            self.change.store(change, Relaxed);
        }
    }
}

/// Reads one feed range.
pub(super) struct Reader {
    pub pipeline: Arc<Pipeline>,
    pub range: FeedRange,
    pub meter: Arc<RangeMeter>,
    pub room: Room,
    pub whose: Whose,
    pub reports: mpsc::Sender<(Whose, Report)>,
}

impl Reader {
    /// Sends pages until the range ends, somebody asks to stop, or nobody listens any more.
    pub(super) async fn run(self, feed: Box<dyn ChangeFeed>) {
        let end = self.read(feed).await.unwrap_or(End::Stopped);
        self.reports.send((self.whose, Report::Ended(end))).await.ok();
    }

    /// Returns `None` when stopped.
    async fn read(&self, mut feed: Box<dyn ChangeFeed>) -> Option<End> {
        let Self { pipeline, room, .. } = self;
        let partition = pipeline.feeds.partition(&self.range);
        let mut pace = Pace::new(pipeline.feeds.page_size());
        // What the next page will hold, judged by the last; memory is reserved before it is read.
        let mut expected = room.first();
        let mut last = 0;
        loop {
            let (stop, waits) = (&pipeline.stop, &pipeline.meter.time_spent);
            let memory = waits
                .during(ReadActivity::Room, stop.run_until_cancelled(reserve(room, expected)))
                .await??;
            let page_of = vec![Operation { kind: Kind::Page, bytes: last }];
            let admission = pipeline.governor.admit(partition, page_of);
            let admission =
                waits.during(ReadActivity::Budget, stop.run_until_cancelled(admission)).await?;
            let page_size = pace.page_size(pipeline, room.fitting());
            let spans =
                pipeline.traces.as_ref().map(|traces| traces.page(&self.range, self.only()));
            let page = feed.next_page(page_size);
            let page = match waits
                .during(ReadActivity::Request, stop.run_until_cancelled(page))
                .await?
            {
                Ok(page) => page,
                Err(fault) => {
                    drop(memory);
                    if self.only().is_none() {
                        self.meter.refused();
                    }
                    let charge = fault.answer.charge;
                    let throttled = u32::from(fault.answer.status == 429);
                    let settled = |verdict| Settlement { charge, documents: 0, throttled, verdict };
                    match pace.after(pipeline, fault) {
                        Ok(repeat) => {
                            admission.settle(settled(repeat.verdict));
                            let pause = stop.run_until_cancelled(tokio::time::sleep(repeat.pause));
                            waits.during(ReadActivity::Refused, pause).await?;
                        }
                        Err(end) => {
                            admission.settle(settled(Verdict::Other));
                            return Some(end);
                        }
                    }
                    continue;
                }
            };
            pace.recovered(pipeline);
            let (charge, documents) = (page.charge, page.changes.len());
            let verdict = Verdict::Done;
            admission.settle(Settlement { charge, documents, throttled: 0, verdict });
            pipeline.meter.count_request(page.charge);
            self.note(&page);
            room.judge_by(&page);
            let split = page.positions.len() > 1;
            let caught_up = page.caught_up;
            let found = !page.changes.is_empty() || page.unreadable.is_some();
            last = page.bytes;
            if page.bytes > 0 {
                expected = page.bytes;
            }
            let memory = adjust(room, memory, page.bytes);
            let window = stop.run_until_cancelled(self.admit(page.changes.len()));
            let window = waits.during(ReadActivity::Room, window).await??;
            let page = route(pipeline, page, self.only(), spans, memory, window).await;
            let report = self.reports.send((self.whose, Report::Page(Box::new(page))));
            waits.during(ReadActivity::Room, stop.run_until_cancelled(report)).await?.ok()?;
            if split {
                return Some(End::Split);
            }
            if caught_up || !found {
                let pause = tokio::time::sleep(pace.pause(pipeline.poll_interval));
                waits.during(ReadActivity::Idle, stop.run_until_cancelled(pause)).await?;
            } else {
                pace.pause = None;
            }
        }
    }
}

impl Reader {
    /// The one sink that it reads for, if there is only one.
    fn only(&self) -> Option<usize> {
        match self.whose {
            Whose::Shared { .. } => None,
            Whose::Own { lane, .. } => Some(lane),
        }
    }

    /// Keeps the newest log sequence number, which tells how far there is to go; and what is read
    /// again.
    fn note(&self, page: &Page) {
        let here = page.positions.iter().filter_map(Position::lsn).max();
        if let Some(head) = page.head_lsn.max(here) {
            self.meter.head_lsn.fetch_max(head, Relaxed);
        }
        if self.only().is_none() {
            self.meter.answered(page.caught_up);
        }
        if let Some(sink) = self.only() {
            let follow = self.pipeline.spools[sink].meter();
            follow.count_reread(page.changes.len(), page.charge);
        }
    }

    /// Waits until a page fits the window. One that is larger than the window goes alone.
    async fn admit(&self, changes: usize) -> Option<Option<OwnedSemaphorePermit>> {
        let permits = u32::try_from(changes.min(self.pipeline.window)).unwrap_or(u32::MAX);
        if permits == 0 {
            return Some(None);
        }
        Arc::clone(&self.room.window).acquire_many_owned(permits).await.ok().map(Some)
    }
}

/// Waits between requests, and their size.
struct Pace {
    pause: Option<Duration>,
    attempts: Attempts,
    page_size: NonZeroU32,
}

impl Pace {
    fn new(page_size: NonZeroU32) -> Self {
        Self { pause: None, attempts: Attempts::default(), page_size }
    }

    /// How many changes to ask for, so that a page fits the budget, and memory as well.
    fn page_size(&mut self, pipeline: &Pipeline, fitting: usize) -> NonZeroU32 {
        let usual = pipeline.feeds.page_size();
        let affordable = pipeline.governor.fitting_page(usual.get() as usize);
        self.page_size = resized(self.page_size, usual, affordable.min(fitting));
        self.page_size
    }

    /// The pause after a poll that found nothing: longer each time, up to `longest`.
    fn pause(&mut self, longest: Duration) -> Duration {
        let pause = self.pause.map_or(FIRST_PAUSE, |pause| pause * 2).min(longest);
        self.pause = Some(pause);
        pause
    }

    /// How to go on after a fault, or why that is of no use.
    fn after(&mut self, pipeline: &Pipeline, fault: CosmosError) -> Result<Repeat, End> {
        let throttled = fault.answer.status == 429;
        pipeline.meter.count_request(fault.answer.charge);
        pipeline.meter.source_throttled.inc_by(u64::from(throttled));
        let cause = match fault.class() {
            Class::ContainerReplaced | Class::Defect => return Err(End::Parked(fault)),
            // In this mode a refusal means that the position has left the retention window.
            Class::Refused if pipeline.feeds.identity().mode == Mode::AllVersionsAndDeletes => {
                return Err(End::Parked(fault));
            }
            // There is nothing else to read: even what should never pass is tried again.
            class => class.cause().unwrap_or(Cause::Fault),
        };
        pipeline.throttling.count(1, u32::from(throttled));
        let repeat = self.attempts.after(Wait { cause, retry_after: fault.retry_after() });
        let answer = &fault.answer;
        debug!(
            pipeline = pipeline.name,
            status = answer.status,
            sub_status = answer.sub_status,
            ?cause,
            pause = ?repeat.pause,
            error = %fault,
            "reading has to wait"
        );
        if !throttled && cause != Cause::Moved {
            pipeline.meter.read_failures.failed(&fault.message());
        }
        Ok(repeat)
    }

    fn recovered(&mut self, pipeline: &Pipeline) {
        pipeline.throttling.count(1, 0);
        if self.attempts.have_failed() {
            self.attempts = Attempts::default();
            pipeline.meter.read_failures.recovered();
        }
    }
}

/// The next page size: `usual`, or a half, a quarter and so on of it. Another size costs a request,
/// so it changes only when it is well off what fits.
fn resized(now: NonZeroU32, usual: NonZeroU32, fitting: usize) -> NonZeroU32 {
    let current = now.get() as usize;
    if current * 4 <= fitting * 5 && fitting < current * 2 {
        return now;
    }
    let mut size = usual.get();
    while size as usize > fitting && size > 1 {
        size = size.div_ceil(2);
    }
    NonZeroU32::new(size).unwrap_or(NonZeroU32::MIN)
}

async fn reserve(room: &Room, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let permits = permits(bytes).min(room.memory_permits);
    Arc::clone(&room.memory).acquire_many_owned(permits).await.ok()
}

/// Gives back what was reserved too much. What a page holds beyond its reservation is taken as far
/// as there is any, and not waited for: it is in memory already.
fn adjust(
    room: &Room,
    mut reserved: OwnedSemaphorePermit,
    bytes: usize,
) -> Option<OwnedSemaphorePermit> {
    let wanted = if bytes == 0 { 0 } else { permits(bytes) as usize };
    let spare = reserved.num_permits().saturating_sub(wanted);
    drop(reserved.split(spare));
    let missing = wanted - reserved.num_permits();
    let missing = missing.min(room.memory.available_permits());
    let more = u32::try_from(missing)
        .ok()
        .and_then(|missing| Arc::clone(&room.memory).try_acquire_many_owned(missing).ok());
    if let Some(more) = more {
        reserved.merge(more);
    }
    (reserved.num_permits() > 0).then_some(reserved)
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(READ_AHEAD_UNIT)).unwrap_or(u32::MAX)
}
