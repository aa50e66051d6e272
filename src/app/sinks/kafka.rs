//! Topics that events are published to.

use std::sync::Arc;

use cosmos_bridge_kafka::{Compression, KafkaSink, Mechanism, Sasl, Settings, Tls};
use cosmos_bridge_sink::{Sink, SinkError};

use super::super::secrets::Secrets;
use super::{encoder, tokens};
use crate::config::{self, KafkaSasl};
use crate::identity::Identities;

pub(super) fn open(
    name: &str,
    sink: &config::KafkaSink,
    secrets: &Secrets,
    identities: &Identities,
) -> Result<Arc<dyn Sink>, SinkError> {
    let encoder = encoder(name, sink.events);
    let (topic, key) = (sink.topic.clone(), sink.key.clone());
    let mut settings = Settings::new(sink.servers.join(","), topic, key, encoder);
    settings.headers.clone_from(&sink.headers);
    settings.tombstones = sink.tombstones;
    settings.compression = compression(sink.compression);
    settings.linger = sink.linger;
    settings.timeout = sink.request_timeout;
    settings.max_message = sink.max_message;
    settings.tls = sink
        .tls
        .as_ref()
        .map(|tls| Tls { ca_file: tls.ca_file.clone(), certificate: tls.certificate.clone() });
    settings.sasl = sink.sasl.as_ref().map(|proof| sasl(proof, secrets, identities)).transpose()?;
    settings.options.clone_from(&sink.options);
    Ok(Arc::new(KafkaSink::new(name, settings)?))
}

fn compression(compression: config::Compression) -> Compression {
    match compression {
        config::Compression::None => Compression::None,
        config::Compression::Gzip => Compression::Gzip,
        config::Compression::Snappy => Compression::Snappy,
        config::Compression::Lz4 => Compression::Lz4,
        config::Compression::Zstd => Compression::Zstd,
    }
}

fn sasl(sasl: &KafkaSasl, secrets: &Secrets, identities: &Identities) -> Result<Sasl, SinkError> {
    Ok(match sasl {
        KafkaSasl::Entra { credential, scope } => {
            Sasl::Tokens { source: tokens(identities, credential, scope)? }
        }
        KafkaSasl::Bearer { token } => Sasl::Bearer { token: secrets.of(token)?.clone() },
        KafkaSasl::Password { mechanism, username, password } => Sasl::Password {
            mechanism: match mechanism {
                config::Mechanism::ScramSha256 => Mechanism::ScramSha256,
                config::Mechanism::ScramSha512 => Mechanism::ScramSha512,
                // Another mechanism is another kind of `KafkaSasl`.
                config::Mechanism::Plain | config::Mechanism::OauthBearer => Mechanism::Plain,
            },
            username: username.clone(),
            password: secrets.of(password)?.clone(),
        },
    })
}
