//! Faults of accounts, and what the real binary does about each.

mod accounts;
#[path = "../support/mod.rs"]
mod support;
mod table;
