//! Reads the change feed, one feed range at a time.

mod change;
mod coordinator;
mod feed;
mod hold;
mod lane;
mod leaves;
mod mark;
mod pipeline;
mod range;
mod reader;
mod routed;
mod standing;
#[cfg(test)]
mod tests;
mod worker;

pub use change::{Event, SourceChange};
pub use coordinator::{PipelineEnd, PipelineError, run};
pub use feed::{ChangeFeed, Feeds, Page};
pub use hold::Spool;
pub use pipeline::{Pipeline, READ_AHEAD_UNIT};
pub use range::{FeedRange, Slice, uncovered};
