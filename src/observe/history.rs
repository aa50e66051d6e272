//! How long the source still has the history that a position needs.
//!
//! The service keeps all versions and deletes for a limited time. A position from which no change can be
//! read any more is lost: the service has no deletes since then. So the bridge reports the time that is left, also
//! while nothing is read, and after a restart from what is stored.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use cosmos_bridge_sink::LogThrottle;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{error, info, warn};

/// What is known of the position of one sink in one feed range. Moments are seconds since the epoch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// When the position with which the range was opened had everything.
    pub(super) opened: i64,
    /// What existed is read first: until that is done, the position of the changes does not move.
    pub(super) is_copying: bool,
    /// When the oldest change that is not safe was committed.
    pub(super) oldest: Option<i64>,
    /// When the last page was committed of which everything is safe, and when the source had nothing newer.
    pub(super) accepted: Option<i64>,
    pub(super) had_all: Option<i64>,
}

/// The last moment of which the position is known to have everything: changes since then are still needed.
pub(super) fn current_at(known: Known) -> i64 {
    let Known { opened, is_copying, oldest, accepted, had_all } = known;
    if is_copying {
        return opened;
    }
    oldest.or(accepted.max(had_all)).map_or(opened, |moment| moment.max(opened))
}

/// How urgent it is that a position moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    None,
    /// At most half of the history is left.
    Half,
    /// At most a quarter is left.
    Quarter,
}

fn urgency(left: Duration, history: Duration) -> Urgency {
    match () {
        () if left * 4 <= history => Urgency::Quarter,
        () if left * 2 <= history => Urgency::Half,
        () => Urgency::None,
    }
}

/// How long the source still has what one sink needs of one feed range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryLeft {
    /// Its place among the sinks of the pipeline.
    pub sink: usize,
    pub range: String,
    /// In seconds since the epoch.
    pub current_at: i64,
    pub left: Duration,
}

impl HistoryLeft {
    pub(super) fn of(
        sink: usize,
        range: &str,
        current_at: i64,
        now: i64,
        history: Duration,
    ) -> Self {
        let age = Duration::from_secs(u64::try_from(now - current_at).unwrap_or(0));
        Self { sink, range: range.to_owned(), current_at, left: history.saturating_sub(age) }
    }
}

/// A time in its two largest units: `6d 23h`.
pub(crate) struct Rough(pub(crate) Duration);

impl Display for Rough {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds}s"),
            (0, 0, minutes) => write!(f, "{minutes}m {}s", seconds % 60),
            (0, hours, minutes) => write!(f, "{hours}h {minutes}m"),
            (days, hours, _) => write!(f, "{days}d {hours}h"),
        }
    }
}

/// Tells, at growing intervals, that the history of one sink comes to its end.
#[derive(Debug, Default)]
pub struct HistoryLog {
    half: Mutex<LogThrottle>,
    quarter: Mutex<LogThrottle>,
}

const HINT: &str = "Repair what keeps the sink from following, or raise the retention of the account's continuous \
     backup: docs/runbook.md, CosmosBridgeHistoryEnding.";

impl HistoryLog {
    /// `least` is the feed range with the least time left.
    pub(crate) fn note(&self, pipeline: &str, sink: &str, least: &HistoryLeft, history: Duration) {
        let now = Instant::now();
        let (left, range) = (Rough(least.left).to_string(), least.range.as_str());
        let (hint, history_text) = (HINT, Rough(history).to_string());
        match urgency(least.left, history) {
            Urgency::None => {
                let was_told = |log: &Mutex<LogThrottle>| {
                    log.lock().end().is_some_and(|episode| episode.is_logged)
                };
                let (half, quarter) = (was_told(&self.half), was_told(&self.quarter));
                if half || quarter {
                    info!(
                        pipeline,
                        sink, left, "more than half of the source's history is left again"
                    );
                }
            }
            Urgency::Half => {
                self.quarter.lock().end();
                if self.half.lock().on_occurrence(now).is_some() {
                    let history = history_text;
                    warn!(
                        pipeline,
                        sink, range, left, history, hint, "half of the source's history is used up"
                    );
                }
            }
            Urgency::Quarter => {
                if self.quarter.lock().on_occurrence(now).is_some() {
                    let history = history_text;
                    error!(
                        pipeline,
                        sink,
                        range,
                        left,
                        history,
                        hint,
                        "the source's history ends soon; then deletes are missed"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::super::lines::Lines;
    use super::{HistoryLeft, HistoryLog, Known, Rough, Urgency, current_at, urgency};

    #[test]
    fn a_position_is_as_old_as_the_oldest_change_that_it_still_needs() {
        let opened = |opened| Known { opened, ..Known::default() };
        for (known, expected) in [
            // Right after a start, what is stored counts.
            (opened(100), 100),
            (Known { accepted: Some(150), ..opened(100) }, 150),
            (Known { had_all: Some(160), ..opened(100) }, 160),
            (Known { accepted: Some(150), had_all: Some(160), ..opened(100) }, 160),
            (Known { accepted: Some(170), had_all: Some(160), ..opened(100) }, 170),
            // What is not safe has to be read again, also if the source had nothing newer before.
            (Known { oldest: Some(155), had_all: Some(160), ..opened(100) }, 155),
            (Known { oldest: Some(90), ..opened(100) }, 100),
            // The documents of a copy are older than the place of the changes, and say nothing of it.
            (Known { is_copying: true, accepted: Some(5), had_all: Some(160), ..opened(100) }, 100),
            (Known { is_copying: true, oldest: Some(170), ..opened(100) }, 100),
        ] {
            assert_eq!(current_at(known), expected, "{known:?}");
        }
    }

    #[test]
    fn the_less_is_left_the_more_urgent_it_is() {
        let day = Duration::from_hours(24);
        for (left, history, expected) in [
            (day * 7, day * 7, Urgency::None),
            (day * 7 / 2 + Duration::from_secs(1), day * 7, Urgency::None),
            (day * 7 / 2, day * 7, Urgency::Half),
            (day * 7 / 4 + Duration::from_secs(1), day * 7, Urgency::Half),
            (day * 7 / 4, day * 7, Urgency::Quarter),
            (Duration::ZERO, day * 7, Urgency::Quarter),
            (day * 7, day * 30, Urgency::Quarter),
        ] {
            assert_eq!(urgency(left, history), expected, "{left:?} of {history:?}");
        }
    }

    #[test]
    fn what_is_left_is_never_negative_and_no_more_than_all() {
        let left =
            |current_at, now| HistoryLeft::of(0, "[,FF)", current_at, now, Duration::from_mins(1));
        for (current_at, now, expected) in
            [(100, 100, 60), (100, 130, 30), (100, 161, 0), (110, 100, 60)]
        {
            assert_eq!(left(current_at, now).left.as_secs(), expected);
        }
    }

    #[test]
    fn times_are_shown_in_two_units() {
        for (seconds, text) in [
            (59, "59s"),
            (61, "1m 1s"),
            (3_600, "1h 0m"),
            (86_399, "23h 59m"),
            (7 * 86_400, "7d 0h"),
            (604_799, "6d 23h"),
        ] {
            assert_eq!(Rough(Duration::from_secs(seconds)).to_string(), text);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_history_is_told_early_at_growing_intervals_and_so_is_its_return() {
        let log = Lines::of(async {
            let log = HistoryLog::default();
            let history = Duration::from_hours(24);
            let note = |left: u64| {
                let left = HistoryLeft::of(0, "[,FF)", 0, 0, Duration::from_secs(left));
                log.note("orders", "archive", &left, history);
            };
            // An hour each.
            for left in [13, 12, 11, 6, 5].map(|hours| hours * 3_600) {
                for minutes in 0..60 {
                    note(left - minutes * 60);
                    advance(Duration::from_mins(1)).await;
                }
            }
            note(23 * 3_600);
            note(24 * 3_600);
        });
        let log = log.await;
        let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
        let (warned, failed) =
            (count("WARN half of the source's"), count("ERROR the source's history ends"));
        assert!((8..=12).contains(&warned) && (8..=12).contains(&failed), "{log}");
        assert_eq!(count("INFO more than half of the source's history is left again"), 1, "{log}");
        let first = log.lines().next().unwrap();
        assert!(first.contains("left=\"12h 0m\" history=\"1d 0h\""), "{first}");
    }
}
