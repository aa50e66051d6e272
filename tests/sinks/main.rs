//! Events at brokers, in files and at HTTP endpoints, written by the real binary and read by independent clients.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod amqp;
mod eventhubs;
mod events;
mod fill;
mod kafka;
mod late;
mod poison;
mod proxy;
mod redis;
#[path = "../support/mod.rs"]
mod support;
mod traces;
