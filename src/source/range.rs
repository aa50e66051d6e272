//! Feed ranges, and how far each has been read.

use std::fmt;

/// A range of effective partition keys that is read as a unit: upper-case hexadecimal, `min`
/// included, `max` not; the whole container is `""` to `"FF"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeedRange {
    pub min: String,
    pub max: String,
}

impl FeedRange {
    pub fn whole() -> Self {
        Self { min: String::new(), max: "FF".to_owned() }
    }
}

impl fmt::Display for FeedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{},{})", self.min, self.max)
    }
}

/// A feed range and the `ETag` of its last page; `None` before the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    pub range: FeedRange,
    pub etag: Option<String>,
}

impl Slice {
    /// The log sequence number in the `ETag`, which the service writes as a quoted number.
    pub fn lsn(&self) -> Option<i64> {
        self.etag.as_deref()?.trim_matches('"').parse().ok()
    }
}

/// The parts of `whole` that no slice covers, in order. Slices are sorted and do not overlap.
pub fn uncovered(whole: &FeedRange, slices: &[Slice]) -> Vec<FeedRange> {
    let mut gaps = Vec::new();
    let mut from = whole.min.as_str();
    for slice in slices {
        if slice.range.min.as_str() > from {
            gaps.push(FeedRange { min: from.to_owned(), max: slice.range.min.clone() });
        }
        from = slice.range.max.as_str();
    }
    if from < whole.max.as_str() {
        gaps.push(FeedRange { min: from.to_owned(), max: whole.max.clone() });
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::{FeedRange, Slice, uncovered};

    fn range(min: &str, max: &str) -> FeedRange {
        FeedRange { min: min.to_owned(), max: max.to_owned() }
    }

    #[test]
    fn gaps_are_found_wherever_they_are() {
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
            let slices: Vec<_> =
                covered.iter().map(|(a, b)| Slice { range: range(a, b), etag: None }).collect();
            let expected: Vec<_> = gaps.iter().map(|(a, b)| range(a, b)).collect();
            assert_eq!(uncovered(&whole, &slices), expected, "{covered:?}");
        }
    }

    #[test]
    fn an_etag_that_is_no_number_has_no_lsn() {
        let slice = |etag: &str| Slice { range: FeedRange::whole(), etag: Some(etag.to_owned()) };
        assert_eq!(slice("\"42\"").lsn(), Some(42));
        assert_eq!(slice("\"abc\"").lsn(), None);
    }
}
