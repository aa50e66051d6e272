//! A page of changes, as its sinks get it.

use super::pipeline::Pipeline;
use crate::cosmos::Page;
use crate::deliver::AddressedChange;
use crate::model::{DeadLetter, FeedRange, Ledger, Position};
use crate::route::{Addressed, Owed, Rejection, Router};
use crate::traces::PageSpans;

/// One page of changes, routed.
#[derive(Debug)]
pub(super) struct RoutedPage {
    /// Where to resume once all of it is safe. Several after a split.
    pub(super) positions: Vec<Position>,
    /// Changes read.
    pub(super) read: usize,
    /// For each sink: what was read for it, and what is left out.
    pub(super) ledgers: Vec<Ledger>,
    /// With the sink that each goes to.
    pub(super) changes: Vec<(usize, AddressedChange)>,
    /// Changes that the route could not map, with the sink they were for.
    pub(super) letters: Vec<(usize, DeadLetter)>,
    pub(super) caught_up: bool,
    /// Nothing behind it is before the end of the pipeline.
    pub(super) is_end: bool,
    /// The newest log sequence number of what answered, if it told.
    pub(super) head_lsn: Option<i64>,
    /// When its oldest change was committed, in seconds since the epoch.
    pub(super) committed_at: Option<i64>,
    /// Of memory; an estimate.
    pub(super) bytes: usize,
}

/// Routes a page of a feed range, for one sink `only` or for all.
pub(super) async fn route(
    pipeline: &Pipeline,
    range: &FeedRange,
    page: Page,
    only: Option<usize>,
    spans: Option<PageSpans<'_>>,
) -> RoutedPage {
    let read = page.changes.len() + page.unreadable.len();
    let is_for = |sink: usize| only.is_none_or(|only| only == sink);
    let committed_at = page.changes.iter().filter_map(|change| change.origin.committed_at).min();
    let router = &pipeline.router;
    let mut counts = Counts::new(router, pipeline.sinks.len(), &page);
    let mut routed = RoutedPage {
        positions: page.positions,
        read,
        ledgers: Vec::new(),
        changes: Vec::with_capacity(read),
        letters: Vec::new(),
        caught_up: page.caught_up,
        is_end: false,
        head_lsn: page.head_lsn,
        committed_at,
        bytes: page.bytes,
    };
    let dead_letters = &pipeline.dead_letters;
    let page_lsn = routed.positions.iter().filter_map(Position::lsn).max();
    for unreadable in &page.unreadable {
        let letters = dead_letters.unreadable(range, unreadable, page_lsn).into_iter();
        let is_wanted = |sink| !unreadable.origin.is_snapshot || router.takes_snapshot(sink);
        counts.unreadable(is_wanted);
        routed.letters.extend(letters.filter(|(sink, _)| is_wanted(*sink)));
    }
    let mut filtered = 0;
    for mut change in page.changes {
        if !pipeline.wants(&change) {
            counts.unwanted();
            filtered += 1;
            continue;
        }
        let operation = change.event.name();
        let begin = |spans: &PageSpans<'_>| spans.begin(&mut change.origin, operation);
        let span = spans.as_ref().and_then(begin);
        let before = (routed.changes.len(), routed.letters.len());
        let result = router.route(change, &pipeline.settings.source_key_paths);
        counts.owed(&result.owed);
        filtered += result.filtered;
        for addressed in result.changes.into_iter().filter(|change| is_for(change.sink)) {
            let delivery = &pipeline.sinks[addressed.sink].delivery;
            let partition = delivery.partition(&addressed.change.partition_key).await;
            let Addressed { sink, bytes, change } = addressed;
            routed.changes.push((sink, AddressedChange { partition, bytes, change }));
        }
        let letter = |r: Rejection| (r.sink, dead_letters.unroutable(range, r));
        routed.letters.extend(result.rejected.into_iter().map(letter));
        if let (Some(spans), Some(span)) = (&spans, span) {
            let (changes, letters) = before;
            spans.end(&span, routed.changes.len() - changes, routed.letters.len() - letters);
        }
    }
    routed.letters.retain(|(sink, _)| is_for(*sink));
    routed.ledgers = counts.ledgers;
    if only.is_none() {
        pipeline.letter_count.count_read(read);
        pipeline.meter.read.inc_by(read as u64);
        pipeline.meter.filtered.inc_by(filtered as u64);
    }
    routed
}

/// What the changes of a page are for the conservation ledger of each sink. Counted next to what is made of them,
/// not from it: what gets lost on the way is missing in one of the two.
struct Counts {
    /// By sink.
    routes: Vec<u64>,
    ledgers: Vec<Ledger>,
}

impl Counts {
    fn new(router: &Router, sinks: usize, page: &Page) -> Self {
        let routes: Vec<_> = (0..sinks).map(|sink| router.routes_to(sink) as u64).collect();
        let (items, left_out) = (page.items as u64, page.left_out as u64);
        let ledger = |routes: &u64| Ledger {
            read: routes * items,
            filtered: routes * left_out,
            ..Ledger::default()
        };
        Self { ledgers: routes.iter().map(ledger).collect(), routes }
    }

    /// A change that cannot be parsed is one dead letter for each sink, however many routes it has.
    fn unreadable(&mut self, is_wanted: impl Fn(usize) -> bool) {
        for (sink, (ledger, routes)) in self.ledgers.iter_mut().zip(&self.routes).enumerate() {
            ledger.filtered += routes - u64::from(is_wanted(sink)).min(*routes);
        }
    }

    /// A change that the pipeline leaves out.
    fn unwanted(&mut self) {
        for (ledger, routes) in self.ledgers.iter_mut().zip(&self.routes) {
            ledger.filtered += routes;
        }
    }

    fn owed(&mut self, owed: &[Owed]) {
        for Owed { sink, changes } in owed {
            let ledger = &mut self.ledgers[*sink];
            match changes {
                0 => ledger.filtered += 1,
                changes => ledger.read += *changes as u64 - 1,
            }
        }
    }
}
