//! Which feed ranges to read, and where each sink starts in them. Values in, values out.

use std::collections::BTreeSet;

use crate::config::Start;
use crate::model::{FeedRange, Mode, Position, StoredPosition, uncovered};

/// Which sinks without a position in a range begin at the furthest position of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joining {
    /// They begin at the start.
    NoSink,
    /// Those that are new: for them, "now" is where the others are. What another sink has not read
    /// since the first start is due to it.
    NewSinks,
    /// All: a "now" of the service would be later still.
    Unread,
}

impl Joining {
    pub(super) fn of(start: &Start, mode: Mode) -> Self {
        match (start, mode) {
            (Start::Beginning | Start::Time(_), _) => Self::NoSink,
            (Start::Now, Mode::LatestVersion) => Self::NewSinks,
            (Start::Now, Mode::AllVersionsAndDeletes) => Self::Unread,
        }
    }
}

/// For each range, a position for each sink in the order of their names; or a range that a sink's
/// positions leave out.
///
/// The ranges are the finest that the stored positions of these sinks divide the container into: a
/// sink that was away while a range was divided resumes each part at its position in the whole. A
/// position without an `ETag` begins at the start, or where `joining` says.
pub(super) fn ranges(
    names: &[&str],
    stored: &[StoredPosition],
    joining: Joining,
) -> Result<Vec<Vec<Position>>, FeedRange> {
    let is_new = |name: &str| of(stored, name).next().is_none();
    let all_new = names.iter().all(|name| is_new(name));
    let counts = |s: &&StoredPosition| all_new || names.contains(&s.sink.as_str());
    let known: Vec<_> = stored.iter().filter(counts).map(|s| &s.position).collect();
    let mut ranges = Vec::new();
    for range in elements(&known) {
        let position = |name: &&str| {
            let here = of(stored, name).filter(|position| covers(&position.range, &range));
            // After a division that not every sink was there for: the part counts, not the whole.
            let narrowest = here.min_by(|a, b| {
                b.range.min.cmp(&a.range.min).then_with(|| a.range.max.cmp(&b.range.max))
            });
            match narrowest {
                Some(position) => Ok(position.within(range.clone())),
                None if is_new(name) => Ok(Position::of(range.clone(), None)),
                None => Err(range.clone()),
            }
        };
        let mut positions = names.iter().map(position).collect::<Result<Vec<_>, _>>()?;
        let furthest = furthest_changes(&positions);
        for (position, name) in positions.iter_mut().zip(names) {
            let joins = match joining {
                Joining::NoSink => false,
                Joining::NewSinks => is_new(name),
                Joining::Unread => true,
            };
            if joins && position.changes_after().is_none() {
                position.etag.clone_from(&furthest);
            }
        }
        ranges.push(positions);
    }
    Ok(ranges)
}

/// Lets the sinks that have read nothing of a range begin with what exists, and go on with the changes after
/// the furthest place that another sink reads them from: from there the service is known to serve them.
pub(super) fn copy_what_exists(positions: &mut [Position]) {
    let moment = furthest_changes(positions);
    for position in positions.iter_mut().filter(|position| position.changes_after().is_none()) {
        position.stream_from.clone_from(&moment);
    }
}

/// The furthest place after which a sink reads every change.
fn furthest_changes(positions: &[Position]) -> Option<String> {
    let read = positions.iter().filter(|position| position.changes_after().is_some());
    let furthest = read.max_by_key(|position| position.changes_after_lsn());
    furthest.and_then(Position::changes_after).map(str::to_owned)
}

fn of<'s>(stored: &'s [StoredPosition], sink: &str) -> impl Iterator<Item = &'s Position> {
    stored.iter().filter(move |stored| stored.sink == sink).map(|stored| &stored.position)
}

/// The first part of the container that the ranges leave out.
pub(super) fn gap(ranges: &[Vec<Position>]) -> Option<FeedRange> {
    let positions: Vec<_> = ranges.iter().map(|positions| positions[0].clone()).collect();
    uncovered(&FeedRange::whole(), &positions).into_iter().next()
}

/// The ranges between all bounds, in order, without those that no sink has.
fn elements(known: &[&Position]) -> Vec<FeedRange> {
    let bounds = known.iter().flat_map(|position| [&position.range.min, &position.range.max]);
    let bounds: Vec<_> = bounds.collect::<BTreeSet<_>>().into_iter().collect();
    let elements = bounds
        .windows(2)
        .map(|pair| FeedRange { min: pair[0].clone(), max: pair[1].clone() })
        .filter(|element| known.iter().any(|position| covers(&position.range, element)));
    elements.collect()
}

fn covers(whole: &FeedRange, part: &FeedRange) -> bool {
    whole.min <= part.min && part.max <= whole.max
}

#[cfg(test)]
mod tests {
    use super::{Joining, copy_what_exists, gap, ranges};
    use crate::model::{FeedRange, Position, StoredPosition};

    /// `sink min max etag`, with `-` for nothing; `etag/stream_from` of what existed.
    fn stored(rows: &[&str]) -> Vec<StoredPosition> {
        let some = |text: &str| (text != "-").then(|| text.to_owned());
        let row = |row: &&str| {
            let [sink, min, max, etag] = row.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{row}")
            };
            let range = FeedRange { min: some(min).unwrap_or_default(), max: max.to_owned() };
            let (etag, stream_from) = etag.split_once('/').unwrap_or((etag, "-"));
            let stream_from = some(stream_from);
            let position = Position { stream_from, ..Position::of(range, some(etag)) };
            StoredPosition { sink: sink.to_owned(), position }
        };
        rows.iter().map(row).collect()
    }

    fn shown(ranges: &[Vec<Position>]) -> Vec<String> {
        let etag = |position: &Position| {
            let etag = position.etag.as_deref().unwrap_or("-");
            let from = position.stream_from.as_ref().map(|from| format!("/{from}"));
            format!("{etag}{}", from.unwrap_or_default())
        };
        let etags =
            |positions: &[Position]| positions.iter().map(etag).collect::<Vec<_>>().join(" ");
        ranges
            .iter()
            .map(|positions| format!("{} {}", positions[0].range, etags(positions)))
            .collect()
    }

    #[test]
    fn each_sink_resumes_where_it_stood_in_the_finest_ranges() {
        type Case<'a> = (&'a str, Joining, &'a [&'a str], &'a [&'a str]);
        let (beginning, now) = (Joining::NoSink, Joining::NewSinks);
        let cases: &[Case<'_>] = &[
            (
                "alike",
                beginning,
                &["a - 7F 5", "b - 7F 6", "a 7F FF 7", "b 7F FF -"],
                &["[,7F) 5 6", "[7F,FF) 7 -"],
            ),
            (
                "away while divided",
                beginning,
                &["a - 3F 5", "a 3F 7F 6", "a 7F FF 7", "b - FF 2"],
                &["[,3F) 5 2", "[3F,7F) 6 2", "[7F,FF) 7 2"],
            ),
            (
                "divided elsewhere",
                beginning,
                &["a - 3F 5", "a 3F FF 6", "b - 7F 2", "b 7F FF 3"],
                &["[,3F) 5 2", "[3F,7F) 6 2", "[7F,FF) 6 3"],
            ),
            (
                "the whole was left next to a part",
                beginning,
                &["a - FF 2", "a - 3F 5", "b - FF 1"],
                &["[,3F) 5 1", "[3F,FF) 2 1"],
            ),
            (
                "a sink that is not configured",
                beginning,
                &["c - 3F 5", "c 3F FF 5", "a - FF 2"],
                &["[,FF) 2 -"],
            ),
            (
                "only sinks that are not configured",
                beginning,
                &["c - 3F 5", "c 3F FF 5"],
                &["[,3F) - -", "[3F,FF) - -"],
            ),
            ("a new sink", beginning, &["a - FF 9"], &["[,FF) 9 -"]),
            ("a new sink from now on", now, &["a - FF 9"], &["[,FF) 9 9"]),
            ("two new sinks from now on", now, &["c - FF 9"], &["[,FF) - -"]),
            ("a sink that has read nothing", now, &["a - FF 9", "b - FF -"], &["[,FF) 9 -"]),
            (
                "a sink that has read nothing, of all versions",
                Joining::Unread,
                &["a - FF 9", "b - FF -"],
                &["[,FF) 9 9"],
            ),
            // What existed is not read by the new one, nor left out by the others.
            ("next to a copy", Joining::Unread, &["a - FF 5/40"], &["[,FF) 5/40 40"]),
            ("two copies", Joining::Unread, &["a - FF 5/40", "b - FF -/40"], &["[,FF) 5/40 -/40"]),
            (
                "next to a copy and one further on",
                Joining::Unread,
                &["a - FF 900", "b - FF -/40"],
                &["[,FF) 900 -/40"],
            ),
            ("a copy", beginning, &["a - FF 5/40"], &["[,FF) 5/40 -"]),
        ];
        for (what, joining, rows, expected) in cases {
            let found = ranges(&["a", "b"], &stored(rows), *joining).unwrap();
            assert_eq!(shown(&found), *expected, "{what}");
            assert_eq!(gap(&found), None, "{what}");
        }
    }

    #[test]
    fn a_range_that_a_sink_leaves_out_is_found() {
        let cases: &[(&[&str], &str)] = &[
            (&["a - 3F 5", "b - FF 2"], "[3F,FF)"),
            (&["a - 3F 5", "a 7F FF 5"], "[3F,7F)"),
            (&["a 3F FF 5", "b 3F FF 5"], "[,3F)"),
        ];
        for (rows, expected) in cases {
            let found = ranges(&["a", "b"], &stored(rows), Joining::NoSink);
            let left_out = found.map_or_else(Some, |ranges| gap(&ranges));
            assert_eq!(left_out.unwrap().to_string(), *expected, "{rows:?}");
        }
    }

    #[test]
    fn a_new_sink_copies_what_exists_and_goes_on_where_the_others_read_changes() {
        // `etag/stream_from`, with `-` for nothing.
        let cases: &[(&[&str], &[&str])] = &[
            (&["7/-", "-/-"], &["7/-", "-/7"]),
            (&["-/-", "5/-", "70/-"], &["-/70", "5/-", "70/-"]),
            (&["5/9", "-/-"], &["5/9", "-/9"]),
            (&["-/9", "5/-", "-/-"], &["-/9", "5/-", "-/9"]),
            (&["8/-", "3/9"], &["8/-", "3/9"]),
        ];
        for (before, after) in cases {
            let some = |text: &str| (text != "-").then(|| text.to_owned());
            let position = |text: &&str| {
                let (etag, from) = text.split_once('/').unwrap();
                Position { stream_from: some(from), ..Position::of(FeedRange::whole(), some(etag)) }
            };
            let mut positions: Vec<_> = before.iter().map(position).collect();
            copy_what_exists(&mut positions);
            let expected: Vec<_> = after.iter().map(position).collect();
            assert_eq!(positions, expected, "{before:?}");
        }
    }
}
