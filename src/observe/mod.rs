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
pub mod traces;
mod trouble;
mod waits;
mod watch;

pub use follow::{FollowMeter, Straggler};
pub use limit::Limit;
pub use meter::{BudgetMeter, Direction, Meter, Parked, Phase, PipelineMeter, Totals};
pub use progress::show;
pub use range::{RangeMeter, Reach, Sight};
pub use sink::SinkMeter;
pub use throttling::Throttling;
pub use trouble::Trouble;
pub use waits::{Reading, Spell, Waits, Writing};
pub(crate) use watch::{Progress, Watch};
