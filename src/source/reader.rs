//! Reads one feed range ahead of its delivery.

mod cut;
mod pace;
mod polling;
mod report;
mod room;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::full_copy;
use super::pipeline::Pipeline;
use super::routed::route;
use crate::backoff::{Attempt, Step, retry};
use crate::config::Start;
use crate::cosmos::{ChangeFeed, CosmosError, Page, Proof};
use crate::governor::{Admission, Kind, Operation, Settlement, Verdict};
use crate::model::{FeedRange, Position};
use crate::observe::{RangeMeter, ReadActivity};
use crate::traces::PageSpans;

use cut::{Cut, cut, divided, without_late};
pub(super) use pace::Pace;
use polling::PageSize;
pub use polling::PollLimits;
pub(super) use report::{PagePermits, ReaderEnd, ReaderId, Report};
pub(super) use room::Room;

/// Reads one feed range.
pub(super) struct Reader {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) range: FeedRange,
    pub(super) meter: Arc<RangeMeter>,
    pub(super) room: Room,
    pub(super) id: ReaderId,
    /// The branch of this reader.
    pub(super) stop: CancellationToken,
    pub(super) reports: mpsc::Sender<(ReaderId, Report)>,
    /// Where a position without an `ETag` begins.
    pub(super) start: Start,
}

/// What a reader reads, and how far it is.
struct Place {
    feed: Box<dyn ChangeFeed>,
    /// The last page that was returned, or where it starts.
    position: Position,
    /// The number of changes to ask for, where the end of the pipeline is near.
    size: Option<NonZeroU32>,
    /// Where the end of the feed was last proven. It is proven once: a range that waits for the others of
    /// a run must not fail in proofs that it does not need.
    proven: Option<Vec<Position>>,
    /// The same, after the end of the pipeline.
    proven_end: Option<Vec<Position>>,
}

impl Reader {
    /// Sends pages from a position on, until the range ends or the reader is stopped.
    pub(super) async fn run(self, from: Position) {
        // What is read again for one sink has no news to poll for, most of the time.
        let _counted = self.id.only().is_none().then(|| self.pipeline.count_reader());
        let end = self.read(from).await.unwrap_or(ReaderEnd::Stopped);
        self.reports.send((self.id, Report::Ended(end))).await.ok();
    }

    /// Returns `None` when stopped, or behind a page that holds the parts of a divided range.
    async fn read(&self, from: Position) -> Option<ReaderEnd> {
        let Self { pipeline, room, .. } = self;
        let feed = self.open(&from);
        let mut place = Place { feed, position: from, size: None, proven: None, proven_end: None };
        let waits = &pipeline.meter.time_spent;
        let mut pace = Pace::new(pipeline.ports.feeds.page_size());
        // What the next page will hold, judged by the last; memory is reserved before it is read.
        let mut expected = room.first();
        let mut last = 0;
        loop {
            let mut request =
                Request { reader: self, place: &mut place, pace: &mut pace, expected, last };
            let ReadPage { mut page, memory, spans, is_end } = match retry(&mut request).await? {
                Ok(read) => read,
                Err(fault) => return Some(ReaderEnd::Parked(fault)),
            };
            self.note(&page);
            room.judge_by(&page);
            let is_divided = page.positions.len() > 1;
            let (caught_up, charge) = (page.caught_up, page.charge);
            let size = page_size_of(&page);
            let found =
                !page.changes.is_empty() || !page.unreadable.is_empty() || page.left_out > 0;
            last = page.bytes;
            if page.bytes > 0 {
                expected = page.bytes;
            }
            page.bytes = bytes_of_wanted(&page);
            if self.id.only().is_none() {
                pipeline.meter.left_out.inc_by(page.left_out as u64);
            }
            let memory = room.adjust(memory, page.bytes);
            if !caught_up {
                self.announce().await?;
            }
            let window = self.admit(page.changes.len()).await?;
            let mut page = route(pipeline, &self.range, page, self.id.only(), spans).await;
            page.is_end = is_end;
            self.report(Report::Page(Box::new(page), PagePermits { memory, window })).await?;
            if is_divided {
                return None;
            }
            let pause = if caught_up || !found {
                pace.after_nothing(pipeline, charge)
            } else {
                if self.id.only().is_none() {
                    pipeline.note_change();
                }
                pace.after_changes(pipeline, size)
            };
            if !pause.is_zero() {
                let pause = self.stop.run_until_cancelled(sleep(pause));
                waits.during(ReadActivity::Idle, pause).await?;
            }
        }
    }

    fn open(&self, from: &Position) -> Box<dyn ChangeFeed> {
        full_copy::open(&self.pipeline.ports.feeds, from.clone(), &self.start)
    }

    /// Keeps the newest log sequence number, which tells how far there is to go; and what is read
    /// again.
    fn note(&self, page: &Page) {
        let here = page.positions.iter().filter_map(Position::lsn).max();
        if let Some(head) = page.head_lsn.max(here) {
            self.meter.head_lsn.fetch_max(head, Relaxed);
        }
        if let Some(sink) = self.id.only() {
            let meter = self.pipeline.sinks[sink].buffer.meter();
            meter.count_reread(page.changes.len(), page.charge);
        }
    }

    /// Waits until a page fits the window. A page larger than the window goes alone.
    async fn admit(&self, changes: usize) -> Option<Option<OwnedSemaphorePermit>> {
        let permits = u32::try_from(changes.min(self.pipeline.settings.window)).unwrap_or(u32::MAX);
        if permits == 0 {
            return Some(None);
        }
        let window = &self.room.window;
        if let Ok(permit) = Arc::clone(window).try_acquire_many_owned(permits) {
            return Some(Some(permit));
        }
        self.report(Report::WindowFull).await?;
        let permit = Arc::clone(window).acquire_many_owned(permits);
        let permit = self.stop.run_until_cancelled(permit);
        self.pipeline.meter.time_spent.during(ReadActivity::Room, permit).await?.ok().map(Some)
    }

    /// Reports that a page was read, and returns once the range's progress says so. `None` when stopped.
    async fn announce(&self) -> Option<()> {
        let (announced, published) = oneshot::channel();
        self.report(Report::PageAnswered(announced)).await?;
        // The sender is dropped without a message, while a page waits for a slow sink only after that.
        let published = self.stop.run_until_cancelled(published);
        self.pipeline.meter.time_spent.during(ReadActivity::Room, published).await.map(drop)
    }

    /// `None` when stopped.
    async fn report(&self, report: Report) -> Option<()> {
        let sent = self.stop.run_until_cancelled(self.reports.send((self.id, report)));
        self.pipeline.meter.time_spent.during(ReadActivity::Room, sent).await?.ok()
    }
}

fn page_size_of(page: &Page) -> PageSize {
    let here = page.positions.iter().filter_map(Position::lsn).max();
    let ahead = here.zip(page.head_lsn).map(|(here, head)| head.saturating_sub(here));
    PageSize { changes: page.changes.len() + page.left_out, bytes: page.bytes, ahead }
}

/// What the changes of a page take without those that are left out.
fn bytes_of_wanted(page: &Page) -> usize {
    let read = page.changes.len() + page.left_out;
    page.bytes / read.max(1) * page.changes.len() + page.bytes % read.max(1)
}

/// The request for the next page, repeated until it succeeds.
struct Request<'r> {
    reader: &'r Reader,
    place: &'r mut Place,
    pace: &'r mut Pace,
    /// Bytes that the page will take, and those of the last page.
    expected: usize,
    last: usize,
}

struct ReadPage<'r> {
    page: Page,
    memory: OwnedSemaphorePermit,
    spans: Option<PageSpans<'r>>,
    /// Nothing behind it is before the end of the pipeline.
    is_end: bool,
}

impl<'r> Attempt for Request<'r> {
    type Done = Result<ReadPage<'r>, CosmosError>;

    async fn attempt(&mut self) -> Step<Self::Done> {
        self.ask().await.unwrap_or(Step::Cancelled)
    }

    async fn pause(&mut self, pause: Duration) -> Option<()> {
        let Reader { pipeline, stop, .. } = self.reader;
        let pause = stop.run_until_cancelled(sleep(pause));
        pipeline.meter.time_spent.during(ReadActivity::Refused, pause).await
    }
}

impl Request<'_> {
    /// Asks once, with memory and budget for the answer. `None` when stopped.
    async fn ask(&mut self) -> Option<Step<<Self as Attempt>::Done>> {
        let reader = self.reader;
        let Reader { pipeline, room, stop, .. } = reader;
        let (ports, meter) = (&pipeline.ports, &pipeline.meter);
        let waits = &meter.time_spent;
        let memory = stop.run_until_cancelled(room.reserve(self.expected));
        let memory = waits.during(ReadActivity::Room, memory).await??;
        let operations = vec![Operation { kind: Kind::Page, bytes: self.last }];
        let admission = ports.governor.admit(ports.feeds.partition(&reader.range), operations);
        let admission =
            waits.during(ReadActivity::Budget, stop.run_until_cancelled(admission)).await?;
        let page_size = self.pace.page_size(pipeline, room.fitting());
        let page_size = self.place.size.map_or(page_size, |size| size.min(page_size));
        let only = reader.id.only();
        let spans = ports.traces.as_ref().map(|traces| traces.page(&reader.range, only));
        let page = stop.run_until_cancelled(self.place.feed.next_page(page_size));
        match waits.during(ReadActivity::Request, page).await? {
            Ok(page) => {
                let (charge, documents) = (page.charge, page.changes.len() + page.left_out);
                let verdict = Verdict::Done;
                admission.settle(Settlement { charge, documents, throttled: 0, verdict });
                meter.count_request(page.charge);
                let Some((mut page, mut is_end)) = self.up_to_the_end(page, page_size) else {
                    self.pace.recovered(pipeline);
                    return Some(Step::Continue);
                };
                if page.caught_up && !is_end {
                    match self.confirm_end(&page).await? {
                        Ok((caught_up, ends)) => (page.caught_up, is_end) = (caught_up, ends),
                        // The answer had no changes; it is asked for again.
                        Err(next) => return Some(next),
                    }
                }
                if let [only] = page.positions.as_slice() {
                    self.place.position.clone_from(only);
                }
                self.pace.recovered(pipeline);
                Some(Step::Done(Ok(ReadPage { page, memory, spans, is_end })))
            }
            Err(fault) => {
                drop(memory);
                self.after_failure(fault, admission).await
            }
        }
    }

    /// What of a page is before the end of the pipeline, and whether nothing behind it is. `None` if it has to
    /// be read again in a smaller size, so that its position is not behind a change that is left out.
    fn up_to_the_end(&mut self, page: Page, asked: NonZeroU32) -> Option<(Page, bool)> {
        let Reader { pipeline, .. } = self.reader;
        let Some(until) = pipeline.settings.until else { return Some((page, false)) };
        let until = until.as_second();
        let place = &mut *self.place;
        match cut(&page, until) {
            Cut::All => {
                // Behind a page that was made to fit, the first change is too late.
                place.size = place.size.filter(|size| size.get() > 1).map(|_| NonZeroU32::MIN);
                Some((page, false))
            }
            // Each part finds its own end.
            _ if page.positions.len() > 1 => Some((divided(page, &place.position), false)),
            Cut::First(first) if first < asked => {
                place.feed = self.reader.open(&place.position);
                place.size = Some(first);
                None
            }
            Cut::First(_) | Cut::Nothing => {
                let page = without_late(page, &place.position, until);
                place.feed = self.reader.open(page.positions.first().unwrap_or(&place.position));
                // Asked again while other sinks or ranges are not at their end: it may be divided.
                place.size = Some(NonZeroU32::MIN);
                Some((page, true))
            }
        }
    }

    /// Whether an answer that nothing is newer counts, and whether it is the end of the pipeline in this range;
    /// or what follows from a failure to ask. `None` when stopped.
    async fn confirm_end(
        &mut self,
        page: &Page,
    ) -> Option<Result<(bool, bool), Step<<Self as Attempt>::Done>>> {
        let pipeline = &self.reader.pipeline;
        let is = |proven: &Option<Vec<Position>>| proven.as_ref() == Some(&page.positions);
        // What is committed from now on is behind the end. So it matters only what was asked after that.
        let is_over = pipeline.end_is_over();
        let is_proven = is(&self.place.proven_end) || !is_over && is(&self.place.proven);
        if is_proven || !(is_over || pipeline.proves_end()) {
            return Some(Ok((true, is_over)));
        }
        let is_end = match self.prove_end().await? {
            Ok(is_end) => is_end,
            Err(next) => return Some(Err(next)),
        };
        let proven = is_end.then(|| page.positions.clone());
        self.place.proven_end = proven.clone().filter(|_| is_over);
        self.place.proven = proven;
        Some(Ok((is_end, is_end && is_over)))
    }

    /// Whether nothing is newer; or what follows from a failure to ask. `None` when stopped.
    async fn prove_end(&mut self) -> Option<Result<bool, Step<<Self as Attempt>::Done>>> {
        let Reader { pipeline, stop, range, .. } = self.reader;
        let ports = &pipeline.ports;
        let operations = vec![Operation { kind: Kind::Page, bytes: 0 }];
        let admission = ports.governor.admit(ports.feeds.partition(range), operations);
        let admission = stop.run_until_cancelled(admission).await?;
        match stop.run_until_cancelled(self.place.feed.prove_end()).await? {
            Ok(Proof { is_end, charge }) => {
                let verdict = Verdict::Done;
                admission.settle(Settlement { charge, documents: 0, throttled: 0, verdict });
                pipeline.meter.count_request(charge);
                Some(Ok(is_end))
            }
            Err(fault) => Some(Err(self.after_failure(fault, admission).await?)),
        }
    }

    /// What follows from a failed request. `None` when stopped.
    async fn after_failure(
        &mut self,
        fault: CosmosError,
        admission: Admission<'_>,
    ) -> Option<Step<<Self as Attempt>::Done>> {
        let charge = fault.answer.charge;
        let throttled = u32::from(fault.answer.status == 429);
        let settled = |verdict| Settlement { charge, documents: 0, throttled, verdict };
        let next = match self.pace.after(&self.reader.pipeline, fault) {
            Ok(repeat) => {
                admission.settle(settled(repeat.verdict));
                Step::RepeatAfter(repeat.pause)
            }
            Err(fault) => {
                admission.settle(settled(Verdict::Other));
                Step::Done(Err(fault))
            }
        };
        self.reader.report(Report::ReadFailed).await?;
        Some(next)
    }
}
