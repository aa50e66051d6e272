//! Starts a worker for every feed range of a pipeline, and for the parts of a range that is divided.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::info;

use super::history;
use super::letter_limit::LimitExceeded;
use super::pipeline::Pipeline;
use super::range::{
    EarlierWrites, Ended, Notices, PlanError, Planned, RangeExit, RangeWorker, plan,
};
use super::range_plan::{self, Joining};
use super::resync::{Resynced, resync};
use super::sweep_schedule;
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
    plan(pipeline).await.map_err(|error| cannot_plan(pipeline, error))
}

/// Runs a pipeline until it is stopped, reaches its end, or every feed range is parked.
pub async fn run(pipeline: Arc<Pipeline>) -> Result<PipelineEnd, PipelineError> {
    let Planned { ranges, start, current_at } = planned(&pipeline).await?;
    pipeline.count_stored_letters().await?;
    pipeline.resume_ledgers().await?;
    sweep_schedule::resume(&pipeline).await?;
    info!(pipeline = pipeline.settings.name, ranges = ranges.len(), "reading");
    let coordinator = Coordinator::new(&pipeline, start, current_at).run(ranges);
    let mut ended = tokio::select! {
        // The ranges are known before they are watched.
        biased;
        ended = coordinator => ended?,
        never = history::watch(&pipeline) => match never {},
        never = Box::pin(sweep_schedule::watch(&pipeline)) => match never {},
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

fn cannot_plan(pipeline: &Pipeline, error: PlanError) -> PipelineError {
    match error {
        PlanError::Cosmos(error) => error.into(),
        PlanError::State(error) => error.into(),
        PlanError::Lost(conflict) => conflict.into(),
        PlanError::Cover(gap) => {
            PipelineError::Cover { pipeline: pipeline.settings.name.clone(), gap }
        }
    }
}

/// How often a range is read again in a row although no stored position is lost, before it parks.
const MOST_IN_VAIN: u32 = 3;
/// What happens later than this after the last time is not in a row.
const IN_A_ROW: Duration = Duration::from_mins(10);

#[derive(Clone, Copy)]
struct InVain {
    times: u32,
    last: Instant,
}

/// The ranges of one pipeline that are read.
struct Coordinator<'p> {
    pipeline: &'p Arc<Pipeline>,
    /// Where a position without an `ETag` begins.
    start: Start,
    /// By sink, the moment of which its stored positions have everything.
    current_at: Vec<i64>,
    workers: JoinSet<(Range, Ended)>,
    /// Ranges whose history is lost, until they can be read again.
    resyncs: JoinSet<(Range, EarlierWrites, Result<Option<Resynced>, PlanError>)>,
    /// How often a range was read again in a row without that any position was lost.
    in_vain: HashMap<FeedRange, InVain>,
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
        let (workers, resyncs, unfinished) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        let in_vain = HashMap::new();
        Self { pipeline, start, current_at, workers, resyncs, in_vain, unfinished }
    }

    async fn run(mut self, ranges: Vec<Vec<Position>>) -> Result<PipelineEnd, PipelineError> {
        let (mut parked, mut has_ended) = (None, false);
        let has_end = self.pipeline.settings.until.is_some();
        let opened = self.current_at.clone();
        self.start(None, ranges, &EarlierWrites::default(), &opened);
        loop {
            let (range, Ended { exit, parked: sinks_parked, unfinished }) = tokio::select! {
                ended = self.workers.join_next(),
                    if !self.workers.is_empty() || self.resyncs.is_empty() => match ended {
                    Some(ended) => ended?,
                    None => break,
                },
                Some(done) = self.resyncs.join_next() => {
                    let (range, earlier, resynced) = done?;
                    let resynced = resynced.map_err(|error| cannot_plan(self.pipeline, error))?;
                    if let Some(Resynced { ranges, is_lost }) = resynced {
                        self.note_resync(&range.range, is_lost.contains(&true));
                        let now = jiff::Timestamp::now().as_second();
                        let mut opened = range.meter.current_at(now);
                        for (opened, _) in opened.iter_mut().zip(is_lost).filter(|(_, lost)| *lost) {
                            *opened = now;
                        }
                        self.start(Some(&range), ranges, &earlier, &opened);
                    }
                    continue;
                }
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
                    let opened = range.meter.current_at(jiff::Timestamp::now().as_second());
                    self.start(Some(&range), parts, &earlier, &opened);
                }
                RangeExit::Parked(fault) if self.resyncs(&fault, &range.range) => {
                    let earlier = unfinished.follow(&range.earlier);
                    self.unfinished.spawn(unfinished.join());
                    let pipeline = Arc::clone(self.pipeline);
                    pipeline.progress.reopen(range.number);
                    self.resyncs.spawn(async move {
                        let resynced = resync(&pipeline, &range.range).await;
                        (range, earlier, resynced)
                    });
                }
                RangeExit::Parked(fault) => {
                    if self.pipeline.settings.resyncs && fault.is_lost_position() {
                        // The range expected to be read again.
                        Notices { pipeline: self.pipeline, range: &range.range }.park(None, &fault);
                    }
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

    /// Whether a range is read again because of a fault. Not if that was in vain several times: then the stored positions
    /// are accepted, and what follows them is refused.
    fn resyncs(&self, fault: &CosmosError, range: &FeedRange) -> bool {
        let in_vain = self.in_vain.get(range).filter(|vain| vain.last.elapsed() < IN_A_ROW);
        let times = in_vain.map_or(0, |vain| vain.times);
        self.pipeline.settings.resyncs && fault.is_lost_position() && times < MOST_IN_VAIN
    }

    fn note_resync(&mut self, range: &FeedRange, was_lost: bool) {
        let before = self.in_vain.remove(range).filter(|vain| vain.last.elapsed() < IN_A_ROW);
        if !was_lost {
            let times = before.map_or(0, |vain| vain.times) + 1;
            self.in_vain.insert(range.clone(), InVain { times, last: Instant::now() });
        }
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
    fn start(
        &mut self,
        old: Option<&Range>,
        ranges: Vec<Vec<Position>>,
        earlier: &EarlierWrites,
        opened: &[i64],
    ) {
        let pipeline = self.pipeline;
        let (old_number, sinks) = (old.map(|old| old.number), pipeline.sinks.len());
        let reporters = pipeline.progress.replace(old_number, ranges.len(), sinks);
        let meters: Vec<_> = ranges
            .iter()
            .zip(&reporters)
            .map(|(positions, reporter)| {
                let furthest_behind = positions.iter().map(|p| p.lsn().unwrap_or(0)).min();
                let range = positions[0].range.to_string();
                let meter = RangeMeter::new(range, reporter.subscribe()).opened_at(opened.to_vec());
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
