//! cosmos-bridge replicates Azure Cosmos DB containers.
//!
//! The modules follow a document's path: [`config`] reads the file, [`source`] reads pages of
//! changes through [`cosmos`], [`route`] chooses sink and key, [`deliver`] offers each change until
//! it is safe, a sink writes it, and [`state`] stores the position up to which everything is safe.
//! [`app`] builds and runs them, [`admin`] reports on them, [`dlq`] has the commands for changes that could not
//! be written, and [`backfill`] sends a part of the data again. [`arguments`] is the command line.

pub mod admin;
pub mod app;
pub mod arguments;
pub mod backfill;
pub mod backoff;
pub mod config;
pub mod cosmos;
pub mod deliver;
pub mod dlq;
pub mod exit_code;
pub mod governor;
pub mod identity;
mod jq;
pub mod ledger;
pub mod model;
pub mod observe;
pub mod route;
pub mod source;
pub mod state;
pub mod throughput;
pub mod traces;
