//! Faults of accounts, and what the real binary does about each.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
#[path = "../support/mod.rs"]
mod support;
mod table;
