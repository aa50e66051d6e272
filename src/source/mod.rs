//! Reads the change feed, one feed range at a time.

mod change;
mod feed;
mod range;

pub use change::{Event, SourceChange};
pub use feed::{ChangeFeed, Page};
pub use range::{FeedRange, Slice, uncovered};
