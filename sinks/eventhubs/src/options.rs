//! `[sinks.eventhubs.NAME]`.

use std::time::Duration;

use cosmos_bridge_event::{EventOptions, is_attribute};
use cosmos_bridge_options::{
    Kind, SecretRef, Table, Value, choice, duration, if_readable, integer, map, options, reference,
    report_secret, secret, template, text, text_of,
};
use cosmos_bridge_sink::Template;

use crate::Namespace;
use crate::connection_string::connect;
use crate::message::{OTHER_PREFIX, PREFIX};

options! {
    /// A hub of Azure Event Hubs.
    pub struct EventHubsOptions {
        /// The connection string, of the namespace or of the hub; its policy has to allow Send. For the
        /// vendor's emulator it ends with UseDevelopmentEmulator=true, and Endpoint may have a port.
        connection: Option<SecretRef> = optional, secret(), example { env = "HUB_CONNECTION_STRING" };
        /// The hub; may be left out if the connection string names it, with EntityPath.
        hub: Option<String> = optional, text(), example "orders";
        /// Events of one key go to one partition; those of one document keep their order there.
        key: Template = "{partition_key}", template();
        /// Who finds the partition of a key: the "client" with the service's own hash, so that events of
        /// many keys share a batch; or the "service", with a batch for each key.
        partitioning: Partitioning = "client", choice(vec![
            ("client", Partitioning::Client),
            ("service", Partitioning::Service),
        ]);
        /// All events go to this partition, instead of a key.
        // The largest clusters have 2,000 partitions in a hub.
        partition: Option<u32> = optional, integer(0..=1_999), example 0;
        /// Application properties in addition to those of the event.
        headers: Vec<(String, Template)> =
            {}, map("a table of application properties", template(), is_property),
            example { tenant = "{/tenant}", origin = "{database}.{container}" };
        /// Changes in one write, over all partitions.
        // About a page of changes; spread over the partitions of a hub it still makes batches. The write
        // is tracked in memory.
        batch_changes: usize = 1000, integer(1..=10_000);
        /// Writes in flight.
        // Answers take some 10 ms, and a batch waits for the one before it in its write.
        concurrency: usize = 8, integer(1..=1000);
        /// Longest wait for one answer.
        request_timeout: Duration = "30s", duration(Duration::from_millis(100)..=Duration::from_mins(10));
        events: EventOptions = flatten;
        /// One of the credentials, in place of a connection string; its identity has the role Azure Event
        /// Hubs Data Sender.
        credential: Option<String> = optional, reference("credential"), example "machine";
        /// The host of the namespace, with a port if it is not 5671; with a credential.
        namespace: Option<Namespace> = optional, namespace(), example "NAME.servicebus.windows.net";
    }
    rules(table) {
        access_is_whole(table);
        if let (Some(Some(connection)), Some(hub), Some(at)) =
            (&connection, &hub, table.get("connection"))
            && let Some(Err((problem, hint))) =
                if_readable(connection, |text| connect(text, hub.as_deref()))
        {
            report_secret(&at, problem, hint);
        }
        if let Some(Some(_)) = partition
            && let Some(other) = table.get("key").or_else(|| table.get("partitioning"))
        {
            let hint = "Leave it or `partition` out.";
            other.problem("all events go to one partition already", hint);
        }
    }
}

/// Who finds the partition of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioning {
    /// The sink, by the service's hash of the key: events of many keys share a batch.
    Client,
    /// The service, from the key: a batch holds one key.
    Service,
}

fn is_property(value: &Value<'_>, name: &str) -> bool {
    let attribute = [PREFIX, OTHER_PREFIX].iter().find_map(|prefix| name.strip_prefix(prefix));
    let is_own = attribute.is_some_and(is_attribute);
    if is_own {
        let hint = "Use another name: this one is an attribute of the event.";
        value.problem_unshown("the sink writes this property itself", hint);
    }
    !is_own
}

const NAMESPACE: &str = "Write it like \"NAME.servicebus.windows.net\".";

fn namespace() -> impl Kind<Output = Namespace> {
    text_of("a host", |value, text| {
        let read = Namespace::read(&text);
        // It may be a connection string, so it is not shown.
        read.map_err(|problem| value.problem_unshown(problem.to_string(), NAMESPACE)).ok()
    })
}

/// Checks the options of the access: `connection`, or `credential` with `namespace` and `hub`.
fn access_is_whole(table: &Table<'_>) {
    let (connection, namespace) = (table.get("connection"), table.get("namespace"));
    if table.get("credential").is_none() {
        table.required(
            "connection",
            "Write { env = \"VARIABLE\" }, which holds the connection string, or credential = \
             \"NAME\" in its place.",
        );
        if let (Some(_), Some(namespace)) = (connection, namespace) {
            let message = "the connection string says where the hub is";
            namespace.problem_unshown(message, "Leave it out.");
        }
    } else if let Some(connection) = connection {
        let message = "the sink has both a credential and a connection string";
        connection.problem_unshown(message, "Keep one of the two.");
    } else {
        table.required("namespace", NAMESPACE);
        table.required("hub", "Write the name of the hub.");
    }
}
