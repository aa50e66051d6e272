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

use super::RunError;
use super::reloading_sink::ReloadingSink;
use super::secrets::{SecretRefs, Secrets};
use crate::config::{self, Config};
use crate::cosmos::Connections;
use crate::deliver::Partitions;
use crate::governor::{Governor, Manners};
use crate::identity::Identities;
use crate::route::TargetKey;
use crate::throughput::BudgetTask;

/// A sink, and what the bridge has to know of its target.
pub(super) struct Opened {
    pub sink: Arc<dyn Sink>,
    /// The same, where it has secrets of its own.
    pub rotating: Option<Arc<ReloadingSink>>,
    pub governor: Arc<Governor>,
    pub partitions: Option<Arc<dyn Partitions>>,
    pub key: TargetKey,
}

/// Opens a sink. Writes nothing.
pub(super) async fn sink(
    name: &str,
    config: &Config,
    connections: &mut Connections,
    keeper: &mut BudgetTask,
) -> Result<Opened, RunError> {
    let sink = &config.sinks[name];
    if let config::Sink::Cosmos(sink) = sink {
        return cosmos::open(name, sink, config, connections, keeper).await;
    }
    let (sink, rotating) = events(name, sink, connections.identities()).await?;
    let governor = Governor::new(None, Manners::Usual, sink.limits().concurrency);
    let (governor, key) = (Arc::new(governor), TargetKey::Free);
    Ok(Opened { sink, rotating, governor, partitions: None, key })
}

/// A sink that publishes events, with its secrets as they are now.
async fn events(
    name: &str,
    sink: &config::Sink,
    identities: &Arc<Identities>,
) -> Result<(Arc<dyn Sink>, Option<Arc<ReloadingSink>>), RunError> {
    let unusable = |source| RunError::Sink { sink: name.to_owned(), source };
    let places = SecretRefs::of(sink, identities);
    let secrets = places.read().await.map_err(|unread| unread.of_sink(name))?;
    if places.is_empty() {
        return Ok((make(name, sink, &secrets, identities).map_err(unusable)?, None));
    }
    let (name_of, sink, identities) = (name.to_owned(), sink.clone(), Arc::clone(identities));
    let again = Box::new(move |secrets: &Secrets| make(&name_of, &sink, secrets, &identities));
    let rotating = ReloadingSink::new(name, places, secrets, again).map_err(unusable)?;
    let rotating = Arc::new(rotating);
    Ok((Arc::clone(&rotating) as _, Some(rotating)))
}

#[cfg_attr(
    not(all(
        feature = "amqp",
        feature = "eventhubs",
        feature = "file",
        feature = "http",
        feature = "kafka"
    )),
    allow(unused_variables, reason = "the sinks that are left may need less")
)]
fn make(
    name: &str,
    sink: &config::Sink,
    secrets: &Secrets,
    identities: &Identities,
) -> Result<Arc<dyn Sink>, SinkError> {
    match sink {
        #[cfg(feature = "eventhubs")]
        config::Sink::EventHubs(sink) => eventhubs::open(name, sink, secrets, identities),
        #[cfg(feature = "amqp")]
        config::Sink::Amqp(sink) => amqp::open(name, sink, secrets),
        #[cfg(feature = "file")]
        config::Sink::File(sink) => Ok(file::open(name, sink)),
        #[cfg(feature = "http")]
        config::Sink::Http(sink) => http::open(name, sink, secrets),
        #[cfg(feature = "kafka")]
        config::Sink::Kafka(sink) => kafka::open(name, sink, secrets, identities),
        // The reader of the configuration refuses what a build leaves out.
        other => Err(SinkError {
            message: format!("this build has no events for sinks of type {}", other.kind()),
            hint: None,
            transient: false,
            source: None,
        }),
    }
}

/// Makes the events of a sink.
#[cfg(any(
    feature = "amqp",
    feature = "eventhubs",
    feature = "file",
    feature = "http",
    feature = "kafka"
))]
fn encoder(sink: &str, events: config::Events) -> cosmos_bridge_event::Encoder {
    cosmos_bridge_event::Encoder::new(events.format, events.oversize).for_sink(sink)
}

/// The tokens of one of the `[credentials]` for a scope.
#[cfg(any(feature = "eventhubs", feature = "kafka"))]
fn tokens(
    identities: &Identities,
    credential: &str,
    scope: &str,
) -> Result<Arc<dyn cosmos_bridge_sink::TokenSource>, SinkError> {
    let identity = identities.named(credential).map_err(|error| SinkError {
        message: error.to_string(),
        hint: Some(error.hint()),
        transient: false,
        source: None,
    })?;
    Ok(identity.tokens(scope))
}
