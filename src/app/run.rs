//! Builds the pipelines of a configuration, runs them, and stops them in order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::closing::close_sinks;
use super::loops::refuse_loops;
use super::previous_images::{ImageEffect, ImageNotice};
use super::reloading_sink::ReloadingSink;
use super::targets::{self, TargetChoices};
use crate::config::Config;
use crate::cosmos::Connections;
use crate::deliver::Delivery;
use crate::observe::{self, Meter, Phase, Totals};
use crate::source::{self, Pipeline, PipelineEnd, PipelineError, SinkSample};
use crate::state::{SqliteState, TargetUse, compare_targets};
use crate::throughput::BudgetTask;
use crate::traces::{ExportTask, Exporter, Traces};

use super::RunError;
use super::build::PipelineBuilder;

/// When a run ends without a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Never.
    Stopped,
    /// When every feed range has reported that there is nothing newer, with nothing in flight.
    CaughtUp,
}

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub totals: Totals,
    /// Everything was delivered, with nothing newer in any feed range, or each pipeline has reached its end;
    /// else the run was stopped.
    pub caught_up: bool,
}

/// What a check found that does not keep a run from starting.
#[derive(Debug)]
pub struct Findings {
    /// What follows from what the sources send of documents before their changes.
    pub images: Vec<ImageNotice>,
    /// The sinks for which some documents of the sample would become dead letters.
    pub rejecting: Vec<SinkSample>,
}

/// The pipelines of a configuration with everything that they share.
pub struct Bridge {
    pipelines: Vec<Arc<Pipeline>>,
    deliveries: Vec<Arc<Delivery>>,
    state: Arc<SqliteState>,
    /// What the sinks of each pipeline refer to.
    targets: Vec<TargetUse>,
    images: Vec<ImageNotice>,
    meter: Arc<Meter>,
    budgets: Arc<BudgetTask>,
    reloading_sinks: Vec<Arc<ReloadingSink>>,
    /// `None` if traces are off.
    exporter: Option<Exporter>,
    stop: CancellationToken,
    stop_within: Duration,
}

impl Bridge {
    /// Connects every account and finds every container, without writing. `meter` counts from now
    /// on.
    pub async fn build(
        config: &Config,
        state: SqliteState,
        meter: Arc<Meter>,
    ) -> Result<Self, RunError> {
        let connections = Connections::new(config);
        let (traces, exporter) = match &config.traces {
            Some(traces) => {
                let identities = Arc::clone(connections.identities());
                Some(Traces::open(traces, Arc::clone(&meter.traces), identities).await?).unzip()
            }
            None => (None, None),
        };
        if let Some(log) = state.log_size() {
            meter.set_state_log(log);
        }
        let mut builder = PipelineBuilder::new(config, connections, Arc::new(state), traces, meter);
        let mut pipelines = Vec::new();
        for name in config.pipelines.keys() {
            pipelines.push(Arc::new(builder.pipeline(name).await?));
        }
        refuse_loops(&builder.copies)?;
        Ok(Self {
            pipelines,
            deliveries: builder.sinks.into_values().map(|sink| sink.delivery).collect(),
            state: builder.state,
            targets: builder.targets,
            images: builder.images,
            meter: builder.meter,
            budgets: Arc::new(builder.budgets),
            reloading_sinks: builder.reloading_sinks,
            exporter,
            stop: builder.stop,
            stop_within: config.stop_within,
        })
    }

    /// Stops the run in order when it is cancelled.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// The counters of the run.
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// The budgets of the run.
    pub fn budgets(&self) -> Arc<BudgetTask> {
        Arc::clone(&self.budgets)
    }

    /// The sinks that have secrets.
    pub fn reloading_sinks(&self) -> Vec<Arc<ReloadingSink>> {
        self.reloading_sinks.clone()
    }

    /// Stores what the names of the sinks refer to, and does what was chosen for those that refer to
    /// another target than their positions.
    ///
    /// # Errors
    ///
    /// There is such a sink, and nothing was chosen for it.
    pub async fn settle_targets(&self, choices: &TargetChoices) -> Result<(), RunError> {
        let with_choice = |target: &TargetUse| (target.clone(), choices.of(&target.sink));
        let wanted: Vec<_> = self.targets.iter().map(with_choice).collect();
        let settled = self.state.settle_targets(wanted).await?;
        for (target, settled) in self.targets.iter().zip(settled) {
            targets::report(target, choices.of(&target.sink), settled);
        }
        Ok(())
    }

    /// Proves that every container can be read, that every sink works, and that the names of the sinks
    /// refer to the targets of the positions in the state file, without writing, and routes a sample of
    /// documents.
    pub async fn check(&self, state_file: &Path) -> Result<Findings, RunError> {
        let (file, uses) = (state_file.to_owned(), self.targets.clone());
        spawn_blocking(move || compare_targets(&file, uses)).await??;
        for pipeline in &self.pipelines {
            pipeline.ports.feeds.check().await?;
        }
        for delivery in &self.deliveries {
            let sink = delivery.sink.name().to_owned();
            let checked = delivery.sink.check().await;
            checked.map_err(|source| RunError::Sink { sink, source })?;
        }
        if let Some(exporter) = &self.exporter {
            exporter.check().await?;
        }
        let mut rejecting = Vec::new();
        for pipeline in &self.pipelines {
            let samples = pipeline.sample().await?.into_iter();
            rejecting.extend(samples.filter(|sample| sample.rejected() > 0));
        }
        match rejecting.iter().find(|sample| sample.is_all_rejected()) {
            Some(all) => Err(RunError::AllRejected(all.clone())),
            None => Ok(Findings { images: self.images.clone(), rejecting }),
        }
    }

    /// Runs until it is stopped or has caught up, depending on `until`.
    pub async fn run(mut self, until: Until) -> Result<End, RunError> {
        self.meter.set_phase(Phase::Running);
        for notice in self.images.iter().filter(|one| one.effect == ImageEffect::DeletesRejected) {
            let ImageNotice { pipeline, sink, fields, .. } = notice;
            let hint = "check --live says what to do";
            warn!(
                pipeline,
                sink,
                fields,
                hint,
                "deletes become dead letters: they need fields that \
                the source does not send"
            );
        }
        let exporting = self.exporter.take().map(ExportTask::start);
        let caught_up = self.pipelines.iter().map(|pipeline| pipeline.caught_up()).collect();
        if until == Until::CaughtUp {
            self.pipelines.iter().for_each(|pipeline| pipeline.prove_end());
        }
        let pipelines = self.start_pipelines();
        let has_caught_up: Arc<AtomicBool> = Arc::default();
        let mut helpers = self.start_helpers();
        if until == Until::CaughtUp {
            let (stop, reached) = (self.stop.clone(), Arc::clone(&has_caught_up));
            helpers.spawn(async move {
                let all = stop.run_until_cancelled(all_caught_up(caught_up)).await;
                // At a stop the pipelines end, which looks the same.
                if all.is_some() && !stop.is_cancelled() {
                    info!("caught up");
                    reached.store(true, Ordering::Relaxed);
                    stop.cancel();
                }
            });
        }
        // One deadline for all pipelines and the exporter: a stop takes `stop_within` in all.
        let deadline = stop_deadline(&self.stop, self.stop_within).shared();
        let (outcome, have_ended) = tokio::select! {
            outcome = self.wait_for(pipelines) => outcome?,
            () = deadline.clone() => return Err(RunError::StopTimeout(self.stop_within)),
        };
        if have_ended {
            info!("every pipeline has ended");
        }
        self.stop.cancel();
        while helpers.join_next().await.is_some() {}
        close_sinks(&self.deliveries, self.stop_within, deadline.clone()).await;
        if let Some(exporting) = exporting {
            exporting.end(deadline).await;
        }
        let caught_up = have_ended || has_caught_up.load(Ordering::Relaxed);
        outcome?;
        if until == Until::CaughtUp && caught_up {
            self.check_ledgers()?;
        }
        Ok(End { totals: self.meter.totals(), caught_up })
    }

    /// A migration is complete only if it is known what became of every change.
    #[expect(clippy::result_large_err, reason = "called once in a run")]
    fn check_ledgers(&self) -> Result<(), RunError> {
        for sink in self.meter.pipelines().iter().flat_map(|pipeline| pipeline.sinks()) {
            let missing = sink.ledger.status().missing;
            if missing != 0 {
                let (pipeline, sink) = (sink.pipeline.clone(), sink.sink.clone());
                return Err(RunError::Unbalanced { pipeline, sink, missing });
            }
        }
        Ok(())
    }

    fn start_pipelines(&mut self) -> JoinSet<FinishedPipeline> {
        let mut pipelines = JoinSet::new();
        for pipeline in std::mem::take(&mut self.pipelines) {
            pipelines.spawn(async move {
                let name = pipeline.settings.name.clone();
                (name, source::run(pipeline).await)
            });
        }
        pipelines
    }

    /// Starts the tasks that run next to the pipelines and end at a stop.
    fn start_helpers(&self) -> JoinSet<()> {
        let mut helpers = JoinSet::new();
        helpers.spawn(observe::report_progress(Arc::clone(&self.meter), self.stop.clone()));
        let (budgets, stop) = (Arc::clone(&self.budgets), self.stop.clone());
        helpers.spawn(async move { budgets.run(&stop).await });
        let (meter, stop) = (Arc::clone(&self.meter), self.stop.clone());
        helpers.spawn(async move {
            stop.cancelled().await;
            meter.set_phase(Phase::Stopping);
        });
        helpers
    }

    /// Waits until nothing runs any more. The first failure stops the others and is the outcome; without a
    /// failure, a parked pipeline is. Also tells whether each pipeline has reached its end. Fails immediately
    /// if a task panicked.
    async fn wait_for(
        &self,
        mut pipelines: JoinSet<FinishedPipeline>,
    ) -> Result<(Result<(), RunError>, bool), JoinError> {
        let (mut outcome, mut have_ended) = (Ok(()), true);
        while let Some(finished) = pipelines.join_next().await {
            let (pipeline, result) = finished?;
            have_ended &= matches!(result, Ok(PipelineEnd::Ended));
            match result {
                Ok(PipelineEnd::Stopped | PipelineEnd::Ended) => {}
                Ok(PipelineEnd::Parked(error)) => {
                    outcome = outcome.and(Err(RunError::Parked(error)));
                }
                Ok(PipelineEnd::TooManyLetters(source)) => {
                    outcome = outcome.and(Err(RunError::TooManyLetters { pipeline, source }));
                }
                Err(source) => {
                    self.stop.cancel();
                    if let Err(RunError::Pipeline { .. }) = outcome {
                        // The first failure is logged at the end of the run.
                        error!(pipeline, error = %source, "this pipeline failed as well");
                    } else {
                        outcome = Err(RunError::Pipeline { pipeline, source });
                    }
                }
            }
        }
        Ok((outcome, have_ended))
    }
}

/// The name of a pipeline, and how it ended.
type FinishedPipeline = (String, Result<PipelineEnd, PipelineError>);

/// Waits until all pipelines have caught up. A pipeline that has ended counts as caught up.
async fn all_caught_up(mut pipelines: Vec<watch::Receiver<bool>>) {
    loop {
        let behind = pipelines.iter_mut().find_map(|pipeline| {
            let is_caught_up = *pipeline.borrow_and_update();
            (!is_caught_up).then_some(pipeline)
        });
        let Some(behind) = behind else { return };
        if behind.changed().await.is_err() {
            // A pipeline that failed stops the run.
            return std::future::pending().await;
        }
    }
}

/// Completes `within` after a stop was requested.
async fn stop_deadline(stop: &CancellationToken, within: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(within).await;
}
