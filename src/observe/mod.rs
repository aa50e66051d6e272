//! What the bridge knows about itself, and how it says so.

mod follow;
mod limit;
#[cfg(test)]
pub(crate) mod lines;
pub mod log;
mod meter;
pub mod process;
mod progress;
mod range;
mod reminders;
mod sink;
mod throttling;
mod traces;
mod trouble;
mod waits;
mod watch;

pub use follow::{PipelineSinkMetrics, Straggler};
pub use limit::Limit;
pub use meter::{BudgetMeter, Direction, Meter, Parked, Phase, PipelineMeter, Totals};
pub use progress::show;
pub use range::{RangeMeter, Sight, SinkProgress};
pub(crate) use reminders::LogThrottle;
pub use sink::SinkMeter;
pub(crate) use sink::cause_word;
pub use throttling::Throttling;
pub use traces::{Lost, TraceMeter};
pub use trouble::FailureLog;
pub use waits::{Reading, Spell, Waits, Writing};
pub(crate) use watch::{Progress, Watch};
