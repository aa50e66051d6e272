//! The target of a sink, as spans describe it.

use cosmos_bridge_sink::ContainerName;

use crate::config::{Destination as MessageTarget, Sink, Strategy};

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
    Container { name: ContainerName, strategy: Strategy },
    Messages { system: &'static str, to: MessageTarget },
}

impl Destination {
    pub(super) fn of(name: &str, sink: &Sink) -> Self {
        let target = match sink {
            Sink::Cosmos(sink) => Target::Container {
                name: ContainerName {
                    account: sink.location.account.clone(),
                    database: sink.location.database.clone(),
                    container: sink.location.container.clone(),
                    rid: String::new(),
                },
                strategy: sink.writing.write,
            },
            Sink::Events(sink) => {
                Target::Messages { system: sink.system(), to: sink.options.destination() }
            }
        };
        Self { sink: name.to_owned(), kind: sink.kind(), target }
    }
}
