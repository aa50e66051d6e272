//! Local Azure Cosmos DB accounts on loopback.
//!
//! A request passes `serve` (HTTP), `gateway` (key, faults), then `documents` (points, batches,
//! feeds, queries) or `metadata` (everything else). Documents live in `store` and its change `log`;
//! what the vendor's emulator is still needed for is behind `backend`.

pub mod account;
pub mod admission;
pub mod answer;
pub mod auth;
pub mod backend;
pub mod batch;
pub mod chance;
pub mod charge;
pub mod charges;
pub mod clock;
pub mod container;
pub mod contents;
pub mod document;
pub mod documents;
pub mod fault;
pub mod feed;
pub mod forward;
pub mod gateway;
pub mod harness;
pub mod images;
pub mod index;
pub mod key;
pub mod listing;
pub mod live;
pub mod log;
pub mod management;
pub mod metadata;
pub mod offers;
pub mod options;
pub mod orders;
pub mod patch;
pub mod query;
pub mod query_equal;
pub mod query_plan;
pub mod query_shape;
pub mod query_text;
pub mod recorder;
pub mod regions;
pub mod request;
pub mod rids;
pub mod scan;
pub mod serve;
pub mod settings;
pub mod setup;
pub mod stats;
pub mod store;
pub mod throttle;
pub mod tls;
pub mod unique;
pub mod usage;
mod words;
pub mod workload;
pub mod world;
pub mod write;

pub use auth::Trust;
pub use contents::Checksum;
pub use fault::{AnsweredBy, DropWhen, Effect, FaultRule};
pub use harness::{LocalAccounts, Options, StartError};
pub use images::{DeleteCurrent, PreviousImages};
pub use world::{ContainerSettings, ContainerState, ControlError, RangeState};
