//! Builds what the configuration asks for, runs it, and stops it in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::reloading_sink::ReloadingSink;
use crate::config::Config;
use crate::cosmos::Connections;
use crate::deliver::Delivery;
use crate::observe::{self, Meter, Phase, Totals};
use crate::source::{self, Pipeline, PipelineEnd};
use crate::state::{SqliteState, StateStore};
use crate::stop::{self, Stop, Stopper};
use crate::throughput::BudgetTask;
use crate::traces::{Exporter, Exporting, Traces};

use super::RunError;
use super::build::Parts;

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    Stopped,
    /// Every feed range has answered that there is nothing newer, with nothing in flight.
    CaughtUp,
}

/// Everything that runs.
pub struct Bridge {
    pipelines: Vec<Arc<Pipeline>>,
    deliveries: Vec<Arc<Delivery>>,
    meter: Arc<Meter>,
    keeper: Arc<BudgetTask>,
    rotating: Vec<Arc<ReloadingSink>>,
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
            keeper: BudgetTask::new(Arc::clone(&meter), jiff::Timestamp::now),
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
    pub fn keeper(&self) -> Arc<BudgetTask> {
        Arc::clone(&self.keeper)
    }

    /// The sinks of a run that is under way that have secrets.
    pub fn rotating(&self) -> Vec<Arc<ReloadingSink>> {
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
                Ok(PipelineEnd::Parked(fault)) => {
                    // That of a failure is why all are stopped.
                    outcome = outcome.and(Err(RunError::Parked(fault)));
                }
                Err(source) => {
                    self.stopper.stop();
                    if let Err(RunError::Pipeline { .. }) = outcome {
                        // The first is told at the end.
                        error!(pipeline, error = %source, "this pipeline failed as well");
                    } else {
                        outcome = Err(RunError::Pipeline { pipeline, source });
                    }
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
