//! Commands, starts, stops, exit codes and reloads of the real binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod loops;
#[path = "../support/mutations.rs"]
mod mutations;
mod reload;
mod signals;
#[path = "../support/mod.rs"]
mod support;
