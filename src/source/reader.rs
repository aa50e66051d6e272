//! Reads one feed range ahead of its delivery.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use cosmos_bridge_cosmos::Class;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::debug;

use super::pipeline::{Pipeline, READ_AHEAD_UNIT};
use super::{ChangeFeed, Page, Slice};
use crate::backoff::Backoff;
use crate::config::Mode;
use crate::cosmos::{Fault, PartitionId};
use crate::governor::{Kind, Operation, Verdict};
use crate::observe::RangeMeter;
use crate::route::Addressed;
use crate::state::DeadLetter;

/// First pause after a poll that found nothing; it doubles up to the poll interval.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What the service puts into one page at most, one large transaction aside. Reserved for a page
/// that nothing is known of: many feed ranges of large documents do not all begin at once.
const LARGEST_PAGE: usize = 4 * 1024 * 1024;

/// One page of changes, routed, with what it holds of the pipeline's limits.
pub(super) struct RoutedPage {
    /// Where to resume once all of it is safe. Several after a split.
    pub slices: Vec<Slice>,
    /// Changes read.
    pub read: usize,
    pub changes: Vec<Addressed>,
    /// Changes that the route could not map, with the sink they were for.
    pub letters: Vec<(usize, DeadLetter)>,
    pub caught_up: bool,
    /// When its oldest change was committed, in seconds since the epoch.
    pub committed_at: Option<i64>,
    /// Freed when the page is delivered.
    pub bytes: Option<OwnedSemaphorePermit>,
    /// Freed when its position is stored.
    pub window: Option<OwnedSemaphorePermit>,
}

/// How reading a feed range ends, stops aside.
pub(super) enum End {
    /// The range was divided; the last page holds the parts.
    Split,
    /// Going on needs a person.
    Parked(Fault),
}

/// Sends pages until the range ends or somebody asks to stop. Returns `None` when stopped.
pub(super) async fn read(
    pipeline: &Pipeline,
    mut feed: impl ChangeFeed,
    meter: &RangeMeter,
    window: &Arc<Semaphore>,
    pages: &mpsc::Sender<RoutedPage>,
) -> Option<End> {
    let mut pace = Pace::default();
    // What the next page will hold, judged by the last; memory is reserved before it is read.
    let mut expected = LARGEST_PAGE;
    let mut last = 0;
    let partition = PartitionId(0);
    loop {
        let stop = &pipeline.stop;
        let bytes = stop.within(reserve(pipeline, expected)).await??;
        let page_of = vec![Operation { kind: Kind::Page, bytes: last }];
        let admission = stop.within(pipeline.governor.admit(partition, page_of)).await?;
        let page = match stop.within(feed.next_page(pipeline.feeds.page_size)).await? {
            Ok(page) => page,
            Err(fault) => {
                drop(bytes);
                admission.settle(fault.answer.charge, 0, Verdict::Other);
                match pace.after(pipeline, fault) {
                    Ok(wait) => stop.within(tokio::time::sleep(wait)).await?,
                    Err(end) => return Some(end),
                }
                continue;
            }
        };
        pace.recovered(pipeline);
        admission.settle(page.charge, 0, Verdict::Done);
        pipeline.meter.spend(page.charge);
        note_head(meter, &page);
        let split = page.slices.len() > 1;
        let caught_up = page.caught_up;
        let found = !page.changes.is_empty() || page.unreadable.is_some();
        last = page.bytes;
        if page.bytes > 0 {
            expected = page.bytes;
        }
        let bytes = adjust(pipeline, bytes, page.bytes);
        let window = stop.within(admit(pipeline, window, page.changes.len())).await??;
        let page = route(pipeline, page, bytes, window);
        stop.within(pages.send(page)).await?.ok()?;
        if split {
            return Some(End::Split);
        }
        if caught_up || !found {
            stop.within(tokio::time::sleep(pace.pause(pipeline.poll_interval))).await?;
        } else {
            pace.pause = None;
        }
    }
}

/// Keeps the newest log sequence number, which tells how far there is to go.
fn note_head(meter: &RangeMeter, page: &Page) {
    let here = page.slices.iter().filter_map(Slice::lsn).max();
    if let Some(head) = page.head_lsn.max(here) {
        meter.head_lsn.fetch_max(head, Relaxed);
    }
}

/// Waits between requests.
#[derive(Default)]
struct Pace {
    pause: Option<Duration>,
    backoff: Option<Backoff>,
}

impl Pace {
    /// The pause after a poll that found nothing: longer each time, up to `longest`.
    fn pause(&mut self, longest: Duration) -> Duration {
        let pause = self.pause.map_or(FIRST_PAUSE, |pause| pause * 2).min(longest);
        self.pause = Some(pause);
        pause
    }

    /// How long to wait after a fault, or why waiting is of no use.
    fn after(&mut self, pipeline: &Pipeline, fault: Fault) -> Result<Duration, End> {
        let throttled = fault.answer.status == 429;
        pipeline.meter.spend(fault.answer.charge);
        pipeline.meter.source_throttled.fetch_add(u64::from(throttled), Relaxed);
        let mode = pipeline.feeds.mode;
        let moved = match fault.class() {
            Class::ContainerReplaced => return Err(End::Parked(fault)),
            // In this mode a refusal means that the position has left the retention window.
            Class::Refused if mode == Mode::AllVersionsAndDeletes => {
                return Err(End::Parked(fault));
            }
            Class::RangeMoved => true,
            _ => false,
        };
        if throttled || moved {
            debug!(error = %fault, "reading has to wait");
        } else {
            pipeline.reading.failed(&fault.to_string());
        }
        let backoff = self.backoff.get_or_insert_with(if moved {
            Backoff::for_moved_ranges
        } else {
            Backoff::for_requests
        });
        Ok(backoff.next_wait(fault.retry_after()))
    }

    fn recovered(&mut self, pipeline: &Pipeline) {
        if self.backoff.take().is_some() {
            pipeline.reading.recovered();
        }
    }
}

async fn reserve(pipeline: &Pipeline, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let permits = permits(bytes).min(pipeline.read_ahead_permits);
    Arc::clone(&pipeline.read_ahead).acquire_many_owned(permits).await.ok()
}

/// Gives back what was reserved too much. What a page holds beyond its reservation is taken as far
/// as there is any, and not waited for: it is in memory already.
fn adjust(
    pipeline: &Pipeline,
    mut reserved: OwnedSemaphorePermit,
    bytes: usize,
) -> Option<OwnedSemaphorePermit> {
    let wanted = if bytes == 0 { 0 } else { permits(bytes) as usize };
    let spare = reserved.num_permits().saturating_sub(wanted);
    drop(reserved.split(spare));
    let missing = wanted - reserved.num_permits();
    let missing = missing.min(pipeline.read_ahead.available_permits());
    let more = u32::try_from(missing)
        .ok()
        .and_then(|missing| Arc::clone(&pipeline.read_ahead).try_acquire_many_owned(missing).ok());
    if let Some(more) = more {
        reserved.merge(more);
    }
    (reserved.num_permits() > 0).then_some(reserved)
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(READ_AHEAD_UNIT)).unwrap_or(u32::MAX)
}

/// Waits until a page fits the window. One that is larger than the window goes alone.
async fn admit(
    pipeline: &Pipeline,
    window: &Arc<Semaphore>,
    changes: usize,
) -> Option<Option<OwnedSemaphorePermit>> {
    let permits = u32::try_from(changes.min(pipeline.window)).unwrap_or(u32::MAX);
    if permits == 0 {
        return Some(None);
    }
    Arc::clone(window).acquire_many_owned(permits).await.ok().map(Some)
}

fn route(
    pipeline: &Pipeline,
    page: Page,
    bytes: Option<OwnedSemaphorePermit>,
    window: Option<OwnedSemaphorePermit>,
) -> RoutedPage {
    let read = page.changes.len();
    let committed_at = page.changes.iter().filter_map(|change| change.origin.committed_at).min();
    let mut routed = RoutedPage {
        slices: page.slices,
        read,
        changes: Vec::with_capacity(read),
        letters: Vec::new(),
        caught_up: page.caught_up,
        committed_at,
        bytes,
        window,
    };
    if let Some(cause) = &page.unreadable {
        let lsn = routed.slices.iter().filter_map(Slice::lsn).max();
        routed.letters.extend(pipeline.unreadable(cause, lsn));
    }
    let mut filtered = 0;
    for change in page.changes {
        if !pipeline.wants(&change) {
            filtered += 1;
            continue;
        }
        let result = pipeline.router.route(change, &pipeline.source_key_paths);
        filtered += result.filtered;
        routed.changes.extend(result.changes);
        let letters = result.rejected.into_iter().map(|r| (r.sink, pipeline.unroutable(r)));
        routed.letters.extend(letters);
    }
    pipeline.meter.read.fetch_add(read as u64, Relaxed);
    pipeline.meter.filtered.fetch_add(filtered as u64, Relaxed);
    routed
}
