//! Starts a worker for every feed range of a pipeline, and for the parts of one that is divided.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::task::{JoinError, JoinSet};
use tracing::{error, info};

use super::worker::{Exit, Worker};
use super::{FeedRange, Pipeline, Slice, uncovered};
use crate::cosmos::Fault;
use crate::observe::RangeMeter;
use crate::state::{SourceIdentity, StateError, StoredSlice};

/// How a pipeline ended.
#[derive(Debug)]
pub enum PipelineEnd {
    Stopped,
    /// At least one feed range needs a person; the others were stopped as asked.
    Parked(Fault),
}

/// Why a pipeline could not be run.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error(transparent)]
    Fault(#[from] Fault),
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
        let (range, meter, exit) = ended?;
        match exit {
            Exit::Stopped => {}
            Exit::Split(stored) => {
                let parts = leaves_of(&pipeline, &stored);
                info!(pipeline = pipeline.name, %range, parts = parts.len(), "followed a split");
                start(&pipeline, &mut workers, Some(&meter), parts);
            }
            Exit::Parked(fault) => {
                let untouched = || "Positions and target are untouched.".to_owned();
                let hint = fault.hint().unwrap_or_else(untouched);
                error!(pipeline = pipeline.name, %range, error = %fault, hint, "parked");
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

type Workers = JoinSet<(FeedRange, Arc<RangeMeter>, Exit)>;

/// Starts a worker for each leaf. A leaf has one slice per sink, all of one range.
fn start(
    pipeline: &Arc<Pipeline>,
    workers: &mut Workers,
    old: Option<&Arc<RangeMeter>>,
    leaves: Vec<Vec<Slice>>,
) {
    let meters: Vec<_> = leaves.iter().map(|_| Arc::new(RangeMeter::default())).collect();
    pipeline.meter.replace_range(old, &meters);
    for (leaf, meter) in leaves.into_iter().zip(meters) {
        let from = furthest_behind(&leaf);
        meter.start_lsn.store(from.lsn().unwrap_or(0), Relaxed);
        let range = from.range.clone();
        let feed = pipeline.feeds.feed(from, pipeline.start.clone());
        let worker = Worker::new(Arc::clone(pipeline), leaf, Arc::clone(&meter));
        workers.spawn(async move { (range, meter, worker.run(feed).await) });
    }
}

/// Where to read from so that no sink misses anything.
fn furthest_behind(leaf: &[Slice]) -> Slice {
    let mut from = leaf[0].clone();
    for slice in &leaf[1..] {
        if slice.etag == from.etag {
            continue;
        }
        match (slice.lsn(), from.lsn()) {
            (Some(here), Some(there)) if here >= there => {}
            (Some(_), Some(_)) => from = slice.clone(),
            // Positions that cannot be compared: only the start is before both.
            _ => from.etag = None,
        }
    }
    from
}

/// The feed ranges to read: those that are stored, or at the first start those of the service.
async fn plan(pipeline: &Pipeline) -> Result<Vec<Vec<Slice>>, PipelineError> {
    let identity = SourceIdentity {
        container: pipeline.feeds.name.to_string(),
        rid: pipeline.feeds.container.rid.clone(),
        mode: pipeline.feeds.mode,
    };
    let mut stored = pipeline.store.open(&pipeline.name, &identity).await?;
    if stored.is_empty() {
        let ranges = pipeline.feeds.ranges().await?;
        let slice = |range: &FeedRange| Slice { range: range.clone(), etag: None };
        stored = pipeline
            .deliveries
            .iter()
            .flat_map(|delivery| {
                let sink = delivery.sink.name();
                ranges.iter().map(|r| StoredSlice { sink: sink.to_owned(), slice: slice(r) })
            })
            .collect();
        let whole = FeedRange::whole();
        pipeline.store.replace(&pipeline.name, &whole, &stored).await?;
    }
    let leaves = leaves_of(pipeline, &stored);
    let slices: Vec<_> = leaves.iter().map(|leaf| leaf[0].clone()).collect();
    let pipeline = pipeline.name.clone();
    if let Some(gap) = uncovered(&FeedRange::whole(), &slices).into_iter().next() {
        return Err(PipelineError::Cover { pipeline, gap });
    }
    if let Some(pair) = slices.windows(2).find(|pair| pair[0].range.max > pair[1].range.min) {
        let gap = pair[1].range.clone();
        return Err(PipelineError::Cover { pipeline, gap });
    }
    Ok(leaves)
}

/// One leaf per stored range, with a slice for each sink of the pipeline.
///
/// A sink that was added since begins at the start; one that was away while its range was divided
/// resumes each part where it stood in the whole.
fn leaves_of(pipeline: &Pipeline, stored: &[StoredSlice]) -> Vec<Vec<Slice>> {
    let names: Vec<_> = pipeline.deliveries.iter().map(|d| d.sink.name()).collect();
    let known: BTreeSet<_> = stored
        .iter()
        .filter(|s| names.contains(&s.sink.as_str()))
        .map(|s| &s.slice.range)
        .collect();
    let ranges =
        if known.is_empty() { stored.iter().map(|s| &s.slice.range).collect() } else { known };
    let covers = |slice: &Slice, range: &FeedRange| {
        slice.range.min <= range.min && range.max <= slice.range.max
    };
    ranges
        .into_iter()
        .map(|range| {
            let slice = |name: &&str| {
                let of_sink = stored.iter().filter(|s| s.sink == *name).map(|s| &s.slice);
                let etag = of_sink.clone().find(|slice| covers(slice, range));
                Slice { range: range.clone(), etag: etag.and_then(|slice| slice.etag.clone()) }
            };
            names.iter().map(slice).collect()
        })
        .collect()
}
