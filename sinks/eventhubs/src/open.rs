//! Opens the sink with its options and secrets.

use std::sync::Arc;

use cosmos_bridge_options::{Destination, Open, Opening, TargetParts, unusable};
use cosmos_bridge_sink::{Sink, SinkError};

use crate::{Access, ConnectionString, EventHubsOptions, EventHubsSink, Settings};
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

    fn target(&self, opening: &dyn Opening) -> Result<TargetParts, SinkError> {
        let (access, hub) = self.access(opening)?;
        Ok(vec![("namespace", access.namespace().host.to_ascii_lowercase()), ("hub", hub)])
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
