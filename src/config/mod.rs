//! The configuration: one TOML file, read once, checked as a whole.
//!
//! Each option is defined once, with `cosmos_bridge_options::options!`: here, or in the crate of the sink
//! that has it. [`load`] turns the text into a [`Config`] without mistakes, or into every [`Problem`] of
//! the file. Nothing is repaired and unknown keys are rejected.

mod accounts;
mod admin;
mod allowance;
mod budget;
mod connection_string;
mod constants;
mod containers;
mod credentials;
mod cycles;
mod dead_letters;
mod endpoint;
mod filters;
mod keys;
mod load;
mod log;
mod masks;
mod mirror;
mod mirrors;
mod names;
mod pipelines;
mod places;
mod reload;
mod route_rules;
mod routes;
mod rules;
mod schedule;
mod secret;
mod sinks;
mod soft_delete;
mod sweeps;
mod target_names;
#[cfg(test)]
mod tests;
mod traces;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use cosmos_bridge_cosmos::Strategy;
pub use cosmos_bridge_options::{
    Destination, LocalSecret, Options, Problem, Problems, SecretError, SecretRef, TextOrSecret,
    VaultSecret, as_secret,
};
use cosmos_bridge_options::{duration, file, options, table, table_like};
pub use cosmos_bridge_sink::{Path, Secret, Template};

pub use crate::model::Mode;
pub use accounts::{Account, ConnectionString, Priority};
pub use admin::Admin;
pub use allowance::{Allowance, ContainerAddress};
pub use containers::{Location, Spending};
pub use credentials::{
    AzureCli, ClientCertificate, ClientSecret, Credential, EntraOptions, ManagedIdentity,
    WorkloadIdentity,
};
pub use cycles::cycles;
pub use dead_letters::{DeadLetters, LetterLimit, Share};
pub use endpoint::{Endpoint, EndpointError};
pub use filters::{Filter, parse_filter};
pub use keys::{Buckets, KeyRule, KeySource};
pub(crate) use keys::{ID_BYTES_MAX, KEY_BYTES_MAX};
pub use load::{load, parse};
pub use log::{Log, LogFormat};
pub use masks::Mask;
pub use mirror::Mirror;
pub use pipelines::{Deletes, OnLostHistory, Pipeline, SlowSinks, Source, Start, Sweep};
pub use routes::Route;
pub use schedule::{Amount, Budget, Days, Schedule, Window};
pub use secret::{Access, Proof};
pub use sinks::{CosmosSink, EventSink, Sink};
pub use soft_delete::{SoftDelete, SoftDeleteThen};
pub use traces::Traces;

options! {
    /// The configuration file.
    pub struct Config {
        /// How long a stop may take before work in flight is abandoned, and repeated at the next start.
        // Orchestrators wait 30 seconds between the request to stop and the kill.
        stop_within: Duration = "30s", duration(Duration::from_millis(100)..=Duration::from_hours(1));
        /// Where positions and dead letters are kept.
        state: State = {}, table_like("a table", "Write [state] and in it file = \"PATH\".");
        /// What is logged.
        log: Log = {}, table_like("a table", "Write [log] and in it level = \"info\".");
        /// Metrics, health and status. Without this table there is no such address.
        admin: Option<Admin> = optional,
            table_like("a table", "Write [admin] and in it address = \"IP:PORT\".");
        /// Traces of changes. Without this table nothing is traced.
        traces: Option<Traces> = optional,
            table_like("a table", "Write [traces] and in it endpoint = \"http://HOST:4318\".");
        /// How the bridge authenticates to Microsoft Entra ID.
        credentials: BTreeMap<String, Credential> = {}, names::named(table());
        /// Cosmos DB accounts.
        accounts: BTreeMap<String, Account> = {}, names::named(table());
        /// Where changes go.
        sinks: BTreeMap<String, Sink> = {}, sinks::Sinks;
        /// What is copied.
        pipelines: BTreeMap<String, Pipeline> =
            required(pipelines::HINT), pipelines::some_pipelines();
    }
}

options! {
    /// Where positions and dead letters are kept.
    pub struct State {
        /// One SQLite file. Deleting it starts the replication over.
        // Next to the configuration, so that a copied folder is a whole bridge.
        file: PathBuf = "cosmos-bridge.db", file();
    }
}

/// The JSON Schema of the configuration file.
pub fn schema() -> serde_json::Value {
    Config::form().file_schema("The configuration of cosmos-bridge")
}
