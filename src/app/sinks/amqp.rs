//! An exchange of an AMQP 0-9-1 broker.

use std::sync::Arc;

use cosmos_bridge_amqp::{
    AmqpSink, Broker, BrokerError, Identity, Settings, Tls, TlsError, Unroutable,
};
use cosmos_bridge_sink::{Grouping, Limits, Sink, SinkError};

use super::super::secrets::{Secrets, file_text};
use super::encoder;
use crate::config;

pub(super) fn open(
    name: &str,
    sink: &config::AmqpSink,
    secrets: &Secrets,
) -> Result<Arc<dyn Sink>, SinkError> {
    let identity = |client: &config::ClientCertificate| {
        let key = secrets.of(&client.key)?.expose().as_bytes().to_vec();
        let certificates = file_text("client.certificate", &client.certificate)?;
        Ok::<_, SinkError>(Identity { certificates, key })
    };
    let authorities = sink.ca_file.as_ref().map(|path| file_text("ca_file", path));
    let tls = Tls {
        authorities: authorities.transpose()?,
        identity: sink.client.as_ref().map(identity).transpose()?,
    };
    let broker =
        Broker::new(secrets.of(&sink.uri)?.expose(), &tls).map_err(|problem| invalid(&problem))?;
    let settings = Settings {
        broker,
        exchange: sink.exchange.clone(),
        routing_key: sink.routing_key.clone(),
        headers: sink.headers.clone(),
        encoder: encoder(name, sink.events),
        max_message: sink.max_message,
        mandatory: sink.mandatory,
        unroutable: match sink.unroutable {
            config::Unroutable::DeadLetter => Unroutable::DeadLetter,
            config::Unroutable::Wait => Unroutable::Wait,
        },
        persistent: sink.persistent,
        heartbeat: sink.heartbeat,
        connect_timeout: sink.connect_timeout,
        confirm_timeout: sink.confirm_timeout,
        limits: Limits {
            grouping: Grouping::Any,
            changes: sink.batch,
            bytes: BATCH_BYTES,
            concurrency: sink.concurrency,
        },
    };
    Ok(Arc::new(AmqpSink::new(name, settings)))
}

/// Of documents in one write, which are held twice while it is under way: a thousand of 8 KiB, and one
/// of any size.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

fn invalid(problem: &BrokerError) -> SinkError {
    let (option, hint) = match problem {
        BrokerError::Tls(TlsError::Authorities) => ("ca_file", "Write a file in PEM form."),
        BrokerError::Tls(TlsError::Certificates) => {
            ("client.certificate", "Write a file in PEM form.")
        }
        BrokerError::Tls(TlsError::Key) => ("client.key", "Write a key in PEM form."),
        BrokerError::Tls(TlsError::Unencrypted) => {
            ("uri", "Write amqps:// there, or leave the certificates out.")
        }
        BrokerError::Tls(TlsError::Unusable(_)) => {
            ("client.certificate", "Look whether certificate and key belong together.")
        }
        _ => ("uri", "Write it like amqps://user:password@broker.example/vhost."),
    };
    SinkError {
        message: format!("`{option}` cannot be used: {problem}"),
        hint: Some(hint.to_owned()),
        transient: false,
        source: None,
    }
}
