//! Builds what the configuration asks for, runs it, and stops it in order.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::{ContainerName, SinkError};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tracing::{info, warn};

use crate::budgets::{BudgetError, Keeper};
use crate::config::{Config, Mask, Path, Secret, SecretRef};
use crate::cosmos::{ConnectError, Connections, ContainerFeeds, Fault, Located};
use crate::deliver::Delivery;
use crate::exit;
use crate::identity::ReadError;
use crate::observe::traces::{Exporter, Exporting, Reads, Traces, TracesError, Writes};
use crate::observe::{self, Direction, Meter, Phase, PipelineMeter, Throttling, Totals};
use crate::open::{self, Opened, Rotating};
use crate::route::{self, RouteError, Router, TargetKey};
use crate::source::{self, Pipeline, PipelineEnd, PipelineError, READ_AHEAD_UNIT, Spool};
use crate::state::{SqliteState, StateError, StateStore};
use crate::stop::{self, Stop, Stopper};

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    Stopped,
    /// Every feed range has answered that there is nothing newer, with nothing in flight.
    CaughtUp,
}

/// Why a run could not start, or failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Fault(#[from] Fault),
    /// What it was read for completes the message's beginning.
    #[error("{attempt}: {source}")]
    Secret { attempt: String, source: ReadError },
    #[error(transparent)]
    Budget(#[from] BudgetError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("pipeline `{pipeline}`: {source}")]
    Route { pipeline: String, source: RouteError },
    #[error("container `{container}` has a key path that the bridge cannot read: {path}")]
    KeyPath { container: String, path: String },
    #[error(transparent)]
    Traces(#[from] TracesError),
    #[error("sink `{sink}`: {source}")]
    Sink { sink: String, source: SinkError },
    #[error("pipeline `{pipeline}`: {source}")]
    Pipeline { pipeline: String, source: PipelineError },
    #[error("a defect of the bridge: {0}")]
    Failed(#[from] JoinError),
    #[error("work under way did not end within {} s; it is repeated at the next start", .0.as_secs())]
    StopTimeout(Duration),
    #[error("parked: {0}")]
    Parked(Fault),
}

impl RunError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Fault(fault) | Self::Pipeline { source: PipelineError::Fault(fault), .. } => {
                fault.exit_code()
            }
            Self::Secret { source, .. }
            | Self::Traces(TracesError::Secret(source @ ReadError::Vault(_))) => source.exit_code(),
            Self::Budget(error) => error.exit_code(),
            Self::State(StateError::Recreated { .. })
            | Self::Pipeline {
                source: PipelineError::State(StateError::Recreated { .. }), ..
            }
            | Self::Parked(_) => exit::PARKED,
            Self::Route { .. }
            | Self::KeyPath { .. }
            | Self::State(StateError::OtherSource { .. })
            | Self::Pipeline {
                source: PipelineError::State(StateError::OtherSource { .. }), ..
            } => exit::CONFIG,
            Self::State(_) | Self::Pipeline { source: PipelineError::State(_), .. } => exit::STATE,
            Self::Traces(TracesError::Collector(_)) => exit::UNREACHABLE,
            Self::Traces(_) => exit::CONFIG,
            Self::Sink { source, .. } if source.transient => exit::UNREACHABLE,
            Self::StopTimeout(_) => exit::STOP_TIMEOUT,
            Self::Sink { .. } | Self::Pipeline { .. } | Self::Failed(_) => exit::FAILED,
        }
    }

    /// A sentence that says what to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Fault(fault)
            | Self::Parked(fault)
            | Self::Pipeline { source: PipelineError::Fault(fault), .. } => fault.hint(),
            Self::Secret { source, .. } => Some(source.hint()),
            Self::Budget(error) => error.hint(),
            Self::State(error) | Self::Pipeline { source: PipelineError::State(error), .. } => {
                Some(error.hint())
            }
            Self::Route { source: RouteError::KeyPathMismatch { .. }, .. } => Some(
                "Make the route's partition_key name the target's key paths in their order, or \
                 create the target container with the paths of the route."
                    .to_owned(),
            ),
            Self::Traces(error) => Some(error.hint()),
            Self::Sink { source, .. } => source.hint.clone(),
            _ => None,
        }
    }
}

impl From<ConnectError> for RunError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Fault(fault) => Self::Fault(fault),
            ConnectError::Secret { account, source } => {
                Self::Secret { attempt: format!("connecting to account `{account}`"), source }
            }
        }
    }
}

/// Everything that runs.
pub struct Bridge {
    pipelines: Vec<Arc<Pipeline>>,
    deliveries: Vec<Arc<Delivery>>,
    meter: Arc<Meter>,
    keeper: Arc<Keeper>,
    rotating: Vec<Arc<Rotating>>,
    caught_up: Arc<Notify>,
    /// `None` where nothing is traced.
    exporter: Option<Exporter>,
    stopper: Arc<Stopper>,
    stop: Stop,
    stop_within: Duration,
}

impl Bridge {
    /// Connects every account and finds every container. Writes nothing to any of them.
    /// `meter` counts what it does, from now on.
    pub async fn build(
        config: &Config,
        state: SqliteState,
        meter: Arc<Meter>,
    ) -> Result<Self, RunError> {
        let store: Arc<dyn StateStore> = Arc::new(state);
        let (stopper, stop) = stop::pair();
        let connections = Connections::new(config);
        let (traces, exporter) = match &config.traces {
            Some(traces) => {
                let identities = Arc::clone(connections.identities());
                Some(Traces::open(traces, Arc::clone(&meter.traces), identities).await?).unzip()
            }
            None => (None, None),
        };
        let mut parts = Parts {
            config,
            connections,
            store,
            sinks: BTreeMap::new(),
            traces,
            keeper: Keeper::new(Arc::clone(&meter), jiff::Timestamp::now),
            meter,
            rotating: Vec::new(),
            caught_up: Arc::default(),
            stop,
        };
        let mut pipelines = Vec::new();
        for name in config.pipelines.keys() {
            pipelines.push(Arc::new(parts.pipeline(name).await?));
        }
        Ok(Self {
            pipelines,
            deliveries: parts.sinks.into_values().map(|(delivery, _)| delivery).collect(),
            meter: parts.meter,
            keeper: Arc::new(parts.keeper),
            rotating: parts.rotating,
            caught_up: parts.caught_up,
            exporter,
            stopper: Arc::new(stopper),
            stop: parts.stop,
            stop_within: config.stop_within,
        })
    }

    /// Stops a run that is under way, in order.
    pub fn stopper(&self) -> Arc<Stopper> {
        Arc::clone(&self.stopper)
    }

    /// The counters of a run that is under way.
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// The budgets of a run that is under way.
    pub fn keeper(&self) -> Arc<Keeper> {
        Arc::clone(&self.keeper)
    }

    /// The sinks of a run that is under way that have secrets.
    pub fn rotating(&self) -> Vec<Arc<Rotating>> {
        self.rotating.clone()
    }

    /// Proves that every container can be read and every sink would work. Writes nothing.
    pub async fn check(&self) -> Result<(), RunError> {
        for pipeline in &self.pipelines {
            pipeline.feeds.check().await?;
        }
        for delivery in &self.deliveries {
            let sink = delivery.sink.name().to_owned();
            let checked = delivery.sink.check().await;
            checked.map_err(|source| RunError::Sink { sink, source })?;
        }
        if let Some(exporter) = &self.exporter {
            exporter.check().await?;
        }
        Ok(())
    }

    /// Runs until stopped, or until there is nothing left to do.
    pub async fn run(self, until: Until) -> Result<Totals, RunError> {
        self.meter.enters(Phase::Running);
        let exporting = self.exporter.map(Exporting::start);
        let mut running = JoinSet::new();
        for pipeline in self.pipelines {
            running.spawn(async move {
                let name = pipeline.name.clone();
                (name, source::run(pipeline).await)
            });
        }
        let mut beside = JoinSet::new();
        beside.spawn(observe::show(Arc::clone(&self.meter), self.stop.clone()));
        let (keeper, stop) = (Arc::clone(&self.keeper), self.stop.clone());
        beside.spawn(async move { keeper.run(&stop).await });
        let (meter, stop) = (Arc::clone(&self.meter), self.stop.clone());
        beside.spawn(async move {
            stop.asked().await;
            meter.enters(Phase::Stopping);
        });
        if until == Until::CaughtUp {
            let (meter, notify) = (Arc::clone(&self.meter), Arc::clone(&self.caught_up));
            let stopper = Arc::clone(&self.stopper);
            let stop = self.stop.clone();
            beside.spawn(async move {
                while !meter.is_caught_up() {
                    if stop.within(notify.notified()).await.is_none() {
                        return;
                    }
                }
                info!("caught up");
                stopper.stop();
            });
        }
        let mut outcome = Ok(());
        // Once asked to stop, everything has `stop_within` in all: one clock for all pipelines.
        let overdue = overdue(&self.stop, self.stop_within);
        tokio::pin!(overdue);
        loop {
            let ended = tokio::select! {
                ended = running.join_next() => ended,
                () = &mut overdue => {
                    return Err(RunError::StopTimeout(self.stop_within));
                }
            };
            let Some(ended) = ended else { break };
            let (pipeline, result) = ended?;
            match result {
                Ok(PipelineEnd::Stopped) => {}
                Ok(PipelineEnd::Parked(fault)) => outcome = Err(RunError::Parked(fault)),
                Err(source) => {
                    self.stopper.stop();
                    outcome = Err(RunError::Pipeline { pipeline, source });
                }
            }
        }
        self.stopper.stop();
        while beside.join_next().await.is_some() {}
        for delivery in &self.deliveries {
            if let Err(error) = delivery.sink.close().await {
                warn!(sink = delivery.sink.name(), %error, "could not close");
            }
        }
        if let Some(exporting) = exporting {
            exporting.end(overdue).await;
        }
        outcome.map(|()| self.meter.totals())
    }
}

/// Ends `within` after a stop was asked for.
async fn overdue(stop: &Stop, within: Duration) {
    stop.asked().await;
    tokio::time::sleep(within).await;
}

/// What pipelines are made of, while they are.
struct Parts<'c> {
    config: &'c Config,
    connections: Connections,
    store: Arc<dyn StateStore>,
    /// By name, with what its keys are made of.
    sinks: BTreeMap<String, (Arc<Delivery>, TargetKey)>,
    traces: Option<Arc<Traces>>,
    meter: Arc<Meter>,
    keeper: Keeper,
    rotating: Vec<Arc<Rotating>>,
    caught_up: Arc<Notify>,
    stop: Stop,
}

impl Parts<'_> {
    async fn pipeline(&mut self, name: &str) -> Result<Pipeline, RunError> {
        let config = &self.config.pipelines[name];
        let source = &config.source;
        let account = self.connections.account(&source.account).await?;
        let container = account.locate(&source.database, &source.container).await?;
        let source_key_paths = key_paths(&container)?;
        let mut names: Vec<&str> = Vec::new();
        for route in &config.routes {
            if !names.contains(&route.to.as_str()) {
                names.push(&route.to);
                self.sink(&route.to).await?;
            }
        }
        let salts = self.salts(name).await?;
        let router = self.router(name, &names, &salts)?;
        let offer = Arc::new(container.clone());
        let governor = self
            .keeper
            .governor(Direction::Read, self.config.reading(name), &container.name, offer)
            .await?;
        let meter = Arc::new(PipelineMeter::new(name));
        self.meter.add_pipeline(Arc::clone(&meter));
        if let Some(budget) = self.meter.budget_of(&governor) {
            meter.draws_on(budget);
        }
        let permits = config.read_ahead.div_ceil(READ_AHEAD_UNIT).max(1);
        let container_name = ContainerName {
            account: source.account.clone(),
            database: source.database.clone(),
            container: source.container.clone(),
        };
        let reads = |traces: &Arc<Traces>| {
            Reads::new(Arc::clone(traces), name, container_name.clone(), &names)
        };
        let traces = self.traces.as_ref().map(reads);
        Ok(Pipeline {
            name: name.to_owned(),
            feeds: Arc::new(ContainerFeeds {
                container,
                name: Arc::new(container_name),
                key_paths: source_key_paths.clone().into(),
                mode: source.mode,
                page_size: NonZeroU32::new(source.page_size).unwrap_or(NonZeroU32::MIN),
            }),
            start: source.start.clone(),
            source_key_paths,
            router,
            spools: names
                .iter()
                .map(|name| Arc::new(Spool::new(config.spool, meter.add_sink(name))))
                .collect(),
            slow_sinks: config.slow_sinks,
            deliveries: names.iter().map(|name| Arc::clone(&self.sinks[*name].0)).collect(),
            store: Arc::clone(&self.store),
            governor,
            deletes: config.deletes,
            window: config.window,
            checkpoint_interval: config.checkpoint_interval,
            poll_interval: source.poll_interval,
            read_ahead: Arc::new(Semaphore::new(permits)),
            read_ahead_permits: u32::try_from(permits).unwrap_or(u32::MAX),
            meter,
            caught_up: Arc::clone(&self.caught_up),
            throttling: Throttling::new(format!("reading pipeline `{name}`")),
            traces,
            stop: self.stop.clone(),
        })
    }

    /// The salts of a pipeline's masks.
    async fn salts(&self, pipeline: &str) -> Result<Vec<(SecretRef, Secret)>, RunError> {
        let mut salts = Vec::new();
        let masks = self.config.pipelines[pipeline].routes.iter().flat_map(|route| &route.mask);
        for (path, mask) in masks {
            let Mask::Sha256 { salt } = mask else { continue };
            let read = self.connections.identities().secret(salt).await;
            let read = read.map_err(|source| RunError::Secret {
                attempt: format!("pipeline `{pipeline}`: the salt of {path} cannot be used"),
                source,
            })?;
            salts.push((salt.clone(), read));
        }
        Ok(salts)
    }

    fn router(
        &self,
        pipeline: &str,
        names: &[&str],
        salts: &[(SecretRef, Secret)],
    ) -> Result<Router, RunError> {
        let target_of = |name: &str| {
            let sink = names.iter().position(|known| *known == name)?;
            let key = self.sinks.get(name)?.1.clone();
            Some(route::Target { sink, key })
        };
        let salt_of = |salt: &SecretRef| {
            let found = salts.iter().find(|(reference, _)| reference == salt);
            found.map(|(_, secret)| secret.expose().as_bytes().to_vec())
        };
        let routes = &self.config.pipelines[pipeline].routes;
        Router::new(routes, target_of, salt_of)
            .map_err(|source| RunError::Route { pipeline: pipeline.to_owned(), source })
    }

    /// Opens a sink when the first pipeline needs it.
    async fn sink(&mut self, name: &str) -> Result<(), RunError> {
        if self.sinks.contains_key(name) {
            return Ok(());
        }
        let Opened { sink, rotating, governor, partitions, key } =
            open::sink(name, self.config, &mut self.connections, &mut self.keeper).await?;
        self.rotating.extend(rotating);
        let writes =
            |traces: &Arc<Traces>| Writes::new(Arc::clone(traces), name, &self.config.sinks[name]);
        let traces = self.traces.as_ref().map(writes);
        let delivery = Arc::new(Delivery::new(sink, governor, partitions).traced(traces));
        if let Some(budget) = self.meter.budget_of(&delivery.governor) {
            delivery.meter.draws_on(budget);
        }
        self.meter.add_sink(Arc::clone(&delivery.meter));
        self.sinks.insert(name.to_owned(), (delivery, key));
        Ok(())
    }
}

/// The key paths of a container.
pub(crate) fn key_paths(container: &Located) -> Result<Vec<Path>, RunError> {
    let parse = |path: &String| {
        Path::parse(path).ok_or_else(|| RunError::KeyPath {
            container: container.name.clone(),
            path: path.clone(),
        })
    };
    container.key_paths.iter().map(parse).collect()
}
