//! A hub of Azure Event Hubs.

use std::sync::Arc;

use cosmos_bridge_eventhubs::{
    Access, ConnectionString, EventHubsSink, Namespace, Partitioning, Settings,
};
use cosmos_bridge_sink::{Sink, SinkError};

use super::super::secrets::Secrets;
use super::{encoder, tokens};
use crate::config::{self, HubAccess, HubPartitioning, Secret};
use crate::identity::Identities;

pub(super) fn open(
    name: &str,
    sink: &config::EventHubsSink,
    secrets: &Secrets,
    identities: &Identities,
) -> Result<Arc<dyn Sink>, SinkError> {
    let (access, hub) = match &sink.access {
        HubAccess::ConnectionString { secret, hub } => {
            let connection = connection(secrets.of(secret)?)?;
            let hub = named(hub.as_deref(), &connection)?;
            (Access::ConnectionString(connection), hub)
        }
        HubAccess::Entra { credential, namespace, hub } => {
            let namespace = Namespace::read(namespace).map_err(|problem| {
                refused(problem.to_string(), "Write it like NAME.servicebus.windows.net.")
            })?;
            let tokens = tokens(identities, credential, Access::SCOPE)?;
            (Access::Entra { namespace, tokens }, hub.clone())
        }
    };
    let encoder = encoder(name, sink.events);
    let mut settings = Settings::new(access, hub, encoder);
    settings.partitioning = match &sink.partitioning {
        HubPartitioning::Client { key } => Partitioning::Client { key: key.clone() },
        HubPartitioning::Service { key } => Partitioning::Service { key: key.clone() },
        HubPartitioning::Fixed { partition } => Partitioning::Fixed { id: partition.to_string() },
    };
    settings.headers.clone_from(&sink.headers);
    settings.changes = sink.batch_changes;
    settings.concurrency = sink.concurrency;
    settings.timeout = sink.request_timeout;
    Ok(Arc::new(EventHubsSink::new(name, settings)))
}

fn connection(text: &Secret) -> Result<ConnectionString, SinkError> {
    ConnectionString::read(text.expose()).map_err(|problem| {
        let hint = "Copy it from the hub's or the namespace's shared access policies.";
        refused(problem.to_string(), hint)
    })
}

/// The hub that the configuration or the connection string names.
fn named(hub: Option<&str>, connection: &ConnectionString) -> Result<String, SinkError> {
    match (hub, connection.entity()) {
        (Some(hub), Some(entity)) if !hub.eq_ignore_ascii_case(entity) => {
            let message = format!("the connection string is for the hub {entity}, not for {hub}");
            Err(refused(message, "Leave `hub` out, or take another connection string."))
        }
        (Some(hub), _) | (None, Some(hub)) => Ok(hub.to_owned()),
        (None, None) => {
            let hint = "Write `hub`, or take the connection string of a hub, with EntityPath.";
            Err(refused("no hub is named".to_owned(), hint))
        }
    }
}

fn refused(message: String, hint: &str) -> SinkError {
    SinkError { message, hint: Some(hint.to_owned()), transient: false, source: None }
}
