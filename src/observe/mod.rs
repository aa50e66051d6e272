//! What the bridge knows about itself, and how it says so.

mod cpu;
mod follow;
mod limit;
#[cfg(test)]
pub(crate) mod lines;
pub mod log;
mod meter;
mod progress;
mod reminders;
mod throttling;
mod trouble;
mod waits;
mod watch;

pub use follow::{FollowMeter, Straggler};
pub use limit::Limit;
pub use meter::{BudgetMeter, Direction, Meter, PipelineMeter, RangeMeter, SinkMeter, Totals};
pub use progress::show;
pub use throttling::Throttling;
pub use trouble::Trouble;
pub use waits::{Reading, Spell, Waits, Writing};
