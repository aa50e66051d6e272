//! Request units: budgets are kept to and used up.

mod limits;
mod neighbour;
#[path = "../support/mod.rs"]
mod support;
