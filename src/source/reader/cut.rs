//! The end of a pipeline in one feed range: where the first change is that was committed too late. Values in,
//! values out.
//!
//! Commit times never decrease in the order of a feed range, except where a failover sets the clock of a physical
//! partition back: what follows the first change that is too late is left to a run with a later end. No position
//! moves past that change, so nothing is lost for such a run.

use std::num::NonZeroU32;

use cosmos_bridge_sink::Origin;

use crate::cosmos::Page;
use crate::model::Position;

/// How much of a page is before the end of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// All of it.
    All,
    /// So many changes at its beginning.
    First(NonZeroU32),
    /// None of its changes.
    Nothing,
}

/// `until` in seconds since the epoch. A change whose commit time is not known counts as before it.
pub(super) fn cut(page: &Page, until: i64) -> Cut {
    let is_late = |origin: &Origin| is_late(origin, until);
    let late = page.changes.iter().position(|change| is_late(&change.origin));
    let unreadable = || page.unreadable.iter().map(|unreadable| &unreadable.origin);
    let late_lsn = first_late(page, until);
    if late.is_none() && !unreadable().any(is_late) {
        return Cut::All;
    }
    let is_before = |origin: &Origin| {
        !is_late(origin) && origin.lsn.zip(late_lsn).is_none_or(|(lsn, late)| lsn < late)
    };
    let readable = page.changes.iter().take(late.unwrap_or(usize::MAX));
    let readable = readable.take_while(|change| is_before(&change.origin)).count();
    // Changes that no sink gets are before it: those that are too late are not left out.
    let first = readable + unreadable().filter(|origin| is_before(origin)).count() + page.left_out;
    match u32::try_from(first).ok().and_then(NonZeroU32::new) {
        Some(first) => Cut::First(first),
        None => Cut::Nothing,
    }
}

fn is_late(origin: &Origin, until: i64) -> bool {
    origin.committed_at.is_some_and(|at| at >= until)
}

/// The log sequence number of the first change of a page that is too late.
fn first_late(page: &Page, until: i64) -> Option<i64> {
    let unreadable = page.unreadable.iter().map(|unreadable| &unreadable.origin);
    let all = page.changes.iter().map(|change| &*change.origin).chain(unreadable);
    all.filter(|origin| is_late(origin, until)).filter_map(|origin| origin.lsn).min()
}

/// A page that was read at `position`, without the changes that are too late. Its position is behind what is left,
/// as the service writes it: the quoted log sequence number, of which all changes have one commit time.
pub(super) fn without_late(page: Page, position: &Position, until: i64) -> Page {
    let late_lsn = first_late(&page, until);
    let is_before = |origin: &Origin| {
        !is_late(origin, until) && origin.lsn.zip(late_lsn).is_none_or(|(lsn, late)| lsn < late)
    };
    let Page { mut changes, mut unreadable, charge, head_lsn, items, left_out, .. } = page;
    let parsed = changes.len() + unreadable.len();
    let before = changes.iter().take_while(|change| is_before(&change.origin)).count();
    changes.truncate(before);
    unreadable.retain(|unreadable| is_before(&unreadable.origin));
    let bytes = changes.iter().map(crate::model::SourceChange::bytes).sum();
    let caught_up = changes.is_empty() && unreadable.is_empty();
    let kept = changes.iter().map(|change| &*change.origin);
    let kept = kept.chain(unreadable.iter().map(|unreadable| &unreadable.origin));
    let behind = kept.filter_map(|origin| origin.lsn).max().map(|lsn| format!("\"{lsn}\""));
    let etag = behind.or_else(|| position.etag.clone());
    let positions = vec![Position { etag, ..position.clone() }];
    let dropped = parsed - changes.len() - unreadable.len() + left_out;
    let items = items.saturating_sub(dropped);
    Page {
        changes,
        positions,
        // What answers is known to be as far as before.
        head_lsn,
        charge,
        caught_up,
        bytes,
        unreadable,
        items,
        ..Page::default()
    }
}

/// The parts of a range that was divided behind `position`, which are read again from there.
pub(super) fn divided(page: Page, position: &Position) -> Page {
    let parts = page.positions.into_iter().map(|part| position.within(part.range));
    Page { positions: parts.collect(), charge: page.charge, ..Page::default() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cosmos_bridge_sink::{ContainerName, PartitionKey};

    use super::*;
    use crate::cosmos::Unreadable;
    use crate::model::{Event, FeedRange, SourceChange};

    const UNTIL: i64 = 100;

    fn origin(lsn: i64, committed_at: Option<i64>) -> Origin {
        let text = |text: &str| text.to_owned();
        let container = ContainerName {
            account: text("a"),
            database: text("d"),
            container: text("c"),
            rid: text("rid"),
        };
        Origin {
            container: Arc::new(container),
            id: lsn.to_string(),
            partition_key: PartitionKey::default(),
            lsn: Some(lsn),
            nth: 0,
            committed_at,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }
    }

    /// Changes with consecutive log sequence numbers, committed at these times; those below zero cannot be
    /// parsed.
    fn page(times: &[i64]) -> Page {
        let mut page = Page {
            positions: vec![Position::of(FeedRange::whole(), Some("\"9\"".to_owned()))],
            ..Page::default()
        };
        for (lsn, time) in (1..).zip(times) {
            let origin = origin(lsn, (*time != 0).then_some(time.abs()));
            if *time < 0 {
                let (cause, document) = ("no JSON".to_owned(), Vec::new());
                page.unreadable.push(Unreadable { cause, origin, operation: "upsert", document });
            } else {
                let event = Event::Delete { previous: None, expired: false };
                page.changes.push(SourceChange { origin: Arc::new(origin), event });
            }
        }
        page
    }

    #[test]
    fn a_page_is_cut_before_its_first_change_that_is_too_late() {
        // Zero: the time is unknown.
        let table: [(&[i64], usize); 14] = [
            (&[98, 99], 2),
            (&[99, 100], 1),
            (&[99, 99, 100, 101], 2),
            (&[100, 101], 0),
            (&[0, 99, 100], 2),
            (&[0, 100], 1),
            (&[100, 0], 0),
            // The clock was set back: what follows is left to a later run.
            (&[99, 100, 99], 1),
            (&[-99, 99, 100], 2),
            (&[99, -99, 100, -101], 2),
            (&[99, -100, 101], 1),
            (&[-100], 0),
            (&[-99, -100], 1),
            (&[-98, -99], 2),
        ];
        for (times, before) in table {
            let first = u32::try_from(before).ok().and_then(NonZeroU32::new);
            let expected = match first {
                _ if before == times.len() => Cut::All,
                Some(first) => Cut::First(first),
                None => Cut::Nothing,
            };
            assert_eq!(cut(&page(times), UNTIL), expected, "{times:?}");
        }
        assert_eq!(cut(&Page::default(), UNTIL), Cut::All);
        let some = Page { left_out: 5, ..page(&[99, 100]) };
        assert_eq!(cut(&some, UNTIL), Cut::First(NonZeroU32::new(6).unwrap()));
    }

    #[test]
    fn no_position_moves_past_a_change_that_is_left_out() {
        let before = Position::of(FeedRange::whole(), Some("\"0\"".to_owned()));
        let table: [(&[i64], usize); 6] = [
            (&[98, 99, 100], 2),
            (&[100, 99], 0),
            (&[-98, 99, -100], 2),
            // What follows a change that is too late is too late, whatever its time.
            (&[100, -99], 0),
            (&[-100, 99], 0),
            (&[98, -100, 99, -99], 1),
        ];
        for (times, left) in table {
            let page = without_late(page(times), &before, UNTIL);
            assert_eq!(page.changes.len() + page.unreadable.len(), left, "{times:?}");
            let lsns: Vec<_> = page.positions.iter().map(Position::lsn).collect();
            assert_eq!(lsns, [i64::try_from(left).ok()], "{times:?}");
            assert_eq!(page.caught_up, left == 0, "{times:?}");
        }
        let part = |min: &str, max: &str| FeedRange { min: min.to_owned(), max: max.to_owned() };
        let mut whole = page(&[99, 100]);
        let parts = [part("", "7F"), part("7F", "FF")];
        whole.positions =
            parts.iter().map(|part| Position::of(part.clone(), Some("\"2\"".to_owned()))).collect();
        let expected: Vec<_> = parts.iter().map(|part| before.within(part.clone())).collect();
        let page = divided(whole, &before);
        assert_eq!((page.positions, page.changes.len()), (expected, 0));
    }
}
