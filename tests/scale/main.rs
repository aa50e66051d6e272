//! Memory and delay under load. Tests that measure time run alone (`support/machine.rs`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod memory;
mod outage;
mod slow_sinks;
#[path = "../support/mod.rs"]
mod support;
