//! Reads the change feed, one feed range at a time.

mod coordinator;
mod hold;
mod lane;
mod leaves;
mod mark;
mod pipeline;
mod reader;
mod routed;
mod standing;
#[cfg(test)]
mod tests;
mod worker;

pub use coordinator::{PipelineEnd, PipelineError, run};
pub use hold::Spool;
pub use pipeline::{Pipeline, READ_AHEAD_UNIT};
