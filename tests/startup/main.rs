//! Commands, starts, stops, exit codes and reloads of the real binary.

mod commands;
mod reload;
#[path = "../support/mod.rs"]
mod support;
