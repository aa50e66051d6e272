//! `[sinks.<type>.<name>]`.

mod amqp;
mod cosmos;
mod eventhubs;
mod events;
mod file;
mod http;
mod kafka;

use std::path::PathBuf;

use super::accounts::names;
use super::budget::Spending;
use super::problem::meant;
use super::reader::Value;
use super::table::Table;
use super::{CosmosSink, SecretRef, Sink};

pub use amqp::{AmqpSink, ClientCertificate, Unroutable};
pub use eventhubs::{EventHubsSink, HubAccess, HubPartitioning};
pub use events::Events;
pub use file::FileSink;
pub(super) use http::headers;
pub use http::{Address, HeaderText, HttpSink};
pub use kafka::{Compression, KafkaSasl, KafkaSink, KafkaTls, Mechanism};

/// The types of sinks there are, and whether this build has them.
const TYPES: [(&str, bool); 6] = [
    ("amqp", cfg!(feature = "amqp")),
    ("cosmos", true),
    ("eventhubs", cfg!(feature = "eventhubs")),
    ("file", cfg!(feature = "file")),
    ("http", cfg!(feature = "http")),
    ("kafka", cfg!(feature = "kafka")),
];

impl Sink {
    /// The type, as the file writes it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Amqp(_) => "amqp",
            Self::Cosmos(_) => "cosmos",
            Self::EventHubs(_) => "eventhubs",
            Self::File(_) => "file",
            Self::Http(_) => "http",
            Self::Kafka(_) => "kafka",
        }
    }

    /// Where its secrets stand, with the options that name them.
    pub fn secrets(&self) -> Vec<(&'static str, SecretRef)> {
        match self {
            Self::Amqp(sink) => sink.secrets(),
            Self::EventHubs(sink) => sink.secrets(),
            Self::Http(sink) => sink.secrets(),
            Self::Kafka(sink) => sink.secrets(),
            Self::Cosmos(_) | Self::File(_) => Vec::new(),
        }
    }

    /// Files of certificates, which are replaced together with its secrets, with their options.
    pub fn certificates(&self) -> Vec<(&'static str, PathBuf)> {
        match self {
            Self::Amqp(sink) => sink.certificates(),
            Self::Http(sink) => sink.ca_file.iter().map(|path| ("ca_file", path.clone())).collect(),
            Self::Kafka(sink) => sink.certificates(),
            Self::Cosmos(_) | Self::EventHubs(_) | Self::File(_) => Vec::new(),
        }
    }

    /// What is written where that is a container.
    pub fn container(&self) -> Option<&CosmosSink> {
        match self {
            Self::Cosmos(sink) => Some(sink),
            Self::Amqp(_) | Self::EventHubs(_) | Self::File(_) | Self::Http(_) | Self::Kafka(_) => {
                None
            }
        }
    }
}

/// A container in an account, by the names in the file.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) account: String,
    pub(super) database: String,
    pub(super) container: String,
}

/// A sink as far as it could be read.
#[derive(Default)]
pub(super) struct Reading<'d> {
    pub(super) sink: Option<Sink>,
    pub(super) place: Option<Place>,
    pub(super) spending: Option<Spending<'d>>,
    /// Where its secrets stand.
    pub(super) secrets: Vec<SecretRef>,
}

impl Reading<'_> {
    /// Of a sink that publishes events.
    fn of(sink: Option<Sink>) -> Self {
        let secrets = sink.as_ref().map(Sink::secrets).unwrap_or_default();
        let secrets = secrets.into_iter().map(|(_, secret)| secret).collect();
        Self { sink, secrets, ..Self::default() }
    }
}

/// A named sink that is still to be read.
pub(super) struct Entry<'d> {
    pub(super) kind: &'d str,
    pub(super) name: &'d str,
    pub(super) value: Value<'d>,
}

/// Every named sink, of whatever type; reports types that do not exist.
pub(super) fn entries<'d>(sinks: &Value<'d>) -> Vec<Entry<'d>> {
    let mut entries = Vec::new();
    for (kind, value) in sinks.named("a table of sink types").unwrap_or_default() {
        match TYPES.iter().find(|(known, _)| *known == kind) {
            Some((_, true)) => {
                let named = names(&value.shaped(format!("sinks.{kind}")));
                entries.extend(named.into_iter().map(|(name, value)| Entry { kind, name, value }));
            }
            Some((_, false)) => {
                let hint = format!("Build it with the Cargo feature `{kind}`.");
                value.problem_unshown("this build leaves the sink type out", hint);
            }
            None => {
                let known = TYPES.map(|(known, _)| known);
                let hint = meant(kind, &known, "sink type");
                value.problem_unshown("there is no such sink type", hint);
            }
        }
    }
    entries
}

/// Reads a sink of whatever type. `accounts` and `credentials` are the names that there are.
pub(super) fn sink<'d>(entry: &Entry<'d>, accounts: &[&str], credentials: &[&str]) -> Reading<'d> {
    let value = &entry.value;
    match entry.kind {
        "amqp" => Reading::of(amqp::read(value).map(Sink::Amqp)),
        "cosmos" => cosmos::read(value, accounts),
        "eventhubs" => Reading::of(eventhubs::read(value, credentials).map(Sink::EventHubs)),
        "file" => Reading::of(file::read(value).map(Sink::File)),
        "http" => Reading::of(http::read(value).map(Sink::Http)),
        "kafka" => {
            let sink = kafka::read(value, credentials);
            Reading::of(sink.map(|sink| Sink::Kafka(Box::new(sink))))
        }
        // Refused with the names of the types.
        _ => Reading::default(),
    }
}

/// `account`, `database` and `container`, which have no defaults.
pub(super) fn place(table: &Table<'_>, accounts: &[&str]) -> Option<Place> {
    let account = table
        .required("account", "Name one of the [accounts.NAME] tables.")
        .and_then(|value| reference(&value, accounts, "account"));
    let database = table
        .required("database", "Write the name of the database.")
        .and_then(|value| value.resource());
    let container = table
        .required("container", "Write the name of the container.")
        .and_then(|value| value.resource());
    Some(Place { account: account?, database: database?, container: container? })
}

/// The name of something that stands elsewhere in the file.
pub(super) fn reference(value: &Value<'_>, names: &[&str], what: &str) -> Option<String> {
    let written = value.text()?;
    if names.contains(&written) {
        return Some(written.to_owned());
    }
    let hint = match (what, names) {
        ("sink", []) => "There are no sinks: write [sinks.cosmos.NAME].".to_owned(),
        (_, []) => format!("There are no {what}s: write [{what}s.NAME]."),
        _ => meant(written, names, what),
    };
    value.problem(format!("no {what} is named `{written}`"), hint);
    None
}

/// Sizes up to 16 GiB; smaller machines are not supported.
pub(super) fn as_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
