//! The owner of a feed range's positions. Nothing else writes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::event::Checkpoint;
use crate::config::Start;
use crate::cosmos::CosmosError;
use crate::model::{FeedRange, Ledger, LedgerEntry, Mode, Position, StoredPosition};
use crate::source::first_positions::{first_positions, start_of_unread};
use crate::source::history;
use crate::source::pipeline::Pipeline;
use crate::source::range_plan::{self, Joining};
use crate::source::state_write::until_written;
use crate::state::{Conflict, PositionWrite, StateError, StoredPipeline};

/// Holds one feed range: the only writer of its positions, in all sinks. There is one for each range
/// that is read, and the state machine has at most one write under way.
pub(in crate::source) struct HeldRange {
    pipeline: Arc<Pipeline>,
    range: FeedRange,
    stop: CancellationToken,
    /// By sink: it still copies what existed at the start.
    copying: Vec<AtomicBool>,
}

/// Why a pipeline's ranges cannot be planned.
#[derive(Debug, thiserror::Error)]
pub(in crate::source) enum PlanError {
    #[error(transparent)]
    Cosmos(#[from] CosmosError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the stored positions leave {0} out or cover it twice")]
    Cover(FeedRange),
    #[error(transparent)]
    Lost(#[from] Conflict),
}

impl HeldRange {
    /// `stored` are the positions of the sinks; `stop` is the branch of the range: writes that fail are
    /// repeated until it is cancelled.
    pub(in crate::source) fn new(
        pipeline: Arc<Pipeline>,
        stored: &[Position],
        stop: CancellationToken,
    ) -> Self {
        let is_copying = |position: &Position| AtomicBool::new(position.stream_from.is_some());
        let copying = stored.iter().map(is_copying).collect();
        Self { pipeline, range: stored[0].range.clone(), stop, copying }
    }

    /// Stores how far sinks, by number, have everything. `None` when stopped first.
    pub(super) async fn store(&self, checkpoints: Vec<Checkpoint>) -> Option<PositionWrite> {
        let is_among_changes = |point: &&Checkpoint| point.position.stream_from.is_none();
        let copied = checkpoints.iter().filter(is_among_changes).map(|point| point.sink);
        let copied: Vec<_> = copied.collect();
        let ledgers = checkpoints.iter().map(|point| (point.sink, point.ledger)).collect();
        let ledgers = self.entries(ledgers);
        let positions = checkpoints.into_iter().map(|point| (point.sink, point.position));
        let rows = rows(&self.pipeline, positions.collect());
        let Pipeline { ports, meter, settings, sinks, .. } = &*self.pipeline;
        let write = || ports.positions.advance(&settings.name, &rows, &ledgers);
        let written = until_written(&meter.store_failures, &self.stop, write).await;
        if written == Some(PositionWrite::Stored) {
            for sink in copied.into_iter().filter(|sink| self.copying[*sink].swap(false, Relaxed)) {
                let (pipeline, sink) = (&settings.name, sinks[sink].delivery.sink.name());
                info!(pipeline, sink, range = %self.range, "what existed is copied; reading the changes since");
            }
        }
        written
    }

    /// Stores the parts of the range in its place, and the ledgers of what sinks got with its last page. `None`
    /// when stopped first.
    pub(super) async fn divide(
        &self,
        parts: Vec<(usize, Position)>,
        ledgers: Vec<(usize, Ledger)>,
    ) -> Option<PositionWrite> {
        let (rows, ledgers) = (rows(&self.pipeline, parts), self.entries(ledgers));
        let Pipeline { ports, meter, settings, .. } = &*self.pipeline;
        let write = || ports.positions.divide(&settings.name, &self.range, &rows, &ledgers);
        until_written(&meter.store_failures, &self.stop, write).await
    }

    fn entries(&self, ledgers: Vec<(usize, Ledger)>) -> Vec<LedgerEntry> {
        let entry = |(sink, ledger): (usize, Ledger)| {
            let sink = self.pipeline.sinks[sink].delivery.sink.name().to_owned();
            LedgerEntry { sink, range: self.range.clone(), ledger }
        };
        ledgers.into_iter().map(entry).collect()
    }
}

fn rows(pipeline: &Pipeline, positions: Vec<(usize, Position)>) -> Vec<StoredPosition> {
    let row = |(sink, position): (usize, Position)| {
        let sink = pipeline.sinks[sink].delivery.sink.name().to_owned();
        StoredPosition { sink, position }
    };
    positions.into_iter().map(row).collect()
}

/// Where the sinks of a pipeline start.
pub(in crate::source) struct Planned {
    /// For each feed range, a position for each sink.
    pub(in crate::source) ranges: Vec<Vec<Position>>,
    /// Where a position without an `ETag` begins.
    pub(in crate::source) start: Start,
    /// By sink, the moment of which its positions have everything, in seconds since the epoch.
    pub(in crate::source) current_at: Vec<i64>,
}

/// Plans and stores where the sinks of a pipeline start. The ranges are those that are stored, or at the
/// first start those of the service.
pub(in crate::source) async fn plan(pipeline: &Pipeline) -> Result<Planned, PlanError> {
    let Pipeline { ports, settings, .. } = pipeline;
    let source = ports.feeds.identity();
    let StoredPipeline { positions: stored, first_start, is_new, current_at } =
        ports.positions.open(&settings.name, &source).await?;
    let start = start_of_unread(&settings.start, source.mode, first_start);
    let joining = Joining::of(&settings.start, source.mode);
    let names = pipeline.sink_names();
    let ranges = if stored.is_empty() {
        let start =
            |range: FeedRange| names.iter().map(|_| Position::of(range.clone(), None)).collect();
        ports.feeds.ranges().await?.into_iter().map(start).collect()
    } else {
        range_plan::ranges(&names, &stored, joining).map_err(PlanError::Cover)?
    };
    let ranges = match (&settings.start, source.mode) {
        (Start::Now, _) if is_new || start == Start::Now => begin_now(pipeline, ranges).await?,
        (Start::Beginning, Mode::AllVersionsAndDeletes) => begin_copy(pipeline, ranges).await?,
        _ => ranges,
    };
    if let Some(gap) = range_plan::gap(&ranges) {
        return Err(PlanError::Cover(gap));
    }
    for name in names.iter().filter(|name| !stored.iter().any(|s| s.sink == **name)) {
        if !stored.is_empty() {
            info!(pipeline = settings.name, sink = name, start = ?settings.start, "a new sink");
        }
    }
    if ranges.iter().flatten().any(|position| position.stream_from.is_some()) {
        info!(pipeline = settings.name, "copying what exists, and then every change since");
    }
    // One row for each range and sink: rows of other divisions would be read again later.
    let planned = ranges.iter().flatten().zip(names.iter().cycle());
    let planned: Vec<_> = planned
        .map(|(position, sink)| StoredPosition {
            sink: (*sink).to_owned(),
            position: position.clone(),
        })
        .collect();
    let known = stored.iter().filter(|row| names.contains(&row.sink.as_str())).count();
    if known != planned.len() || !planned.iter().all(|row| stored.contains(row)) {
        match ports.positions.plan(&settings.name, &stored, &planned).await? {
            PositionWrite::Stored => {}
            PositionWrite::Lost(conflict) => return Err(conflict.into()),
        }
    }
    let current_at = history::opened_at(&names, &current_at, jiff::Timestamp::now().as_second());
    Ok(Planned { ranges, start, current_at })
}

/// Fills in where the ranges that no sink has read stand now.
async fn begin_now(
    pipeline: &Pipeline,
    ranges: Vec<Vec<Position>>,
) -> Result<Vec<Vec<Position>>, CosmosError> {
    let sinks = pipeline.sinks.len();
    let (read, now) = ask_unread(pipeline, ranges).await?;
    Ok(in_order(read, now.into_iter().map(|position| vec![position; sinks])))
}

/// Fills in, for sinks that have not read a range, after which place they read its changes. They read what
/// exists before that.
async fn begin_copy(
    pipeline: &Pipeline,
    ranges: Vec<Vec<Position>>,
) -> Result<Vec<Vec<Position>>, CosmosError> {
    let sinks = pipeline.sinks.len();
    let (mut read, now) = ask_unread(pipeline, ranges).await?;
    for positions in &mut read {
        range_plan::copy_what_exists(positions);
    }
    let copied = |Position { range, etag, .. }| {
        vec![Position { range, etag: None, stream_from: etag }; sinks]
    };
    Ok(in_order(read, now.into_iter().map(copied)))
}

/// The ranges that a sink has read, and where the others stand now.
async fn ask_unread(
    pipeline: &Pipeline,
    ranges: Vec<Vec<Position>>,
) -> Result<(Vec<Vec<Position>>, Vec<Position>), CosmosError> {
    let is_unread =
        |positions: &Vec<Position>| positions.iter().all(|p| p.changes_after().is_none());
    let (unread, read): (Vec<_>, Vec<_>) = ranges.into_iter().partition(is_unread);
    let unread = unread.into_iter().map(|positions| positions[0].range.clone()).collect();
    Ok((read, first_positions(pipeline, unread).await?))
}

fn in_order(
    mut ranges: Vec<Vec<Position>>,
    others: impl Iterator<Item = Vec<Position>>,
) -> Vec<Vec<Position>> {
    ranges.extend(others);
    ranges.sort_by(|a, b| a[0].range.min.cmp(&b[0].range.min));
    ranges
}
