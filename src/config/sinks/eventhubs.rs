//! `[sinks.eventhubs.<name>]`: a hub of Azure Event Hubs.

use std::time::Duration;

use cosmos_bridge_sink::{Piece, Property, Template};

use super::super::reader::Value;
use super::super::table::Table;
use super::super::{SecretRef, defaults};
use super::events::{Events, events};
use super::reference;

/// `[sinks.eventhubs.<name>]`.
#[derive(Clone, Debug, PartialEq)]
pub struct EventHubsSink {
    pub access: HubAccess,
    pub partitioning: HubPartitioning,
    /// More application properties.
    pub headers: Vec<(String, Template)>,
    /// Changes in one write, over all partitions.
    pub batch_changes: usize,
    /// Writes under way at once.
    pub concurrency: usize,
    /// Longest wait for one answer.
    pub request_timeout: Duration,
    pub events: Events,
}

/// Where the hub is, and what opens it.
#[derive(Clone, Debug, PartialEq)]
pub enum HubAccess {
    /// `hub` is `None` where the connection string names it.
    ConnectionString { secret: SecretRef, hub: Option<String> },
    /// Tokens of one of the `[credentials]`, by its name.
    Entra { credential: String, namespace: String, hub: String },
}

/// How the partition of an event is found.
#[derive(Clone, Debug, PartialEq)]
pub enum HubPartitioning {
    /// By the hash of a key, which the bridge computes as the service does.
    Client { key: Template },
    /// By the service, from a key.
    Service { key: Template },
    /// Always this one.
    Fixed { partition: u32 },
}

pub(super) fn read(value: &Value<'_>, credentials: &[&str]) -> Option<EventHubsSink> {
    let table = value.table("a table", "")?;
    let access = access(&table, credentials);
    let partitioning = partitioning(&table);
    let headers = table.or("headers", Vec::new(), headers);
    let batch_changes = table.or("batch_changes", defaults::HUB_CHANGES, |changes| {
        changes.integer(defaults::HUB_BATCHES)
    });
    let concurrency = table.or("concurrency", defaults::HUB_CONCURRENCY, |concurrency| {
        concurrency.integer(defaults::CONCURRENCIES)
    });
    let request_timeout = table.or("request_timeout", defaults::REQUEST_TIMEOUT, |timeout| {
        timeout.duration(&defaults::REQUEST_TIMEOUTS)
    });
    let events = events(&table);
    table.finish();
    Some(EventHubsSink {
        access: access?,
        partitioning: partitioning?,
        headers: headers?,
        batch_changes: batch_changes? as usize,
        concurrency: concurrency? as usize,
        request_timeout: request_timeout?,
        events: events?,
    })
}

impl EventHubsSink {
    pub(super) fn secrets(&self) -> Vec<(&'static str, SecretRef)> {
        match &self.access {
            HubAccess::ConnectionString { secret, .. } => vec![("connection", secret.clone())],
            HubAccess::Entra { .. } => Vec::new(),
        }
    }
}

/// `connection`, or `credential` with `namespace` and `hub`.
fn access(table: &Table<'_>, credentials: &[&str]) -> Option<HubAccess> {
    const CONNECTION: &str = "Write { env = \"VARIABLE\" }, which holds the connection string, or \
                              credential = \"NAME\" in its place.";
    let named = table.get("credential");
    let entra = table.maybe("credential", |value| reference(value, credentials, "credential"));
    let connection = table.maybe("connection", Value::secret_reference);
    let hub = table.maybe("hub", Value::filled);
    let at = table.maybe("namespace", namespace);
    if named.is_none() {
        table.required("connection", CONNECTION)?;
        if let Some(at) = table.get("namespace") {
            at.problem_unshown("the connection string says where the hub is", "Leave it out.");
            return None;
        }
        return Some(HubAccess::ConnectionString { secret: connection??, hub: hub? });
    }
    if let Some(connection) = table.get("connection") {
        let message = "the sink has both a credential and a connection string";
        connection.problem_unshown(message, "Keep one of the two.");
        return None;
    }
    let has_namespace = table.required("namespace", NAMESPACE).is_some();
    let has_hub = table.required("hub", "Write the name of the hub.").is_some();
    (has_namespace && has_hub).then_some(())?;
    Some(HubAccess::Entra { credential: entra??, namespace: at??, hub: hub?? })
}

const NAMESPACE: &str = "Write it like \"NAME.servicebus.windows.net\".";

fn namespace(value: &Value<'_>) -> Option<String> {
    let text = value.filled()?;
    match problem_of(&text) {
        None => Some(text),
        Some(problem) => {
            // It may be a connection string.
            value.secret().problem_unshown(problem, NAMESPACE);
            None
        }
    }
}

#[cfg(feature = "eventhubs")]
fn problem_of(namespace: &str) -> Option<String> {
    let read = cosmos_bridge_eventhubs::Namespace::read(namespace);
    read.err().map(|problem| problem.to_string())
}

/// Nothing is read for a sink that the build leaves out.
#[cfg(not(feature = "eventhubs"))]
fn problem_of(_namespace: &str) -> Option<String> {
    None
}

/// `key` and `partitioning`, or `partition`.
fn partitioning(table: &Table<'_>) -> Option<HubPartitioning> {
    let partition =
        table.maybe("partition", |partition| partition.integer(defaults::HUB_PARTITIONS));
    let key = table.maybe("key", Value::address);
    let by_service =
        table.maybe("partitioning", |by| by.choice(&[("client", false), ("service", true)]));
    let (partition, key, by_service) = (partition?, key?, by_service?);
    let Some(partition) = partition else {
        let usual = || Template(vec![Piece::Property(Property::PartitionKey)]);
        let key = key.unwrap_or_else(usual);
        return Some(match by_service {
            Some(true) => HubPartitioning::Service { key },
            Some(false) | None => HubPartitioning::Client { key },
        });
    };
    let contradiction = table.get("key").or_else(|| table.get("partitioning"));
    if let Some(other) = contradiction {
        other.problem("all events go to one partition already", "Leave it or `partition` out.");
        return None;
    }
    Some(HubPartitioning::Fixed { partition })
}

fn headers(value: &Value<'_>) -> Option<Vec<(String, Template)>> {
    let entries = value.named("a table of application properties")?.into_iter();
    // One option, whatever the property is called.
    let header = |(name, text): (&str, Value<'_>)| {
        text.shaped("headers").address().map(|text| (name.to_owned(), text))
    };
    entries.map(header).collect::<Vec<_>>().into_iter().collect()
}
