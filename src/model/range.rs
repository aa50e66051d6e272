//! Feed ranges.

use std::fmt;

/// A range of effective partition keys that is read as a unit. The bounds are upper-case hexadecimal;
/// `min` is inclusive, `max` exclusive. The whole container is `""` to `"FF"`.
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
