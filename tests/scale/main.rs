//! Memory and delay under load. Tests that measure time run alone (`support/machine.rs`).

mod memory;
mod outage;
mod slow_sinks;
#[path = "../support/mod.rs"]
mod support;
