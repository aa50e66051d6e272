//! Where a sink writes, as spans tell it.

use cosmos_bridge_sink::{ContainerName, Piece, Template};

use crate::config::{Address, HubAccess, Sink, WriteStrategy};

/// Where a sink writes. Nothing in it is a secret.
#[derive(Debug, PartialEq)]
pub(super) struct Destination {
    pub(super) sink: String,
    /// The type, as the file writes it.
    pub(super) kind: &'static str,
    pub(super) target: Target,
}

#[derive(Debug, PartialEq)]
pub(super) enum Target {
    Container { name: ContainerName, strategy: WriteStrategy },
    Messages { system: &'static str, to: Place },
}

/// Where messages go.
#[derive(Debug, PartialEq)]
pub(super) enum Place {
    Name(String),
    /// Each change has its own.
    Template(String),
    /// It stands in a secret.
    Unknown,
}

impl Destination {
    pub(super) fn of(name: &str, sink: &Sink) -> Self {
        // Names of systems that OpenTelemetry knows; of others the type.
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
            Sink::Amqp(sink) => ("rabbitmq", Place::of(&sink.exchange)),
            Sink::EventHubs(sink) => {
                let hub = match &sink.access {
                    HubAccess::ConnectionString { hub, .. } => hub.clone(),
                    HubAccess::Entra { hub, .. } => Some(hub.clone()),
                };
                ("eventhubs", hub.map_or(Place::Unknown, Place::Name))
            }
            Sink::File(sink) => {
                let file = sink.path.as_ref().and_then(|path| path.file_name());
                let file = file.map(|name| name.to_string_lossy().into_owned());
                ("file", Place::Name(file.unwrap_or_else(|| "-".to_owned())))
            }
            Sink::Http(sink) => ("http", host(&sink.url)),
            Sink::Kafka(sink) => ("kafka", Place::of(&sink.topic)),
        };
        let target = Target::Messages { system, to };
        Self { sink: name.to_owned(), kind: sink.kind(), target }
    }
}

impl Place {
    fn of(template: &Template) -> Self {
        let is_text = |piece: &Piece| matches!(piece, Piece::Text(_));
        let text = template.to_string();
        if template.0.iter().all(is_text) { Self::Name(text) } else { Self::Template(text) }
    }
}

/// Paths and queries of endpoints may be secrets of their own.
fn host(address: &Address) -> Place {
    let url = match address {
        Address::Url(url) => url::Url::parse(url).ok(),
        Address::Secret(_) => None,
    };
    let host = url.as_ref().and_then(url::Url::host_str);
    host.map_or(Place::Unknown, |host| Place::Name(host.to_owned()))
}
