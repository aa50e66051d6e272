//! Replication between two local accounts by the real binary.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod backfill;
mod bulk;
mod copies;
mod crash;
mod feed_traps;
mod full_copy;
mod ids;
mod ledger;
mod lifetimes;
mod lost_history;
mod mirror;
mod modes;
mod positions;
mod postal;
mod power_loss;
mod starts;
mod strategies;
#[path = "../support/mod.rs"]
mod support;
mod target_content;
mod targets;
mod topology;
mod unparseable;
mod until;
mod values;
mod without_images;
