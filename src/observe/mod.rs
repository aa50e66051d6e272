//! Metrics, progress and log lines. This module only listens: no other module decides anything by it.

mod budget_meter;
mod counter_by;
mod failure_log;
mod history;
mod ledger_meter;
mod letter_log;
mod limit;
#[cfg(test)]
pub(crate) mod lines;
pub mod log;
mod meter;
mod pipeline_meter;
mod pipeline_sink;
pub mod process;
mod progress;
mod progress_sampler;
mod range;
mod rounding;
mod sink_meter;
mod text_fields;
mod throttling;
mod time_spent;
mod totals;
mod trace_meter;

pub use budget_meter::{BudgetMeter, Direction};
pub use counter_by::CounterBy;
pub use failure_log::FailureLog;
pub(crate) use history::Rough;
pub use history::{HistoryLeft, HistoryLog};
pub use ledger_meter::{LedgerMeter, LedgerStatus};
pub use limit::Limit;
pub use meter::{Meter, Phase};
pub use pipeline_meter::{Parked, PipelineMeter};
pub use pipeline_sink::{PipelineSinkMetrics, Straggler};
pub use progress::report_progress;
pub(crate) use progress_sampler::{Progress, ProgressSampler};
#[cfg(test)]
pub(crate) use range::ScriptedRange;
pub use range::{RangeMeter, SinkStatus};
pub use rounding::{hundredths, tenths};
pub use sink_meter::SinkMeter;
pub use throttling::Throttling;
pub use time_spent::{ReadActivity, TimeSpent, Timer, WriteActivity};
pub use totals::Totals;
pub use trace_meter::{DropReason, TraceMeter};
