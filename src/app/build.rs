//! Builds the pipelines of a configuration.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use cosmos_bridge_sink::ContainerName;

use super::RunError;
use super::key_paths::key_paths;
use super::loops::Copying;
use super::mirrors;
use super::previous_images::{ImageNotice, image_notices};
use super::reloading_sink::ReloadingSink;
use super::sinks::{self, BuiltSink};
use crate::config::{self, Config, Mask, OnLostHistory, Secret, SecretRef, Start};
use crate::cosmos::{
    Connections, ContainerFeeds, ContainerHandle, ContainerId, SweptSource, SweptTarget,
};
use crate::deliver::{Delivery, STOP_GRACE};
use crate::governor::Governor;
use crate::model::{Mode, TargetIdentity};
use crate::observe::{Direction, Meter, PipelineMeter};
use crate::route::{self, Router, TargetKey};
use crate::source::{Pipeline, PipelineSettings, PollLimits, Ports, SweptSink};
use crate::state::{SqliteState, TargetUse};
use crate::throughput::BudgetTask;
use crate::traces::{ReadTracer, Traces, WriteTracer};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// A sink that was built.
pub(super) struct KnownSink {
    pub(super) delivery: Arc<Delivery>,
    key: TargetKey,
    target: TargetIdentity,
    container: Option<ContainerHandle>,
    source_field: Option<String>,
    mirror: Option<config::Mirror>,
}

/// What a pipeline is made of, connected.
pub(super) struct PipelineParts<'p> {
    pub(super) container: ContainerHandle,
    /// The names of the sinks, in the order of the router's sink numbers.
    pub(super) names: Vec<&'p str>,
    pub(super) settings: PipelineSettings,
    pub(super) feeds: ContainerFeeds,
    /// The budget of reading.
    pub(super) governor: Arc<Governor>,
    pub(super) router: Arc<Router>,
    /// In the order of the names.
    pub(super) deliveries: Vec<Arc<Delivery>>,
}

/// Builds pipelines. Accounts, sinks and budgets are shared between them.
pub(super) struct PipelineBuilder<'c> {
    pub(super) config: &'c Config,
    pub(super) connections: Connections,
    pub(super) state: Arc<SqliteState>,
    /// The sinks built so far by name.
    pub(super) sinks: BTreeMap<String, KnownSink>,
    /// What the sinks of the pipelines refer to, so far.
    pub(super) targets: Vec<TargetUse>,
    /// What follows from what the sources send of documents before their changes, so far.
    pub(super) images: Vec<ImageNotice>,
    /// Routes from container to container, so far.
    pub(super) copies: Vec<Copying>,
    pub(super) traces: Option<Arc<Traces>>,
    pub(super) meter: Arc<Meter>,
    pub(super) budgets: BudgetTask,
    pub(super) reloading_sinks: Vec<Arc<ReloadingSink>>,
    pub(super) stop: CancellationToken,
}

impl<'c> PipelineBuilder<'c> {
    pub(super) fn new(
        config: &'c Config,
        connections: Connections,
        state: Arc<SqliteState>,
        traces: Option<Arc<Traces>>,
        meter: Arc<Meter>,
    ) -> Self {
        Self {
            config,
            connections,
            state,
            sinks: BTreeMap::new(),
            targets: Vec::new(),
            images: Vec::new(),
            copies: Vec::new(),
            traces,
            budgets: BudgetTask::new(Arc::clone(&meter), jiff::Timestamp::now),
            meter,
            reloading_sinks: Vec::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Builds the pipeline of that name, and the sinks of its routes.
    pub(super) async fn pipeline(&mut self, name: &str) -> Result<Pipeline, RunError> {
        let config = &self.config.pipelines[name];
        let parts = self.parts(name, config).await?;
        let source = &config.source;
        if let Start::Time(at) = source.start
            && at > jiff::Timestamp::now()
        {
            warn!(pipeline = name, start = %at, "start is in the future; nothing is read until then");
        }
        let PipelineParts { container, names, router, .. } = &parts;
        let source_key_paths = &parts.settings.source_key_paths;
        if source.mode == Mode::AllVersionsAndDeletes {
            let needs = router.image_needs(source_key_paths);
            self.images.extend(image_notices(name, names, &needs, &container.previous_images));
        }
        for (sink, fields) in router.merging(source_key_paths) {
            let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
            let (sink, fields) = (names[sink], fields.join(", "));
            warn!(
                pipeline = name,
                sink,
                fields,
                "source documents that differ only in these fields are one document in the target"
            );
        }
        let meter = Arc::new(PipelineMeter::new(name));
        self.meter.add_pipeline(Arc::clone(&meter));
        if let Some(budget) = self.meter.budget_of(&parts.governor) {
            meter.set_budget(budget);
        }
        let reads = |traces: &Arc<Traces>| {
            let container = ContainerName::clone(&parts.feeds.name);
            ReadTracer::new(Arc::clone(traces), name, container, names)
        };
        let ports = Ports {
            feeds: Arc::new(parts.feeds.clone()),
            positions: Arc::clone(&self.state) as _,
            dead_letters: Arc::clone(&self.state) as _,
            governor: Arc::clone(&parts.governor),
            traces: self.traces.as_ref().map(reads),
            sweeps: self.sweeps(config, &parts),
            clock: Arc::new(jiff::Timestamp::now),
            stop: self.stop.clone(),
        };
        let PipelineParts { settings, router, deliveries, .. } = parts;
        Ok(Pipeline::new(settings, ports, meter, router, deliveries))
    }

    /// Connects what a pipeline of that name needs: its source, and the sinks of its routes. The settings are
    /// those of `config`.
    pub(super) async fn parts<'p>(
        &mut self,
        name: &str,
        config: &'p config::Pipeline,
    ) -> Result<PipelineParts<'p>, RunError> {
        let source = &config.source;
        let account = self.connections.account(&source.location.account).await?;
        let container =
            account.locate(&source.location.database, &source.location.container).await?;
        let source_key_paths = key_paths(&container)?;
        let mut names: Vec<&str> = Vec::new();
        for route in &config.routes {
            if !names.contains(&route.to.as_str()) {
                names.push(&route.to);
                self.sink(&route.to).await?;
                self.refuse_mirror(&route.to, &container)?;
                self.note_use(name, &route.to, container.id());
            }
        }
        let salts = self.salts(name, config).await?;
        let router = self.router(name, config, &names, &salts)?;
        let images = &container.previous_images;
        let router = router
            .with_images(|path| images.hold(path), images.hold_everything())
            .copying_again(source.on_lost_history == OnLostHistory::Resync);
        let offer = Arc::new(container.clone());
        let governor = self
            .budgets
            .governor(Direction::Read, self.config.reading(name), &container.name, offer)
            .await?;
        let container_name = ContainerName {
            account: source.location.account.clone(),
            database: source.location.database.clone(),
            container: source.location.container.clone(),
            rid: container.rid.clone(),
        };
        let settings = PipelineSettings {
            name: name.to_owned(),
            start: source.start.clone(),
            source_key_paths: source_key_paths.clone(),
            slow_sinks: config.slow_sinks,
            deletes: config.deletes,
            dead_letters: config.dead_letters.clone(),
            window: config.window,
            checkpoint_interval: config.checkpoint_interval,
            stop_grace: STOP_GRACE.min(self.config.stop_within / 2),
            resyncs: source.on_lost_history == OnLostHistory::Resync,
            history: (source.mode == Mode::AllVersionsAndDeletes).then_some(source.history),
            polling: PollLimits { interval: source.poll_interval, idle_budget: source.idle_budget },
            read_ahead: config.read_ahead,
            buffer: config.spool,
            until: config.until,
        };
        let feeds = ContainerFeeds {
            container: container.clone(),
            name: Arc::new(container_name),
            key_paths: source_key_paths.into(),
            mode: source.mode,
            page_size: NonZeroU32::new(source.page_size).unwrap_or(NonZeroU32::MIN),
        };
        let deliveries = names.iter().map(|name| Arc::clone(&self.sinks[*name].delivery)).collect();
        let router = Arc::new(router);
        Ok(PipelineParts { container, names, settings, feeds, governor, router, deliveries })
    }

    /// The sinks of a pipeline that can be swept. One may be due since a run with other options.
    fn sweeps(&self, config: &config::Pipeline, parts: &PipelineParts<'_>) -> Vec<SweptSink> {
        let every = config.sweep.every;
        let ContainerFeeds { container, name, key_paths, .. } = &parts.feeds;
        let swept = parts.names.iter().enumerate().filter_map(|(sink, of)| {
            let known = self.sinks.get(*of)?;
            let (field, handle) = (known.source_field.as_deref()?, known.container.clone()?);
            Some(SweptSink {
                sink,
                source: Arc::new(SweptSource::new(container.clone(), Arc::clone(name))),
                target: Arc::new(SweptTarget::new(handle, field, Arc::clone(key_paths))),
                target_budget: Arc::clone(&known.delivery.governor),
                every,
            })
        });
        swept.collect()
    }

    /// Refuses a sink that is to mirror this container and cannot.
    #[allow(clippy::result_large_err, reason = "called once at the start")]
    fn refuse_mirror(&self, sink: &str, source: &ContainerHandle) -> Result<(), RunError> {
        let KnownSink { container, mirror, .. } = &self.sinks[sink];
        let Some((mirror, target)) = mirror.as_ref().zip(container.as_ref()) else { return Ok(()) };
        mirrors::refuse(mirror, source, target)
            .map_err(|source| RunError::Mirror { sink: sink.to_owned(), source })
    }

    /// Notes that a pipeline, which reads `from`, writes to a sink.
    fn note_use(&mut self, pipeline: &str, sink: &str, from: ContainerId) {
        let KnownSink { target, container, mirror, .. } = &self.sinks[sink];
        let (pipeline, sink) = (pipeline.to_owned(), sink.to_owned());
        if let Some(container) = container {
            let (pipeline, sink, to) = (pipeline.clone(), sink.clone(), container.id());
            let mirrors_with = mirror.as_ref().and_then(|mirror| mirror.with.clone());
            self.copies.push(Copying { pipeline, sink, from, to, mirrors_with });
        }
        self.targets.push(TargetUse { pipeline, sink, target: target.clone() });
    }

    /// Reads the salts of a pipeline's masks.
    async fn salts(
        &self,
        pipeline: &str,
        config: &config::Pipeline,
    ) -> Result<Vec<(SecretRef, Secret)>, RunError> {
        let mut salts = Vec::new();
        let masks = config.routes.iter().flat_map(|route| &route.mask);
        for (path, mask) in masks {
            let Mask::Sha256 { salt } = mask else { continue };
            let secret = self.connections.identities().secret(salt).await;
            let secret = secret.map_err(|source| RunError::Secret {
                attempt: format!("pipeline `{pipeline}`: the salt of {path} cannot be used"),
                source,
            })?;
            salts.push((salt.clone(), secret));
        }
        Ok(salts)
    }

    #[allow(clippy::result_large_err, reason = "called once at the start")]
    fn router(
        &self,
        pipeline: &str,
        config: &config::Pipeline,
        names: &[&str],
        salts: &[(SecretRef, Secret)],
    ) -> Result<Router, RunError> {
        let target_of = |name: &str| {
            let sink = names.iter().position(|known| *known == name)?;
            let KnownSink { key, source_field, mirror, .. } = self.sinks.get(name)?;
            let (key, source_field) = (key.clone(), source_field.clone());
            Some(route::Target { sink, key, source_field, is_mirrored: mirror.is_some() })
        };
        let salt_of = |salt: &SecretRef| {
            let found = salts.iter().find(|(reference, _)| reference == salt);
            found.map(|(_, secret)| secret.expose().as_bytes().to_vec())
        };
        Router::new(&config.routes, target_of, salt_of)
            .map_err(|source| RunError::Route { pipeline: pipeline.to_owned(), source })
    }

    /// Builds a sink, unless another pipeline has built it.
    async fn sink(&mut self, name: &str) -> Result<(), RunError> {
        if self.sinks.contains_key(name) {
            return Ok(());
        }
        let BuiltSink { sink, reloading, governor, partitions, key, target, container } =
            sinks::build(name, self.config, &mut self.connections, &mut self.budgets).await?;
        self.reloading_sinks.extend(reloading);
        let writes = |traces: &Arc<Traces>| {
            WriteTracer::new(Arc::clone(traces), name, &self.config.sinks[name])
        };
        let traces = self.traces.as_ref().map(writes);
        let delivery = Arc::new(Delivery::new(sink, governor, partitions).traced(traces));
        if let Some(budget) = self.meter.budget_of(&delivery.governor) {
            delivery.meter.set_budget(budget);
        }
        self.meter.add_sink(Arc::clone(&delivery.meter));
        let options = self.config.sinks[name].container();
        let source_field = options.and_then(|options| options.writing.source_field.clone());
        let mirror = options.and_then(|options| options.mirror.clone());
        let known = KnownSink { delivery, key, target, container, source_field, mirror };
        self.sinks.insert(name.to_owned(), known);
        Ok(())
    }
}
