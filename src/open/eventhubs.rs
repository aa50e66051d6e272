//! A hub of Azure Event Hubs.

use std::sync::Arc;

use cosmos_bridge_event::Encoder;
use cosmos_bridge_eventhubs::{ConnectionString, EventHubsSink, Partitioning, Settings};
use cosmos_bridge_sink::{Sink, SinkError};

use super::secret;
use crate::config::{self, HubPartitioning};

pub(super) fn open(name: &str, sink: &config::EventHubsSink) -> Result<Arc<dyn Sink>, SinkError> {
    let text = secret("connection", &sink.connection)?;
    let connection = ConnectionString::read(text.expose()).map_err(|problem| {
        refused(
            problem.to_string(),
            "Copy it from the hub's or the namespace's shared access policies.",
        )
    })?;
    let hub = match (&sink.hub, connection.entity()) {
        (Some(hub), Some(entity)) if !hub.eq_ignore_ascii_case(entity) => {
            let message = format!("the connection string is for the hub {entity}, not for {hub}");
            return Err(refused(message, "Leave `hub` out, or take another connection string."));
        }
        (Some(hub), _) => hub.clone(),
        (None, Some(entity)) => entity.to_owned(),
        (None, None) => {
            let message = "no hub is named".to_owned();
            let hint = "Write `hub`, or take the connection string of a hub, with EntityPath.";
            return Err(refused(message, hint));
        }
    };
    let encoder = Encoder::new(sink.events.format, sink.events.oversize);
    let mut settings = Settings::new(connection, hub, encoder);
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

fn refused(message: String, hint: &str) -> SinkError {
    SinkError { message, hint: Some(hint.to_owned()), transient: false, source: None }
}
