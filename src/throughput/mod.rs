//! Budgets that follow the configuration, the clock and the provisioned throughput.
//!
//! The configuration says how much of a container may be used and when, and the service says how much is
//! provisioned. [`BudgetTask`] combines both and sets the rate of each governor.

mod amounts;
mod budget_task;
mod error;
mod managed_budget;
#[cfg(test)]
mod tests;
mod throughput_source;

pub use budget_task::BudgetTask;
pub use error::BudgetError;
pub use throughput_source::ThroughputSource;
