//! Local Azure Cosmos DB accounts on loopback.
//!
//! A request passes `serve` (HTTP), `gateway` (key, faults), then `documents` (points, batches,
//! feeds, queries) or `metadata` (everything else). Documents live in `store` and its change `log`;
//! what the vendor's emulator is still needed for stands behind `backend`.

mod account;
mod answer;
mod auth;
mod backend;
mod batch;
pub mod chance;
mod charge;
mod clock;
mod container;
mod contents;
mod document;
mod documents;
mod fault;
mod feed;
mod gateway;
mod harness;
mod key;
mod listing;
mod live;
mod log;
mod management;
mod metadata;
mod offers;
pub mod orders;
mod patch;
mod query;
mod request;
mod scan;
mod serve;
pub mod setup;
mod stats;
mod store;
mod throttle;
mod tls;
mod words;
pub mod workload;
mod world;
mod write;

pub use contents::Checksum;
pub use fault::{DropWhen, Effect, FaultRule};
pub use harness::{LocalAccounts, Options, StartError};
pub use world::{ContainerSettings, ContainerState, ControlError, RangeState};
