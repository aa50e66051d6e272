//! Builds the sinks of a configuration.

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
use crate::governor::{Governor, YieldPolicy};
use crate::identity::Identities;
use crate::route::TargetKey;
use crate::throughput::BudgetTask;

/// A sink, with the properties of its target.
pub(super) struct BuiltSink {
    pub sink: Arc<dyn Sink>,
    /// The same sink, if it has secrets.
    pub reloading: Option<Arc<ReloadingSink>>,
    pub governor: Arc<Governor>,
    pub partitions: Option<Arc<dyn Partitions>>,
    pub key: TargetKey,
}

/// Builds a sink. Writes nothing to the target.
pub(super) async fn build(
    name: &str,
    config: &Config,
    connections: &mut Connections,
    budgets: &mut BudgetTask,
) -> Result<BuiltSink, RunError> {
    let sink = &config.sinks[name];
    if let config::Sink::Cosmos(sink) = sink {
        return cosmos::open(name, sink, config, connections, budgets).await;
    }
    let (sink, reloading) = event_sink(name, sink, connections.identities()).await?;
    let governor = Governor::new(None, YieldPolicy::Normal, sink.limits().concurrency);
    let (governor, key) = (Arc::new(governor), TargetKey::Free);
    Ok(BuiltSink { sink, reloading, governor, partitions: None, key })
}

/// Builds a sink that publishes events, with its current secrets.
async fn event_sink(
    name: &str,
    sink: &config::Sink,
    identities: &Arc<Identities>,
) -> Result<(Arc<dyn Sink>, Option<Arc<ReloadingSink>>), RunError> {
    let unusable = |source| RunError::Sink { sink: name.to_owned(), source };
    let references = SecretRefs::of(sink, identities);
    let secrets = references.read().await.map_err(|error| error.for_sink(name))?;
    if references.is_empty() {
        return Ok((make(name, sink, &secrets, identities).map_err(unusable)?, None));
    }
    let (name_of, sink, identities) = (name.to_owned(), sink.clone(), Arc::clone(identities));
    let rebuild = Box::new(move |secrets: &Secrets| make(&name_of, &sink, secrets, &identities));
    let reloading = ReloadingSink::new(name, references, secrets, rebuild).map_err(unusable)?;
    let reloading = Arc::new(reloading);
    Ok((Arc::clone(&reloading) as _, Some(reloading)))
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
