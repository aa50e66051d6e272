//! Starts a worker for every feed range of a pipeline, and for the parts of one that is divided.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::task::{JoinError, JoinSet};
use tracing::info;

use super::worker::{Ended, Exit, Worker};
use super::{Pipeline, leaves};
use crate::cosmos::CosmosError;
use crate::model::{FeedRange, Position, StoredPosition};
use crate::observe::RangeMeter;
use crate::state::StateError;

/// How a pipeline ended.
#[derive(Debug)]
pub enum PipelineEnd {
    Stopped,
    /// At least one feed range, or one sink of it, needs a person; the others were stopped as asked.
    Parked(CosmosError),
}

/// Why a pipeline could not be run.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error(transparent)]
    Cosmos(#[from] CosmosError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the stored positions leave {gap} out or cover it twice")]
    Cover { pipeline: String, gap: FeedRange },
    #[error("a defect of the bridge: {0}")]
    Failed(#[from] JoinError),
}

/// Runs a pipeline until it is stopped, or until every feed range is parked.
pub async fn run(pipeline: Arc<Pipeline>) -> Result<PipelineEnd, PipelineError> {
    let leaves = plan(&pipeline).await?;
    info!(pipeline = pipeline.name, ranges = leaves.len(), "reading");
    let mut workers = JoinSet::new();
    let mut parked = None;
    start(&pipeline, &mut workers, None, leaves);
    while let Some(ended) = workers.join_next().await {
        let (range, meter, Ended { exit, parked: of_sinks }) = ended?;
        parked = of_sinks.or(parked);
        match exit {
            Exit::Stopped => {}
            Exit::Split(stored) => {
                let parts = leaves_of(&pipeline, &stored)?;
                info!(pipeline = pipeline.name, %range, parts = parts.len(), "followed a split");
                start(&pipeline, &mut workers, Some(&meter), parts);
            }
            Exit::Parked(fault) => {
                parked = Some(fault);
                // It will never catch up; a run until then does not wait for it.
                pipeline.meter.replace_range(Some(&meter), &[]);
                pipeline.caught_up.notify_one();
            }
            Exit::Failed(error) => return Err(error.into()),
        }
    }
    pipeline.meter.ended.store(true, Relaxed);
    pipeline.caught_up.notify_one();
    Ok(parked.map_or(PipelineEnd::Stopped, PipelineEnd::Parked))
}

type Workers = JoinSet<(FeedRange, Arc<RangeMeter>, Ended)>;

/// Starts a worker for each leaf. A leaf has one slice per sink, all of one range.
fn start(
    pipeline: &Arc<Pipeline>,
    workers: &mut Workers,
    old: Option<&Arc<RangeMeter>>,
    leaves: Vec<Vec<Position>>,
) {
    let sinks = pipeline.deliveries.len();
    let meter = |leaf: &Vec<Position>| Arc::new(RangeMeter::new(leaf[0].range.to_string(), sinks));
    let meters: Vec<_> = leaves.iter().map(meter).collect();
    pipeline.meter.replace_range(old, &meters);
    for (leaf, meter) in leaves.into_iter().zip(meters) {
        let furthest_behind = leaf.iter().map(|slice| slice.lsn().unwrap_or(0)).min();
        meter.start_lsn.store(furthest_behind.unwrap_or(0), Relaxed);
        let range = leaf[0].range.clone();
        let worker = Worker::new(Arc::clone(pipeline), leaf, Arc::clone(&meter));
        workers.spawn(async move { (range, meter, worker.run().await) });
    }
}

/// The feed ranges to read: those that are stored, or at the first start those of the service.
async fn plan(pipeline: &Pipeline) -> Result<Vec<Vec<Position>>, PipelineError> {
    let identity = pipeline.feeds.identity();
    let stored = pipeline.store.open(&pipeline.name, &identity).await?;
    let names = pipeline.sink_names();
    let leaves = if stored.is_empty() {
        let ranges = pipeline.feeds.ranges().await?;
        let slice = |range: FeedRange| {
            names.iter().map(|_| Position { range: range.clone(), etag: None }).collect()
        };
        ranges.into_iter().map(slice).collect()
    } else {
        leaves_of(pipeline, &stored)?
    };
    if let Some(gap) = leaves::gap(&leaves) {
        return Err(PipelineError::Cover { pipeline: pipeline.name.clone(), gap });
    }
    for name in names.iter().filter(|name| !stored.iter().any(|s| s.sink == **name)) {
        if !stored.is_empty() {
            info!(pipeline = pipeline.name, sink = name, start = ?pipeline.start, "a new sink");
        }
    }
    // One row for each leaf and sink: what is left of other divisions would be read again later.
    let planned = leaves.iter().flatten().zip(names.iter().cycle());
    let planned: Vec<_> = planned
        .map(|(slice, sink)| StoredPosition { sink: (*sink).to_owned(), position: slice.clone() })
        .collect();
    let known = stored.iter().filter(|row| names.contains(&row.sink.as_str())).count();
    if known != planned.len() || !planned.iter().all(|row| stored.contains(row)) {
        pipeline.store.replace(&pipeline.name, &FeedRange::whole(), &planned).await?;
    }
    Ok(leaves)
}

fn leaves_of(
    pipeline: &Pipeline,
    stored: &[StoredPosition],
) -> Result<Vec<Vec<Position>>, PipelineError> {
    let cover = |gap| PipelineError::Cover { pipeline: pipeline.name.clone(), gap };
    leaves::leaves(&pipeline.sink_names(), stored, &pipeline.start).map_err(cover)
}
