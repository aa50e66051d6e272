//! Builds pipelines to replay their dead letters.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::RunError;
use super::build::PipelineBuilder;
use super::closing::close_sinks;
use crate::config::Config;
use crate::cosmos::Connections;
use crate::deliver::Delivery;
use crate::observe::Meter;
use crate::source::{Pipeline, Replay, ReplaySummary};
use crate::state::{LetterFilter, SqliteState};
use crate::throughput::BudgetTask;

/// Pipelines that are not run, with everything that they write to.
pub struct LetterReplay {
    pipelines: Vec<Pipeline>,
    deliveries: Vec<Arc<Delivery>>,
    state: Arc<SqliteState>,
    budgets: BudgetTask,
    stop: CancellationToken,
    /// The longest time for closing the sinks at the end.
    stop_within: Duration,
}

impl LetterReplay {
    /// Connects the accounts and sinks of the pipelines with these names, which the configuration has.
    pub async fn build(
        config: &Config,
        state: Arc<SqliteState>,
        pipelines: &[&str],
    ) -> Result<Self, RunError> {
        let (connections, meter) = (Connections::new(config), Arc::<Meter>::default());
        let mut builder =
            PipelineBuilder::new(config, connections, Arc::clone(&state), None, meter);
        let mut built = Vec::new();
        for name in pipelines {
            built.push(builder.pipeline(name).await?);
        }
        Ok(Self {
            pipelines: built,
            deliveries: builder.sinks.into_values().map(|sink| sink.delivery).collect(),
            state,
            budgets: builder.budgets,
            stop: builder.stop,
            stop_within: config.stop_within,
        })
    }

    /// Stops the replay in order when it is cancelled.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Replays the letters that the filter names, one pipeline after the other. `progress` is told what is
    /// done so far.
    pub async fn run(
        &self,
        filter: &LetterFilter,
        progress: impl Fn(&ReplaySummary),
    ) -> Result<ReplaySummary, RunError> {
        let ended = CancellationToken::new();
        let replay = async {
            let replayed = self.replay(filter, progress).await;
            let deadline = sleep(self.stop_within).shared();
            close_sinks(&self.deliveries, self.stop_within, deadline).await;
            ended.cancel();
            replayed
        };
        let ((), replayed) = tokio::join!(self.budgets.run(&ended), replay);
        replayed
    }

    async fn replay(
        &self,
        filter: &LetterFilter,
        progress: impl Fn(&ReplaySummary),
    ) -> Result<ReplaySummary, RunError> {
        let mut all = ReplaySummary::default();
        for pipeline in &self.pipelines {
            let replay = Replay { pipeline, state: &self.state, stop: &self.stop };
            let so_far = |done: &ReplaySummary| {
                let mut sum = all.clone();
                sum.add(done.clone());
                progress(&sum);
            };
            let summary = replay.run(filter, so_far).await?;
            all.add(summary);
        }
        Ok(all)
    }
}
