//! What the bridge knows about itself, and how it says so.

pub mod log;
mod meter;
mod progress;
mod trouble;

pub use meter::{BudgetMeter, Direction, Meter, PipelineMeter, RangeMeter, SinkMeter, Totals};
pub use progress::show;
pub use trouble::Trouble;
