//! `[sinks.eventhubs.NAME]`.

use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_event::EventOptions;
use cosmos_bridge_options::{
    Destination, Kind, Open, Opening, SecretRef, Table, choice, duration, integer, map, options,
    reference, secret, template, text, text_of, unusable,
};
use cosmos_bridge_sink::{Sink, SinkError, Template};

use crate::{Access, ConnectionString, EventHubsSink, Namespace, Settings};

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
            {}, map("a table of application properties", template(), |_, _| true),
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

impl Open for EventHubsOptions {
    fn open(&self, name: &str, opening: &dyn Opening) -> Result<Arc<dyn Sink>, SinkError> {
        let (access, hub) = self.access(opening)?;
        let encoder = self.events.encoder(name);
        let settings = Settings { options: self.clone(), access, hub, encoder };
        Ok(Arc::new(EventHubsSink::new(name, settings)))
    }

    fn destination(&self) -> Destination {
        self.hub.clone().map_or(Destination::Unknown, Destination::Name)
    }
}

impl EventHubsOptions {
    /// The access, and the name of the hub.
    fn access(&self, opening: &dyn Opening) -> Result<(Access, String), SinkError> {
        if let Some(reference) = &self.connection {
            let connection = ConnectionString::read(opening.secret(reference)?.expose());
            let connection = connection.map_err(|problem| {
                let hint = "Copy it from the hub's or the namespace's shared access policies.";
                unusable(problem.to_string(), hint)
            })?;
            let hub = named(self.hub.as_deref(), &connection)?;
            return Ok((Access::ConnectionString(connection), hub));
        }
        let (Some(credential), Some(namespace), Some(hub)) =
            (&self.credential, &self.namespace, &self.hub)
        else {
            let hint = "Write `connection`, or `credential` with `namespace` and `hub`.";
            return Err(unusable("there is no access to a hub", hint));
        };
        let tokens = opening.tokens(credential, Access::SCOPE)?;
        Ok((Access::Entra { namespace: namespace.clone(), tokens }, hub.clone()))
    }
}

/// The hub that the configuration or the connection string names.
fn named(hub: Option<&str>, connection: &ConnectionString) -> Result<String, SinkError> {
    match (hub, connection.entity()) {
        (Some(hub), Some(entity)) if !hub.eq_ignore_ascii_case(entity) => {
            let message = format!("the connection string is for the hub {entity}, not for {hub}");
            Err(unusable(message, "Leave `hub` out, or take another connection string."))
        }
        (Some(hub), _) | (None, Some(hub)) => Ok(hub.to_owned()),
        (None, None) => {
            let hint = "Write `hub`, or take the connection string of a hub, with EntityPath.";
            Err(unusable("no hub is named", hint))
        }
    }
}
