//! What to read: the stored feed ranges, and where each sink stands in them.

use std::collections::BTreeSet;

use crate::config::Start;
use crate::model::{FeedRange, Position, StoredPosition, uncovered};

/// One leaf per range, with a slice for each sink in the order of their names; or a range that a
/// sink's positions leave out.
///
/// The ranges are the finest that the stored positions of these sinks divide the container into: a
/// sink that was away while a range was divided resumes each part where it stood in the whole. A
/// sink without any position begins at `start`, but never at a "now" after the others' positions:
/// then it begins where the one stands that is furthest.
pub(super) fn leaves(
    names: &[&str],
    stored: &[StoredPosition],
    start: &Start,
) -> Result<Vec<Vec<Position>>, FeedRange> {
    let is_new = |name: &str| of(stored, name).next().is_none();
    let all_new = names.iter().all(|name| is_new(name));
    let counts = |s: &&StoredPosition| all_new || names.contains(&s.sink.as_str());
    let known: Vec<_> = stored.iter().filter(counts).map(|s| &s.position).collect();
    let mut leaves = Vec::new();
    for range in elements(&known) {
        let slice = |name: &&str| {
            let here = of(stored, name).filter(|slice| covers(&slice.range, &range));
            // After a division that not every sink was there for: the part counts, not the whole.
            let narrowest = here.min_by(|a, b| {
                b.range.min.cmp(&a.range.min).then_with(|| a.range.max.cmp(&b.range.max))
            });
            match narrowest {
                Some(slice) => Ok(Position { range: range.clone(), etag: slice.etag.clone() }),
                None if is_new(name) => Ok(Position { range: range.clone(), etag: None }),
                None => Err(range.clone()),
            }
        };
        let mut leaf = names.iter().map(slice).collect::<Result<Vec<_>, _>>()?;
        if *start == Start::Now {
            let furthest = leaf.iter().filter(|slice| slice.etag.is_some());
            let furthest = furthest.max_by_key(|slice| slice.lsn()).and_then(|s| s.etag.clone());
            for slice in &mut leaf {
                slice.etag = slice.etag.take().or_else(|| furthest.clone());
            }
        }
        leaves.push(leaf);
    }
    Ok(leaves)
}

fn of<'s>(stored: &'s [StoredPosition], sink: &str) -> impl Iterator<Item = &'s Position> {
    stored.iter().filter(move |stored| stored.sink == sink).map(|stored| &stored.position)
}

/// The first part of the container that the leaves leave out.
pub(super) fn gap(leaves: &[Vec<Position>]) -> Option<FeedRange> {
    let slices: Vec<_> = leaves.iter().map(|leaf| leaf[0].clone()).collect();
    uncovered(&FeedRange::whole(), &slices).into_iter().next()
}

/// The ranges between all bounds, in order, without those that nobody has.
fn elements(known: &[&Position]) -> Vec<FeedRange> {
    let bounds = known.iter().flat_map(|slice| [&slice.range.min, &slice.range.max]);
    let bounds: Vec<_> = bounds.collect::<BTreeSet<_>>().into_iter().collect();
    let elements = bounds
        .windows(2)
        .map(|pair| FeedRange { min: pair[0].clone(), max: pair[1].clone() })
        .filter(|element| known.iter().any(|slice| covers(&slice.range, element)));
    elements.collect()
}

fn covers(whole: &FeedRange, part: &FeedRange) -> bool {
    whole.min <= part.min && part.max <= whole.max
}

#[cfg(test)]
mod tests {
    use super::{gap, leaves};
    use crate::config::Start;
    use crate::model::{FeedRange, Position, StoredPosition};

    /// `sink min max etag`, with `-` for nothing.
    fn stored(rows: &[&str]) -> Vec<StoredPosition> {
        let some = |text: &str| (text != "-").then(|| text.to_owned());
        let row = |row: &&str| {
            let [sink, min, max, etag] = row.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{row}")
            };
            let range = FeedRange { min: some(min).unwrap_or_default(), max: max.to_owned() };
            StoredPosition { sink: sink.to_owned(), position: Position { range, etag: some(etag) } }
        };
        rows.iter().map(row).collect()
    }

    fn shown(leaves: &[Vec<Position>]) -> Vec<String> {
        let etags = |leaf: &[Position]| {
            let etags = leaf.iter().map(|slice| slice.etag.as_deref().unwrap_or("-"));
            etags.collect::<Vec<_>>().join(" ")
        };
        leaves.iter().map(|leaf| format!("{} {}", leaf[0].range, etags(leaf))).collect()
    }

    #[test]
    fn each_sink_resumes_where_it_stood_in_the_finest_ranges() {
        type Case<'a> = (&'a str, &'a Start, &'a [&'a str], &'a [&'a str]);
        let (beginning, now) = (&Start::Beginning, &Start::Now);
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
                "the whole was left beside a part",
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
        ];
        for (what, start, rows, expected) in cases {
            let found = leaves(&["a", "b"], &stored(rows), start).unwrap();
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
            let found = leaves(&["a", "b"], &stored(rows), &Start::Beginning);
            let left_out = found.map_or_else(Some, |leaves| gap(&leaves));
            assert_eq!(left_out.unwrap().to_string(), *expected, "{rows:?}");
        }
    }
}
