//! `[sinks.eventhubs.<name>]`: a hub of Azure Event Hubs.

use std::time::Duration;

use cosmos_bridge_sink::{Piece, Property, Template};

use super::super::reader::Value;
use super::super::table::Table;
use super::super::{SecretRef, defaults};
use super::events::{Events, events};

/// `[sinks.eventhubs.<name>]`.
#[derive(Clone, Debug, PartialEq)]
pub struct EventHubsSink {
    /// The connection string.
    pub connection: SecretRef,
    /// The hub; `None` where the connection string names it.
    pub hub: Option<String>,
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

pub(super) fn read(value: &Value<'_>) -> Option<EventHubsSink> {
    let table = value.table("a table", "")?;
    let connection = table
        .required("connection", "Write { env = \"VARIABLE\" }, which holds the connection string.")
        .and_then(|connection| connection.secret_reference());
    let hub = table.maybe("hub", Value::filled);
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
        connection: connection?,
        hub: hub?,
        partitioning: partitioning?,
        headers: headers?,
        batch_changes: batch_changes? as usize,
        concurrency: concurrency? as usize,
        request_timeout: request_timeout?,
        events: events?,
    })
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
