//! Builds the sinks of a configuration.

use std::sync::Arc;

use cosmos_bridge_cosmos::CosmosSink;
use cosmos_bridge_cosmos::mirror::MirrorSink;
use cosmos_bridge_sink::{ContainerName, Sink};

use super::key_paths::key_paths;
use super::reloading_sink::ReloadingSink;
use super::secrets::{OpenedSecrets, SecretRefs, Secrets};
use super::{RunError, conflict_log};
use crate::config::{self, Config, EventSink};
use crate::cosmos::{Connections, ContainerHandle, Target};
use crate::deliver::Partitions;
use crate::governor::{Governor, YieldPolicy};
use crate::identity::Identities;
use crate::model::TargetIdentity;
use crate::observe::Direction;
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
    /// What the name of the sink refers to.
    pub target: TargetIdentity,
    /// The container, if it is one.
    pub container: Option<ContainerHandle>,
}

/// Builds a sink. Writes nothing to the target.
pub(super) async fn build(
    name: &str,
    config: &Config,
    connections: &mut Connections,
    budgets: &mut BudgetTask,
) -> Result<BuiltSink, RunError> {
    let sink = match &config.sinks[name] {
        config::Sink::Cosmos(sink) => {
            return container(name, sink, config, connections, budgets).await;
        }
        config::Sink::Events(sink) => sink,
    };
    let sources = config.sources_of(name);
    let opened = event_sink(name, sink, sources, connections.identities()).await?;
    let (sink, reloading, target) = opened;
    let governor = Governor::new(None, YieldPolicy::Normal, sink.limits().concurrency);
    let (governor, key) = (Arc::new(governor), TargetKey::Free);
    Ok(BuiltSink { sink, reloading, governor, partitions: None, key, target, container: None })
}

/// A sink that publishes events; the same again if it has secrets; and what its name refers to.
type OpenedSink = (Arc<dyn Sink>, Option<Arc<ReloadingSink>>, TargetIdentity);

/// Builds a sink that publishes events, with its current secrets.
async fn event_sink(
    name: &str,
    sink: &EventSink,
    sources: Vec<ContainerName>,
    identities: &Arc<Identities>,
) -> Result<OpenedSink, RunError> {
    let unusable = |source| RunError::Sink { sink: name.to_owned(), source };
    let references = SecretRefs::of(sink, identities);
    let secrets = references.read().await.map_err(|error| error.for_sink(name))?;
    let opened = OpenedSecrets { secrets: &secrets, identities, sources: &sources };
    let target = TargetIdentity::new(sink.kind(), sink.options.target(&opened).map_err(unusable)?);
    if references.is_empty() {
        return Ok((sink.options.open(name, &opened).map_err(unusable)?, None, target));
    }
    let (name_of, sink, identities) = (name.to_owned(), sink.clone(), Arc::clone(identities));
    let rebuild = Box::new(move |secrets: &Secrets| {
        let opened = OpenedSecrets { secrets, identities: &identities, sources: &sources };
        sink.options.open(&name_of, &opened)
    });
    let reloading = ReloadingSink::new(name, references, secrets, rebuild).map_err(unusable)?;
    let reloading = Arc::new(reloading);
    Ok((Arc::clone(&reloading) as _, Some(reloading), target))
}

/// Builds the sink of a container in an account.
async fn container(
    name: &str,
    sink: &config::CosmosSink,
    config: &Config,
    connections: &mut Connections,
    budgets: &mut BudgetTask,
) -> Result<BuiltSink, RunError> {
    let account = connections.account(&sink.location.account).await?;
    let container = account.locate(&sink.location.database, &sink.location.container).await?;
    let key = TargetKey::Paths(key_paths(&container)?);
    let config::Location { database, container: name_of, .. } = &sink.location;
    let target =
        TargetIdentity::container(&container.account_address, database, name_of, &container.rid);
    let handle = container.clone();
    let offer = Arc::new(container.clone());
    let allowance = config.allowance(sink, name);
    let governor = budgets.governor(Direction::Write, allowance, &container.name, offer).await?;
    let mirror = match &sink.mirror {
        Some(options) => {
            Some(conflict_log::open(name, options, &handle, config, connections, budgets).await?)
        }
        None => None,
    };
    let writes = Arc::new(Target::new(container));
    let partitions = Arc::clone(&writes) as Arc<dyn Partitions>;
    let (writing, now) = (sink.writing.clone(), || jiff::Timestamp::now().as_second());
    let sink: Arc<dyn Sink> = match mirror {
        Some(mirror) => Arc::new(MirrorSink::new(name, writing, mirror, writes, now)),
        None => Arc::new(CosmosSink::new(name, writing, writes, now)),
    };
    let (partitions, container) = (Some(partitions), Some(handle));
    Ok(BuiltSink { sink, reloading: None, governor, partitions, key, target, container })
}

#[cfg(test)]
mod tests;
