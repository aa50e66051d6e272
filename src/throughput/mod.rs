//! Budgets that follow the file, the clock and the provisioned throughput.
//!
//! The configuration says what may be spent on a container, the service says what there is, and the
//! clock says what holds now. [`BudgetTask`] brings the three together and tells each governor its rate.

mod amounts;
mod keeper;
mod kept;
mod offer;
#[cfg(test)]
mod tests;

pub use keeper::BudgetTask;
pub use kept::BudgetError;
pub use offer::Offer;
