//! Where the feed ranges of a pipeline stand when it first starts from "now".
//!
//! A range without a position would begin at another "now" with every request that is repeated, and what
//! was written between would be skipped. So every range is asked before the pipeline reports that it
//! reads. In latest-version mode a range that does not answer begins at the stored time of the first
//! start; in all-versions mode the service takes no time, so the range is asked until it answers.

use std::num::NonZeroU32;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::pipeline::Pipeline;
use super::reader::Pace;
use crate::backoff::{Attempt, Step, retry};
use crate::config::Start;
use crate::cosmos::CosmosError;
use crate::governor::{Kind, Operation, Settlement, Verdict};
use crate::model::{FeedRange, Mode, Position};

/// Ranges that are asked at a time: enough to hide the latency, and few for an account.
const AT_ONCE: usize = 16;

/// The service knows commit times in seconds, and so does the state.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Where a range without a position begins: "now" is the time of the first start, if the service takes a
/// time. A second earlier, because a change of that second may be older than the start or newer.
pub(super) fn start_of_unread(start: &Start, mode: Mode, first_start: Timestamp) -> Start {
    match (start, mode) {
        (Start::Now, Mode::LatestVersion) => {
            Start::Time(first_start.checked_sub(SECOND).unwrap_or(first_start))
        }
        (Start::Now, Mode::AllVersionsAndDeletes) | (Start::Beginning | Start::Time(_), _) => {
            start.clone()
        }
    }
}

/// The present positions of the ranges, in order. A range that was divided meanwhile has one for each
/// part; one that could not be asked has a position without an `ETag`.
///
/// # Errors
///
/// The service does not serve the mode.
pub(super) async fn first_positions(
    pipeline: &Pipeline,
    ranges: Vec<FeedRange>,
) -> Result<Vec<Position>, CosmosError> {
    let asked: Vec<_> = ranges.into_iter().map(|range| of_range(pipeline, range)).collect();
    let found = futures::stream::iter(asked).buffered(AT_ONCE);
    let found: Vec<_> = found.try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn of_range(pipeline: &Pipeline, range: FeedRange) -> Result<Vec<Position>, CosmosError> {
    let (mut found, mut open) = (Vec::new(), vec![Position::of(range, None)]);
    while let Some(asked) = open.pop() {
        let pace = Pace::new(pipeline.ports.feeds.page_size());
        let mut question = Question { pipeline, asked: asked.clone(), pace };
        let answer = retry(&mut question).await.transpose()?.flatten().unwrap_or_default();
        // Of a divided range only one part was answered for.
        let (known, unknown): (Vec<_>, Vec<_>) =
            answer.into_iter().partition(|position| position.etag.is_some());
        if known.is_empty() {
            found.push(asked);
        } else {
            found.extend(known);
            open.extend(unknown);
        }
    }
    found.sort_by(|a, b| a.range.min.cmp(&b.range.min));
    Ok(found)
}

/// The request for the present position of a range.
struct Question<'p> {
    pipeline: &'p Pipeline,
    asked: Position,
    pace: Pace,
}

impl Attempt for Question<'_> {
    /// `None` if the range cannot be asked.
    type Done = Result<Option<Vec<Position>>, CosmosError>;

    async fn attempt(&mut self) -> Step<Self::Done> {
        let stop = self.pipeline.ports.stop.clone();
        stop.run_until_cancelled(self.ask()).await.unwrap_or(Step::Cancelled)
    }

    async fn pause(&mut self, pause: Duration) -> Option<()> {
        self.pipeline.ports.stop.run_until_cancelled(sleep(pause)).await
    }
}

impl Question<'_> {
    async fn ask(&mut self) -> Step<<Self as Attempt>::Done> {
        let Self { pipeline, asked, pace } = self;
        let ports = &pipeline.ports;
        let operations = vec![Operation { kind: Kind::Page, bytes: 0 }];
        let admission = ports.governor.admit(ports.feeds.partition(&asked.range), operations).await;
        // A new feed each time: one that has answered would go on from there.
        let mut feed = ports.feeds.feed(asked.clone(), Start::Now);
        let settled = |charge, documents, throttled, verdict| Settlement {
            charge,
            documents,
            throttled,
            verdict,
        };
        match feed.next_page(NonZeroU32::MIN).await {
            Ok(page) => {
                pace.recovered(pipeline);
                admission.settle(settled(page.charge, page.changes.len(), 0, Verdict::Done));
                pipeline.meter.count_request(page.charge);
                if page.changes.is_empty() && page.unreadable.is_empty() {
                    return Step::Done(Ok(Some(page.positions)));
                }
                // Its position would be behind a change that was not delivered.
                Step::RepeatAfter(Duration::ZERO)
            }
            Err(fault) => {
                let (charge, throttled) =
                    (fault.answer.charge, u32::from(fault.answer.status == 429));
                let repeat = pace.after(pipeline, fault);
                let verdict = repeat.as_ref().map_or(Verdict::Other, |repeat| repeat.verdict);
                admission.settle(settled(charge, 0, throttled, verdict));
                match repeat {
                    Ok(repeat) if ports.feeds.identity().mode == Mode::AllVersionsAndDeletes => {
                        Step::RepeatAfter(repeat.pause)
                    }
                    Err(fault) if fault.is_without_history() => Step::Done(Err(fault)),
                    // The reader begins at the stored time, or meets the error again and parks.
                    Ok(_) | Err(_) => Step::Done(Ok(None)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::start_of_unread;
    use crate::config::Start;
    use crate::model::Mode;

    #[test]
    fn now_is_the_time_of_the_first_start_where_the_service_takes_a_time() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let (latest, all) = (Mode::LatestVersion, Mode::AllVersionsAndDeletes);
        let first_start = at("2026-01-31T12:00:00Z");
        let time = Start::Time(at("2025-01-01T00:00:00Z"));
        for (start, mode, expected) in [
            (Start::Now, latest, Start::Time(at("2026-01-31T11:59:59Z"))),
            (Start::Now, all, Start::Now),
            (Start::Beginning, latest, Start::Beginning),
            (time.clone(), latest, time),
        ] {
            assert_eq!(start_of_unread(&start, mode, first_start), expected, "{start:?} {mode:?}");
        }
    }
}
