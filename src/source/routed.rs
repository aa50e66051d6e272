//! A page of changes, as its sinks get it.

use tokio::sync::OwnedSemaphorePermit;

use super::pipeline::Pipeline;
use crate::cosmos::Page;
use crate::deliver::Placed;
use crate::model::{DeadLetter, Position};
use crate::route::Addressed;
use crate::traces::PageSpans;

/// One page of changes, routed, with what it holds of the limits.
pub(super) struct RoutedPage {
    /// Where to resume once all of it is safe. Several after a split.
    pub slices: Vec<Position>,
    /// Changes read.
    pub read: usize,
    /// With the sink that each goes to.
    pub changes: Vec<(usize, Placed)>,
    /// Changes that the route could not map, with the sink they were for.
    pub letters: Vec<(usize, DeadLetter)>,
    pub caught_up: bool,
    /// When its oldest change was committed, in seconds since the epoch.
    pub committed_at: Option<i64>,
    /// Of memory; an estimate.
    pub bytes: usize,
    pub memory: Option<OwnedSemaphorePermit>,
    pub window: Option<OwnedSemaphorePermit>,
}

/// Routes a page, for one sink `only` or for all.
pub(super) async fn route(
    pipeline: &Pipeline,
    page: Page,
    only: Option<usize>,
    spans: Option<PageSpans<'_>>,
    memory: Option<OwnedSemaphorePermit>,
    window: Option<OwnedSemaphorePermit>,
) -> RoutedPage {
    let read = page.changes.len();
    let is_for = |sink: usize| only.is_none_or(|only| only == sink);
    let committed_at = page.changes.iter().filter_map(|change| change.origin.committed_at).min();
    let mut routed = RoutedPage {
        slices: page.positions,
        read,
        changes: Vec::with_capacity(read),
        letters: Vec::new(),
        caught_up: page.caught_up,
        committed_at,
        bytes: page.bytes,
        memory,
        window,
    };
    if let Some(cause) = &page.unreadable {
        let lsn = routed.slices.iter().filter_map(Position::lsn).max();
        routed.letters.extend(pipeline.unreadable(cause, lsn));
    }
    let mut filtered = 0;
    for mut change in page.changes {
        if !pipeline.wants(&change) {
            filtered += 1;
            continue;
        }
        let operation = change.event.name();
        let begin = |spans: &PageSpans<'_>| spans.begin(&mut change.origin, operation);
        let span = spans.as_ref().and_then(begin);
        let before = (routed.changes.len(), routed.letters.len());
        let result = pipeline.router.route(change, &pipeline.source_key_paths);
        filtered += result.filtered;
        for addressed in result.changes.into_iter().filter(|change| is_for(change.sink)) {
            let sink = &pipeline.deliveries[addressed.sink];
            let partition = sink.partition(&addressed.change.partition_key).await;
            let Addressed { sink, bytes, change } = addressed;
            routed.changes.push((sink, Placed { partition, bytes, change }));
        }
        let letters = result.rejected.into_iter().map(|r| (r.sink, pipeline.unroutable(r)));
        routed.letters.extend(letters);
        if let (Some(spans), Some(span)) = (&spans, span) {
            let (changes, letters) = before;
            spans.end(&span, routed.changes.len() - changes, routed.letters.len() - letters);
        }
    }
    routed.letters.retain(|(sink, _)| is_for(*sink));
    if only.is_none() {
        pipeline.meter.read.inc_by(read as u64);
        pipeline.meter.filtered.inc_by(filtered as u64);
    }
    routed
}
