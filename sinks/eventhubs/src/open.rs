//! Opens the sink with its options and secrets.

use std::sync::Arc;

use cosmos_bridge_options::{Destination, Open, Opening, TargetParts, unusable};
use cosmos_bridge_sink::{Sink, SinkError};

use crate::connection_string::connect;
use crate::{Access, EventHubsOptions, EventHubsSink, Settings};

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
            let text = opening.secret(reference)?.expose();
            let (connection, hub) = connect(text, self.hub.as_deref())
                .map_err(|(problem, hint)| unusable(problem, hint))?;
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

#[cfg(test)]
mod tests {
    use cosmos_bridge_options::{SecretRef, from_toml};
    use cosmos_bridge_sink::{ContainerName, Secret, TokenSource};

    use super::*;

    /// One secret, and no credentials.
    struct One(Secret);

    impl Opening for One {
        fn secret(&self, _: &SecretRef) -> Result<&Secret, SinkError> {
            Ok(&self.0)
        }

        fn tokens(&self, _: &str, _: &str) -> Result<Arc<dyn TokenSource>, SinkError> {
            Err(unusable("no such credential", "None is needed."))
        }

        fn sources(&self) -> &[ContainerName] {
            &[]
        }
    }

    /// The state is bound to it: another hub is another target, another key is not.
    #[test]
    fn a_target_is_a_namespace_and_a_hub_whatever_its_key_and_its_spelling() {
        let key = "SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0";
        let other = "SharedAccessKeyName=o;SharedAccessKey=b3RoZXI=";
        for (secret, hub, namespace, expected) in [
            (
                format!("Endpoint=sb://shop.example/;{key};EntityPath=orders"),
                "",
                "shop.example",
                "orders",
            ),
            (
                format!("Endpoint=sb://Shop.Example/;{other};EntityPath=orders"),
                "",
                "shop.example",
                "orders",
            ),
            (
                format!("Endpoint=sb://shop.example/;{key}"),
                "hub = \"offers\"",
                "shop.example",
                "offers",
            ),
        ] {
            let text = format!("connection = {{ env = \"HUB\" }}\n{hub}");
            let options: EventHubsOptions = from_toml(&text).unwrap();
            let target = options.target(&One(Secret::new(secret))).unwrap();
            let parts = [("namespace", namespace.to_owned()), ("hub", expected.to_owned())];
            assert_eq!(target, parts, "{namespace} {expected}");
        }
    }
}
