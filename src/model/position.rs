//! Positions in a feed range.

use super::FeedRange;

/// A feed range and the `ETag` of its last page, `None` before the first page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub range: FeedRange,
    pub etag: Option<String>,
    /// `Some` while what existed at the start is read, in latest-version mode: the `ETag` in
    /// all-versions-and-deletes mode after which the changes are read then.
    pub stream_from: Option<String>,
}

impl Position {
    /// A position in the feed of the pipeline's mode.
    pub fn of(range: FeedRange, etag: Option<String>) -> Self {
        Self { range, etag, stream_from: None }
    }

    /// The same position in another range.
    #[must_use]
    pub fn within(&self, range: FeedRange) -> Self {
        Self { range, ..self.clone() }
    }

    /// The log sequence number in the `ETag`, which the service writes as a quoted number.
    pub fn lsn(&self) -> Option<i64> {
        number(self.etag.as_deref())
    }

    /// The `ETag` after which every change is read, also each delete. While what existed is read, that is
    /// further on than the position itself.
    pub fn changes_after(&self) -> Option<&str> {
        self.stream_from.as_deref().or(self.etag.as_deref())
    }

    /// The log sequence number in [`changes_after`](Self::changes_after).
    pub fn changes_after_lsn(&self) -> Option<i64> {
        number(self.changes_after())
    }
}

fn number(etag: Option<&str>) -> Option<i64> {
    etag?.trim_matches('"').parse().ok()
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
                covered.iter().map(|(a, b)| Position::of(range(a, b), None)).collect();
            let expected: Vec<_> = gaps.iter().map(|(a, b)| range(a, b)).collect();
            assert_eq!(uncovered(&whole, &positions), expected, "{covered:?}");
        }
    }

    #[test]
    fn an_etag_that_is_not_a_number_has_no_lsn() {
        let position = |etag: &str| Position::of(FeedRange::whole(), Some(etag.to_owned()));
        assert_eq!(position("\"42\"").lsn(), Some(42));
        assert_eq!(position("\"abc\"").lsn(), None);
    }
}
