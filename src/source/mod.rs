//! Reads the change feed, one feed range at a time.

mod change;
mod coordinator;
mod feed;
mod lane;
mod pipeline;
mod range;
mod reader;
mod worker;

pub use change::{Event, SourceChange};
pub use coordinator::{PipelineEnd, PipelineError, run};
pub use feed::{ChangeFeed, Page};
pub use pipeline::{Pipeline, READ_AHEAD_UNIT};
pub use range::{FeedRange, Slice, uncovered};
