//! Opens the sink with its options and secrets.

use std::sync::Arc;

use cosmos_bridge_options::{Destination, Open, Opening, TargetParts};
use cosmos_bridge_sink::{Sink, SinkError};

use crate::options::{Login, SaslOptions, scope_of};
use crate::settings::{Mechanism, Sasl};
use crate::{KafkaOptions, KafkaSink, Settings};

impl Open for KafkaOptions {
    fn open(&self, name: &str, opening: &dyn Opening) -> Result<Arc<dyn Sink>, SinkError> {
        let sasl = match (&self.sasl, &self.credential) {
            (Some(sasl), _) => Some(sasl.read(opening)?),
            (None, Some(credential)) => {
                let scope = self.scope.clone().or_else(|| scope_of(&self.servers));
                let source = opening.tokens(credential, &scope.unwrap_or_default())?;
                Some(Sasl::Tokens { source })
            }
            (None, None) => None,
        };
        let encoder = self.events.encoder(name);
        let settings = Settings { options: self.clone(), encoder, sasl };
        let sink = KafkaSink::new(name, settings)?;
        Ok(Arc::new(sink.with_sources(opening.sources())))
    }

    fn destination(&self) -> Destination {
        Destination::from(&self.topic)
    }

    /// Not the servers: a cluster has many, and they change.
    fn target(&self, _opening: &dyn Opening) -> Result<TargetParts, SinkError> {
        Ok(vec![("topic", self.topic.to_string())])
    }
}

impl SaslOptions {
    /// With the secret in place.
    fn read(&self, opening: &dyn Opening) -> Result<Sasl, SinkError> {
        let password = |mechanism, login: &Login| {
            let password = opening.secret(&login.password)?.clone();
            Ok(Sasl::Password { mechanism, username: login.username.clone(), password })
        };
        match self {
            Self::Plain(login) => password(Mechanism::Plain, login),
            Self::ScramSha256(login) => password(Mechanism::ScramSha256, login),
            Self::ScramSha512(login) => password(Mechanism::ScramSha512, login),
            Self::OauthBearer(bearer) => {
                Ok(Sasl::Bearer { token: opening.secret(&bearer.token)?.clone() })
            }
        }
    }
}
