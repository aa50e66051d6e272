//! Opens the sinks that the configuration names.

#[cfg(feature = "amqp")]
mod amqp;
mod cosmos;
#[cfg(feature = "eventhubs")]
mod eventhubs;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "kafka")]
mod kafka;

use std::sync::Arc;

use cosmos_bridge_sink::{Sink, SinkError};

use crate::budgets::Keeper;
use crate::config::{self, Config};
#[cfg(any(feature = "amqp", feature = "eventhubs", feature = "http", feature = "kafka"))]
use crate::config::{Secret, SecretRef};
use crate::cosmos::Connections;
use crate::deliver::Partitions;
use crate::governor::{Governor, Manners};
use crate::route::TargetKey;
use crate::run::RunError;

/// A sink, and what the bridge has to know of its target.
pub struct Opened {
    pub sink: Arc<dyn Sink>,
    pub governor: Arc<Governor>,
    pub partitions: Option<Arc<dyn Partitions>>,
    pub key: TargetKey,
}

/// Opens a sink. Writes nothing.
pub async fn sink(
    name: &str,
    config: &Config,
    connections: &mut Connections,
    keeper: &mut Keeper,
) -> Result<Opened, RunError> {
    let opened: Result<Arc<dyn Sink>, SinkError> = match &config.sinks[name] {
        config::Sink::Cosmos(sink) => {
            return cosmos::open(name, sink, config, connections, keeper).await;
        }
        #[cfg(feature = "eventhubs")]
        config::Sink::EventHubs(sink) => eventhubs::open(name, sink),
        #[cfg(feature = "amqp")]
        config::Sink::Amqp(sink) => amqp::open(name, sink),
        #[cfg(feature = "file")]
        config::Sink::File(sink) => Ok(file::open(name, sink)),
        #[cfg(feature = "http")]
        config::Sink::Http(sink) => http::open(name, sink),
        #[cfg(feature = "kafka")]
        config::Sink::Kafka(sink) => kafka::open(name, sink),
        // The reader of the configuration refuses what a build leaves out.
        #[cfg(not(all(
            feature = "amqp",
            feature = "eventhubs",
            feature = "file",
            feature = "http",
            feature = "kafka"
        )))]
        left_out => Err(SinkError {
            message: format!("this build has no sinks of type {}", left_out.kind()),
            hint: None,
            transient: false,
            source: None,
        }),
    };
    let sink = opened.map_err(|source| RunError::Sink { sink: name.to_owned(), source })?;
    let governor = Governor::new(None, Manners::Usual, sink.limits().concurrency);
    Ok(Opened { sink, governor: Arc::new(governor), partitions: None, key: TargetKey::Free })
}

/// Reads a secret that an option of a sink names.
#[cfg(any(feature = "amqp", feature = "eventhubs", feature = "http", feature = "kafka"))]
fn secret(option: &str, reference: &SecretRef) -> Result<Secret, SinkError> {
    reference.read().map_err(|error| SinkError {
        message: format!("the secret of `{option}` cannot be used: {error}"),
        hint: Some(error.hint().to_owned()),
        transient: false,
        source: None,
    })
}

/// Reads a file that an option of a sink names.
#[cfg(any(feature = "amqp", feature = "http"))]
fn file_text(option: &str, path: &std::path::Path) -> Result<Vec<u8>, SinkError> {
    std::fs::read(path).map_err(|error| SinkError {
        message: format!("the file of `{option}` cannot be read: {error}"),
        hint: Some("The path is relative to the configuration file.".to_owned()),
        transient: false,
        source: None,
    })
}
