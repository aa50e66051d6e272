//! The target of a sink, as spans describe it.

use cosmos_bridge_sink::{ContainerName, Piece, Template};

use crate::config::{Address, HubAccess, Sink, WriteStrategy};

/// The target of a sink. It contains no secret.
#[derive(Debug, PartialEq)]
pub(super) struct Destination {
    pub(super) sink: String,
    /// The type of the sink as in the configuration.
    pub(super) kind: &'static str,
    pub(super) target: Target,
}

#[derive(Debug, PartialEq)]
pub(super) enum Target {
    Container { name: ContainerName, strategy: WriteStrategy },
    Messages { system: &'static str, to: MessageTarget },
}

/// The topic, exchange, hub, host or file that messages go to.
#[derive(Debug, PartialEq)]
pub(super) enum MessageTarget {
    Name(String),
    /// Computed for each change.
    Template(String),
    /// Part of a secret.
    Unknown,
}

impl Destination {
    pub(super) fn of(name: &str, sink: &Sink) -> Self {
        // The name of the system that OpenTelemetry defines, or the type of the sink.
        let (system, to) = match sink {
            Sink::Cosmos(sink) => {
                let name_of = ContainerName {
                    account: sink.account.clone(),
                    database: sink.database.clone(),
                    container: sink.container.clone(),
                };
                let target = Target::Container { name: name_of, strategy: sink.write };
                return Self { sink: name.to_owned(), kind: "cosmos", target };
            }
            Sink::Amqp(sink) => ("rabbitmq", MessageTarget::of(&sink.exchange)),
            Sink::EventHubs(sink) => {
                let hub = match &sink.access {
                    HubAccess::ConnectionString { hub, .. } => hub.clone(),
                    HubAccess::Entra { hub, .. } => Some(hub.clone()),
                };
                ("eventhubs", hub.map_or(MessageTarget::Unknown, MessageTarget::Name))
            }
            Sink::File(sink) => {
                let file = sink.path.as_ref().and_then(|path| path.file_name());
                let file = file.map(|name| name.to_string_lossy().into_owned());
                ("file", MessageTarget::Name(file.unwrap_or_else(|| "-".to_owned())))
            }
            Sink::Http(sink) => ("http", host(&sink.url)),
            Sink::Kafka(sink) => ("kafka", MessageTarget::of(&sink.topic)),
        };
        let target = Target::Messages { system, to };
        Self { sink: name.to_owned(), kind: sink.kind(), target }
    }
}

impl MessageTarget {
    fn of(template: &Template) -> Self {
        let is_text = |piece: &Piece| matches!(piece, Piece::Text(_));
        let text = template.to_string();
        if template.0.iter().all(is_text) { Self::Name(text) } else { Self::Template(text) }
    }
}

/// Only the host: the path and the query of an endpoint may contain secrets.
fn host(address: &Address) -> MessageTarget {
    let url = match address {
        Address::Url(url) => url::Url::parse(url).ok(),
        Address::Secret(_) => None,
    };
    let host = url.as_ref().and_then(url::Url::host_str);
    host.map_or(MessageTarget::Unknown, |host| MessageTarget::Name(host.to_owned()))
}
