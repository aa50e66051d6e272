//! Positions in a feed range.

use super::FeedRange;

/// A feed range and the `ETag` of its last page, `None` before the first page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub range: FeedRange,
    pub etag: Option<String>,
}

impl Position {
    /// The log sequence number in the `ETag`, which the service writes as a quoted number.
    pub fn lsn(&self) -> Option<i64> {
        self.etag.as_deref()?.trim_matches('"').parse().ok()
    }
}

/// The position of one sink: every change before it is safe in the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPosition {
    pub sink: String,
    pub position: Position,
}

/// The parts of `whole` that no position covers, in order. `positions` are sorted and do not overlap.
pub fn uncovered(whole: &FeedRange, positions: &[Position]) -> Vec<FeedRange> {
    let mut gaps = Vec::new();
    let mut from = whole.min.as_str();
    for position in positions {
        if position.range.min.as_str() > from {
            gaps.push(FeedRange { min: from.to_owned(), max: position.range.min.clone() });
        }
        from = position.range.max.as_str();
    }
    if from < whole.max.as_str() {
        gaps.push(FeedRange { min: from.to_owned(), max: whole.max.clone() });
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::{FeedRange, Position, uncovered};

    fn range(min: &str, max: &str) -> FeedRange {
        FeedRange { min: min.to_owned(), max: max.to_owned() }
    }

    #[test]
    fn gaps_are_found_at_every_place() {
        type Bounds<'a> = &'a [(&'a str, &'a str)];
        let whole = FeedRange::whole();
        let cases: &[(Bounds<'_>, Bounds<'_>)] = &[
            (&[], &[("", "FF")]),
            (&[("", "FF")], &[]),
            (&[("", "3F")], &[("3F", "FF")]),
            (&[("3F", "FF")], &[("", "3F")]),
            (&[("", "1F"), ("3F", "7F"), ("7F", "FF")], &[("1F", "3F")]),
        ];
        for (covered, gaps) in cases {
            let positions: Vec<_> =
                covered.iter().map(|(a, b)| Position { range: range(a, b), etag: None }).collect();
            let expected: Vec<_> = gaps.iter().map(|(a, b)| range(a, b)).collect();
            assert_eq!(uncovered(&whole, &positions), expected, "{covered:?}");
        }
    }

    #[test]
    fn an_etag_that_is_not_a_number_has_no_lsn() {
        let position =
            |etag: &str| Position { range: FeedRange::whole(), etag: Some(etag.to_owned()) };
        assert_eq!(position("\"42\"").lsn(), Some(42));
        assert_eq!(position("\"abc\"").lsn(), None);
    }
}
