//! Request units: the bridge uses its budgets and does not exceed them.

mod limits;
mod neighbour;
#[path = "../support/mod.rs"]
mod support;
