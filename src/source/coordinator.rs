//! Starts a worker for every feed range of a pipeline, and for the parts of a range that is divided.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::task::{JoinError, JoinSet};
use tracing::info;

use super::history;
use super::letter_limit::LimitExceeded;
use super::pipeline::Pipeline;
use super::range::{EarlierWrites, Ended, PlanError, Planned, RangeExit, RangeWorker, plan};
use super::range_plan::{self, Joining};
use crate::config::Start;
use crate::cosmos::CosmosError;
use crate::model::{FeedRange, Position, StoredPosition};
use crate::observe::RangeMeter;
use crate::state::{Conflict, StateError};

/// How a pipeline ended.
#[derive(Debug)]
pub enum PipelineEnd {
    Stopped,
    /// Everything before the end of the pipeline is delivered and stored.
    Ended,
    /// At least one feed range, or one sink of it, needs operator action; the others were stopped as
    /// asked.
    Parked(CosmosError),
    /// There were too many dead letters; all feed ranges were stopped.
    TooManyLetters(LimitExceeded),
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
    #[error("another process writes the same positions: {0}")]
    Lost(#[from] Conflict),
    #[error("internal error (bug): {0}")]
    Failed(#[from] JoinError),
}

/// Plans and stores where the sinks of a pipeline start.
pub(super) async fn planned(pipeline: &Pipeline) -> Result<Planned, PipelineError> {
    plan(pipeline).await.map_err(|error| match error {
        PlanError::Cosmos(error) => error.into(),
        PlanError::State(error) => error.into(),
        PlanError::Lost(conflict) => conflict.into(),
        PlanError::Cover(gap) => {
            PipelineError::Cover { pipeline: pipeline.settings.name.clone(), gap }
        }
    })
}

/// Runs a pipeline until it is stopped, reaches its end, or every feed range is parked.
pub async fn run(pipeline: Arc<Pipeline>) -> Result<PipelineEnd, PipelineError> {
    let Planned { ranges, start, current_at } = planned(&pipeline).await?;
    pipeline.count_stored_letters().await?;
    pipeline.resume_ledgers().await?;
    info!(pipeline = pipeline.settings.name, ranges = ranges.len(), "reading");
    let coordinator = Coordinator::new(&pipeline, start, current_at).run(ranges);
    let mut ended = tokio::select! {
        // The ranges are known before they are watched.
        biased;
        ended = coordinator => ended?,
        never = history::watch(&pipeline) => match never {},
    };
    if let Some(exceeded) = pipeline.letter_count.exceeded() {
        ended = PipelineEnd::TooManyLetters(exceeded.clone());
        // Nothing more is read of them, and none is caught up.
        for range in pipeline.meter.ranges() {
            pipeline.meter.park_range(&range);
        }
    }
    if matches!(ended, PipelineEnd::Ended) {
        // Others may go on: that nothing more happens to these is no fault.
        for range in pipeline.meter.ranges() {
            pipeline.meter.replace_range(Some(&range), &[]);
        }
    }
    pipeline.meter.ended.store(true, Relaxed);
    pipeline.progress.end();
    Ok(ended)
}

/// The ranges of one pipeline that are read.
struct Coordinator<'p> {
    pipeline: &'p Arc<Pipeline>,
    /// Where a position without an `ETag` begins.
    start: Start,
    /// By sink, the moment of which its stored positions have everything.
    current_at: Vec<i64>,
    workers: JoinSet<(Range, Ended)>,
    /// Writes that had not returned when their range was divided.
    unfinished: JoinSet<Result<(), JoinError>>,
}

/// A range that is read.
#[expect(clippy::struct_field_names, reason = "the range is the feed range of this one")]
struct Range {
    range: FeedRange,
    number: u64,
    meter: Arc<RangeMeter>,
    earlier: EarlierWrites,
}

impl<'p> Coordinator<'p> {
    fn new(pipeline: &'p Arc<Pipeline>, start: Start, current_at: Vec<i64>) -> Self {
        let (workers, unfinished) = (JoinSet::new(), JoinSet::new());
        Self { pipeline, start, current_at, workers, unfinished }
    }

    async fn run(mut self, ranges: Vec<Vec<Position>>) -> Result<PipelineEnd, PipelineError> {
        let (mut parked, mut has_ended) = (None, false);
        let has_end = self.pipeline.settings.until.is_some();
        self.start(None, ranges, &EarlierWrites::default());
        loop {
            let (range, Ended { exit, parked: sinks_parked, unfinished }) = tokio::select! {
                ended = self.workers.join_next() => match ended {
                    Some(ended) => ended?,
                    None => break,
                },
                Some(ended) = self.unfinished.join_next() => {
                    ended??;
                    continue;
                }
                () = self.pipeline.progress.at_end(), if !has_ended && has_end => {
                    has_ended = true;
                    self.end();
                    continue;
                }
            };
            parked = sinks_parked.or(parked);
            match exit {
                RangeExit::Stopped => {}
                RangeExit::Divided(positions) => {
                    let parts = self.parts(positions)?;
                    let (pipeline, whole) = (&self.pipeline.settings.name, &range.range);
                    info!(pipeline, range = %whole, parts = parts.len(), "followed a split");
                    let earlier = unfinished.follow(&range.earlier);
                    self.unfinished.spawn(unfinished.join());
                    self.start(Some(&range), parts, &earlier);
                }
                RangeExit::Parked(fault) => {
                    parked = Some(fault);
                    // It will never catch up; a run until then does not wait for it.
                    self.pipeline.meter.park_range(&range.meter);
                    self.pipeline.progress.replace(Some(range.number), 0, 0);
                }
                RangeExit::Lost(conflict) => return Err(conflict.into()),
                RangeExit::Failed(error) => return Err(error.into()),
            }
        }
        let ended = if has_ended { PipelineEnd::Ended } else { PipelineEnd::Stopped };
        Ok(parked.map_or(ended, PipelineEnd::Parked))
    }

    /// Stops all feed ranges in order: everything before the end of the pipeline is delivered and stored.
    fn end(&self) {
        let settings = &self.pipeline.settings;
        if let Some(until) = settings.until {
            let pipeline = &settings.name;
            info!(pipeline, %until, "the pipeline has ended: everything before that time is delivered");
        }
        self.pipeline.ports.stop.cancel();
    }

    /// Where the sinks start in the parts of a range, by the rules of a start.
    fn parts(
        &self,
        positions: Vec<(usize, Position)>,
    ) -> Result<Vec<Vec<Position>>, PipelineError> {
        let settings = &self.pipeline.settings;
        let names = self.pipeline.sink_names();
        let row = |(sink, position): (usize, Position)| {
            let sink = names[sink].to_owned();
            StoredPosition { sink, position }
        };
        let rows: Vec<_> = positions.into_iter().map(row).collect();
        let cover = |gap| PipelineError::Cover { pipeline: settings.name.clone(), gap };
        let mode = self.pipeline.ports.feeds.identity().mode;
        range_plan::ranges(&names, &rows, Joining::of(&settings.start, mode)).map_err(cover)
    }

    /// Starts a worker for each range, which has one position for each sink.
    fn start(&mut self, old: Option<&Range>, ranges: Vec<Vec<Position>>, earlier: &EarlierWrites) {
        let pipeline = self.pipeline;
        let (old_number, sinks) = (old.map(|old| old.number), pipeline.sinks.len());
        let now = jiff::Timestamp::now().as_second();
        let opened = old.map_or_else(|| self.current_at.clone(), |old| old.meter.current_at(now));
        let reporters = pipeline.progress.replace(old_number, ranges.len(), sinks);
        let meters: Vec<_> = ranges
            .iter()
            .zip(&reporters)
            .map(|(positions, reporter)| {
                let furthest_behind = positions.iter().map(|p| p.lsn().unwrap_or(0)).min();
                let range = positions[0].range.to_string();
                let meter = RangeMeter::new(range, reporter.subscribe()).opened_at(opened.clone());
                meter.start_lsn.store(furthest_behind.unwrap_or(0), Relaxed);
                Arc::new(meter)
            })
            .collect();
        pipeline.meter.replace_range(old.map(|old| &old.meter), &meters);
        for ((positions, meter), reporter) in ranges.into_iter().zip(meters).zip(reporters) {
            let range = Range {
                range: positions[0].range.clone(),
                number: reporter.number(),
                meter: Arc::clone(&meter),
                earlier: earlier.clone(),
            };
            let worker = RangeWorker::new(
                Arc::clone(pipeline),
                positions,
                &self.start,
                meter,
                reporter,
                earlier,
            );
            self.workers.spawn(async move { (range, worker.run().await) });
        }
    }
}
