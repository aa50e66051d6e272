//! The local accounts through the Rust SDK over HTTP, and through the gateway where an SDK hides
//! the answer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod addresses;
mod agreement;
mod budget;
mod conditions;
mod documents;
mod faults;
mod feed;
mod keys;
mod listeners;
mod management;
mod offers;
mod queries;
mod ranges;
mod support;
mod throughput;
