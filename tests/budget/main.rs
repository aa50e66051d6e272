//! Request units: the bridge uses its budgets and does not exceed them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod limits;
mod neighbour;
#[path = "../support/mod.rs"]
mod support;
