//! The configuration: one TOML file, read once, checked as a whole.
//!
//! [`load`] turns the text into a [`Config`] that cannot be wrong, or into every [`Problem`] at
//! once. Nothing is repaired and unknown keys are refused. `config.toml.example` names every
//! option with its default.

mod accounts;
mod admin;
mod allowance;
mod budget;
mod credentials;
mod defaults;
mod endpoint;
mod file;
mod filters;
pub(crate) mod jq;
mod keys;
mod pipelines;
mod problem;
mod quantities;
mod reader;
mod references;
mod reload;
mod routes;
mod rules;
mod schedule;
mod secret;
mod sinks;
mod table;
#[cfg(test)]
mod tests;
mod traces;
mod units;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::model::Mode;
use cosmos_bridge_sink::KeyValue;
pub use cosmos_bridge_sink::{Path, Template};

pub use admin::Admin;
pub use allowance::{Allowance, ContainerAddress};
pub use credentials::{Credential, CredentialKind};
pub use endpoint::EndpointError;
pub use file::{load, parse, parse_recording};
pub use problem::{Problem, Problems};
pub use reader::Options;
pub use schedule::{Amount, Budget, Days, Schedule, Window};
pub use secret::{Access, Proof, Secret, SecretError, as_secret};
pub use sinks::{
    Address, AmqpSink, ClientCertificate, Compression, EventHubsSink, Events, FileSink, HeaderText,
    HttpSink, HubAccess, HubPartitioning, KafkaSasl, KafkaSink, KafkaTls, Mechanism, Unroutable,
};
pub use traces::Traces;

/// The whole file, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub state: State,
    pub credentials: BTreeMap<String, Credential>,
    pub accounts: BTreeMap<String, Account>,
    pub sinks: BTreeMap<String, Sink>,
    pub pipelines: BTreeMap<String, Pipeline>,
    pub log: Log,
    /// `None`: there is no admin address.
    pub admin: Option<Admin>,
    /// `None`: nothing is traced.
    pub traces: Option<Traces>,
    /// How long a stop may take before work under way is abandoned (and repeated at the next start).
    pub stop_within: Duration,
}

/// `[state]`: where positions and dead letters are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// An `SQLite` file; written relative to the configuration file, here joined to its folder.
    pub file: PathBuf,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// A `tracing` filter: `info`, `warn,cosmos_bridge=debug`.
    pub level: String,
    pub format: LogFormat,
    /// Operations of an account that take longer are told, with what the SDK noted.
    pub slow: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// `[accounts.<name>]`: one Cosmos DB account.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// From `endpoint`, or from the connection string.
    pub endpoint: Endpoint,
    /// Where that is, in one spelling: two accounts of one address are one.
    pub address: String,
    pub credential: AccountCredential,
    /// Preferred regions, nearest first; empty means the account's own order.
    pub regions: Vec<String>,
    /// Off only for proxies that cannot speak HTTP/2.
    pub http2: bool,
    /// Longest wait for one answer.
    pub request_timeout: Duration,
    /// Sent with each request; `None` sends nothing.
    pub priority: Option<Priority>,
    /// Sent with each request, 1 to 5; `None` sends nothing.
    pub throughput_bucket: Option<u32>,
}

/// The service's priority-based execution: what is low is throttled first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    Low,
    High,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Endpoint {
    Url(String),
    /// Taken from the connection string when the secret is read.
    FromConnectionString,
}

/// What opens an account.
#[derive(Clone, Debug, PartialEq)]
pub enum AccountCredential {
    Key(SecretRef),
    /// Never in a vault: it says where the account is, which the rules have to know.
    ConnectionString(LocalSecret),
    /// The name of one of the `[credentials]`.
    Entra(String),
}

/// Where a secret is found. The secret itself is never printed.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretRef {
    Local(LocalSecret),
    KeyVault(VaultSecret),
}

/// A place on this machine, which `secret.rs` reads.
#[derive(Clone, Debug, PartialEq)]
pub enum LocalSecret {
    /// Written relative to the configuration file, here joined to its folder.
    File(PathBuf),
    Env(String),
}

/// A secret in Azure Key Vault, which `crate::identity` reads.
#[derive(Clone, Debug, PartialEq)]
pub struct VaultSecret {
    /// The vault's address, `https://NAME.vault.azure.net`, without a slash at its end.
    pub vault: String,
    pub name: String,
    /// `None` reads the newest one.
    pub version: Option<String>,
    /// The name of one of the `[credentials]`.
    pub credential: String,
}

/// `[sinks.<type>.<name>]`. Names are unique across types.
#[derive(Clone, Debug, PartialEq)]
pub enum Sink {
    Amqp(AmqpSink),
    Cosmos(CosmosSink),
    EventHubs(EventHubsSink),
    File(FileSink),
    Http(HttpSink),
    Kafka(Box<KafkaSink>),
}

/// `[sinks.cosmos.<name>]`: a container that documents are copied into.
#[derive(Clone, Debug, PartialEq)]
pub struct CosmosSink {
    pub account: String,
    pub database: String,
    pub container: String,
    pub write: WriteStrategy,
    /// Requests under way at once.
    pub concurrency: usize,
    /// Changes per transactional batch, 1 to 100; 1 switches batches off.
    pub batch_changes: usize,
    /// Bytes per transactional batch; the service takes 2 MiB.
    pub batch_bytes: usize,
    /// What writing may use.
    pub budget: Budget,
    /// Yield at once when others on the container are throttled, and recover slowly.
    pub good_neighbour: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteStrategy {
    Upsert,
    InsertIfAbsent,
    ReplaceIfPresent,
}

/// `[pipelines.<name>]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    pub source: Source,
    pub routes: Vec<Route>,
    /// Changes per feed range that may have been delivered but not yet checkpointed: the most
    /// that is delivered again after a crash.
    pub window: usize,
    /// Longest time between a delivery and its checkpoint.
    pub checkpoint_interval: Duration,
    /// Bytes of memory for documents read ahead of delivery, over all feed ranges of the pipeline.
    pub read_ahead: usize,
    /// Bytes of memory for what one sink has not taken yet while others have.
    pub spool: usize,
    pub slow_sinks: SlowSinks,
    /// What to do with deletes that the feed reports.
    pub deletes: Deletes,
}

/// What to do with a sink that is slower than the others of its pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowSinks {
    /// Read on without it; it goes on from where it stands, by reading again.
    FallBehind,
    /// Wait for it.
    HoldAll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// Delete in the target, whether explicit or by time to live.
    All,
    /// Delete in the target only what was deleted explicitly.
    Explicit,
    /// Leave the target's document alone.
    Ignore,
}

/// `[pipelines.<name>.source]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub account: String,
    pub database: String,
    pub container: String,
    pub mode: Mode,
    pub start: Start,
    /// Changes per page; the service may send more when one transaction touched more. Fewer are asked
    /// for where a budget, `read_ahead` or `spool` is small.
    pub page_size: u32,
    /// Longest pause between polls of a feed range that has nothing new.
    pub poll_interval: Duration,
    /// What reading may use.
    pub budget: Budget,
    /// Yield at once when others on the container are throttled, and recover slowly.
    pub good_neighbour: bool,
}

/// Where to begin when nothing is stored. A stored position always wins.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    Beginning,
    Now,
    Time(jiff::Timestamp),
}

/// `[[pipelines.<name>.routes]]`: which changes go to which sink, and how they look there.
///
/// Order of work: `where` on the source document; `jq`; `include` or `exclude`; `rename`; `set`;
/// `mask`; then `partition_key` and `id`. System properties are stripped before any of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// A sink's name.
    pub to: String,
    pub filter: Option<Filter>,
    /// One expression; the document in, one document out. No output filters the change.
    pub jq: Option<String>,
    /// Keep only these paths (`id` is always kept).
    pub include: Vec<Path>,
    pub exclude: Vec<Path>,
    /// From, to.
    pub rename: Vec<(Path, Path)>,
    /// Path, constant.
    pub set: Vec<(Path, serde_json::Value)>,
    pub mask: Vec<(Path, Mask)>,
    /// Empty: the document already carries the target's key.
    pub partition_key: Vec<KeyRule>,
    /// `None` keeps the source's id.
    pub id: Option<Template>,
}

/// `where`: a comparison of one field, a combination, or a jq expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    Equals(Path, serde_json::Value),
    NotEquals(Path, serde_json::Value),
    In(Path, Vec<serde_json::Value>),
    Exists(Path, bool),
    StartsWith(Path, String),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    /// True when the first output is neither `false` nor `null`.
    Jq(String),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Mask {
    /// Replace with this text.
    Text(String),
    /// Replace with the hexadecimal SHA-256 of the value's JSON text, salted.
    Sha256 { salt: SecretRef },
}

/// How one level of the target's partition key comes about.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRule {
    /// The target's key path, top level or nested: `/customer/region`.
    pub path: Path,
    pub value: KeySource,
    /// Appends `-<bucket>` to the value, to spread a hot key.
    pub buckets: Option<Buckets>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// The field at `path` itself.
    Keep,
    /// Another field, copied to `path` with its type.
    From(Path),
    /// Several fields joined to a text.
    Template(Template),
    Constant(KeyValue),
}

/// A stable hash of the values at `of`, modulo `count`.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    pub count: u32,
    pub of: Path,
}
