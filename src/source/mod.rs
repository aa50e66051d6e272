//! Reads the change feed, one feed range at a time.

mod backfill;
mod coordinator;
mod dead_letters;
mod first_positions;
mod full_copy;
mod history;
mod letter_limit;
mod pipeline;
mod progress;
mod range;
mod range_plan;
mod reader;
mod replay;
mod resync;
mod routed;
mod sample;
mod sink_buffer;
mod state_write;
mod sweep;
mod sweep_schedule;
#[cfg(test)]
mod tests;

pub use backfill::{
    Refusal, Refusals, SelectedFeeds, Selection, SentDocuments, Tally, Wanted, begin_now,
};
pub use coordinator::{PipelineEnd, PipelineError, run};
pub use letter_limit::LimitExceeded;
pub use pipeline::{Clock, Pipeline, PipelineSettings, Ports};
pub use reader::PollLimits;
pub use replay::{Replay, ReplayError, ReplaySummary};
pub use sample::SinkSample;
pub use sweep::SweptSink;
