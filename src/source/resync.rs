//! What happens where the source has no history of a position any more: what exists is copied again.
//!
//! The present position of the range is asked first, and stored with the order to copy what exists before it
//! and to sweep the sink ([`super::sweep`]): all in one transaction, so that a crash leaves either the lost
//! position, which is met again, or a copy that goes on where it was.

use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::first_positions::first_positions;
use super::pipeline::Pipeline;
use super::range::PlanError;
use super::range_plan::{self, Joining};
use super::reader::Pace;
use super::state_write::until_written;
use crate::backoff::{Attempt, Backoff, Step, retry};
use crate::config::Start;
use crate::governor::{Kind, Operation, Settlement, Verdict};
use crate::model::{FeedRange, Position, StoredPosition};
use crate::state::PositionWrite;

/// A position is lost if it is refused this often in a row: a proxy refuses once.
const REFUSALS: u32 = 3;
const BETWEEN_REFUSALS: Duration = Duration::from_secs(1);

/// The account may keep no history for a while: how long it is waited before it is asked again.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// Where a range is read again.
pub(super) struct Resynced {
    /// For each part, a position for each sink.
    pub(super) ranges: Vec<Vec<Position>>,
    /// By sink, whether its position was lost.
    pub(super) is_lost: Vec<bool>,
}

/// Stores where a range is read again. `None` when stopped first.
pub(super) async fn resync(
    pipeline: &Pipeline,
    range: &FeedRange,
) -> Result<Option<Resynced>, PlanError> {
    let Pipeline { settings, ports, meter, sinks, .. } = pipeline;
    let source = ports.feeds.identity();
    let Some(present) = present_positions(pipeline, range).await else { return Ok(None) };
    let stored = ports.positions.open(&settings.name, &source).await?.positions;
    let (mut is_lost, mut rows) = (Vec::new(), Vec::new());
    for name in pipeline.sink_names() {
        let found = stored.iter().find(|row| row.sink == name && row.position.range == *range);
        let before =
            found.map_or_else(|| Position::of(range.clone(), None), |row| row.position.clone());
        let Some(lost) = position_is_lost(pipeline, &before).await else { return Ok(None) };
        is_lost.push(lost);
        rows.extend(present.iter().map(|part| StoredPosition {
            sink: name.to_owned(),
            position: again(&before, part, lost),
        }));
    }
    let write = || ports.positions.resync(&settings.name, range, &rows);
    match until_written(&meter.store_failures, &ports.stop, write).await {
        None => return Ok(None),
        Some(PositionWrite::Lost(conflict)) => return Err(conflict.into()),
        Some(PositionWrite::Stored) => {}
    }
    let is_swept = |number| ports.sweeps.iter().any(|swept| swept.sink == number);
    let to_sweep = (0..is_lost.len()).filter(|number| is_lost[*number] && is_swept(*number));
    let to_sweep: Vec<_> = to_sweep.collect();
    for number in &to_sweep {
        sinks[*number].buffer.meter().set_sweep_due(true);
    }
    if !to_sweep.is_empty() {
        // The schedule looks later, and knows how many.
        pipeline.progress.set_sweeps(ports.sweeps.len());
    }
    for (number, _) in is_lost.iter().enumerate().filter(|(_, lost)| **lost) {
        let of_sink = sinks[number].buffer.meter();
        of_sink.resyncs.inc();
        let deletes = if is_swept(number) { "found by a sweep" } else { "not told to this sink" };
        let (pipeline, sink) = (&settings.name, &of_sink.sink);
        warn!(
            pipeline,
            sink,
            %range,
            deletes,
            "the source has lost the history of the position; copying what exists again, and then every change"
        );
    }
    let names = pipeline.sink_names();
    let joining = Joining::of(&settings.start, source.mode);
    let ranges = range_plan::ranges(&names, &rows, joining).map_err(PlanError::Cover)?;
    Ok(Some(Resynced { ranges, is_lost }))
}

/// Where a sink goes on in a part of a range: from the start of a new copy, or from its position.
fn again(before: &Position, part: &Position, is_lost: bool) -> Position {
    let range = part.range.clone();
    if is_lost {
        return Position { range, etag: None, stream_from: part.etag.clone() };
    }
    before.within(range)
}

/// Asks where the range stands, for as long as the account keeps no history. `None` when stopped.
async fn present_positions(pipeline: &Pipeline, range: &FeedRange) -> Option<Vec<Position>> {
    let stop = &pipeline.ports.stop;
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        match first_positions(pipeline, vec![range.clone()]).await {
            Ok(found) if found.iter().all(|position| position.etag.is_some()) => {
                return Some(found);
            }
            Ok(_) => {}
            Err(fault) => pipeline.meter.read_failures.failed(&fault.message()),
        }
        stop.run_until_cancelled(sleep(backoff.next_wait(None))).await?;
    }
}

/// Whether the service refuses the position of a sink in all versions and deletes. `None` when stopped.
async fn position_is_lost(pipeline: &Pipeline, stored: &Position) -> Option<bool> {
    let Some(etag) = stored.changes_after() else { return Some(false) };
    let asked = Position::of(stored.range.clone(), Some(etag.to_owned()));
    let pace = Pace::new(pipeline.ports.feeds.page_size());
    retry(&mut Question { pipeline, asked, pace, refusals: 0 }).await
}

struct Question<'p> {
    pipeline: &'p Pipeline,
    asked: Position,
    pace: Pace,
    refusals: u32,
}

impl Attempt for Question<'_> {
    type Done = bool;

    async fn attempt(&mut self) -> Step<bool> {
        let stop = self.pipeline.ports.stop.clone();
        stop.run_until_cancelled(self.ask()).await.unwrap_or(Step::Cancelled)
    }

    async fn pause(&mut self, pause: Duration) -> Option<()> {
        self.pipeline.ports.stop.run_until_cancelled(sleep(pause)).await
    }
}

impl Question<'_> {
    async fn ask(&mut self) -> Step<bool> {
        let Self { pipeline, asked, pace, refusals } = self;
        let ports = &pipeline.ports;
        let operations = vec![Operation { kind: Kind::Page, bytes: 0 }];
        let admission = ports.governor.admit(ports.feeds.partition(&asked.range), operations).await;
        let mut feed = ports.feeds.feed(asked.clone(), Start::Now);
        let settled =
            |charge, throttled, verdict| Settlement { charge, documents: 0, throttled, verdict };
        match feed.next_page(std::num::NonZeroU32::MIN).await {
            Ok(page) => {
                pace.recovered(pipeline);
                admission.settle(settled(page.charge, 0, Verdict::Done));
                pipeline.meter.count_request(page.charge);
                Step::Done(false)
            }
            Err(fault) => {
                let (charge, throttled) =
                    (fault.answer.charge, u32::from(fault.answer.status == 429));
                let is_refused = fault.is_lost_position();
                let repeat = pace.after(pipeline, fault);
                let verdict = repeat.as_ref().map_or(Verdict::Other, |repeat| repeat.verdict);
                admission.settle(settled(charge, throttled, verdict));
                match repeat {
                    Ok(repeat) => Step::RepeatAfter(repeat.pause),
                    Err(_) if is_refused => {
                        *refusals += 1;
                        if *refusals >= REFUSALS {
                            return Step::Done(true);
                        }
                        Step::RepeatAfter(BETWEEN_REFUSALS)
                    }
                    // The reader meets it again, and parks.
                    Err(_) => Step::Done(false),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::again;
    use crate::model::{FeedRange, Position};

    #[test]
    fn only_a_lost_position_begins_with_what_exists() {
        let part =
            Position::of(FeedRange { min: "3F".into(), max: "7F".into() }, Some("90".into()));
        let before = Position::of(FeedRange::whole(), Some("7".into()));
        let copying = Position { stream_from: Some("8".into()), ..before.clone() };
        for (before, is_lost, etag, stream_from) in [
            (&before, true, None, Some("90")),
            (&copying, true, None, Some("90")),
            (&before, false, Some("7"), None),
            (&copying, false, Some("7"), Some("8")),
        ] {
            let found = again(before, &part, is_lost);
            assert_eq!(found.range, part.range);
            assert_eq!((found.etag.as_deref(), found.stream_from.as_deref()), (etag, stream_from));
        }
    }
}
