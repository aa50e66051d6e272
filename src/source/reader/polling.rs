//! How long a reader waits before it asks again for a feed range that had nothing new. A function of values.

use std::num::NonZeroU32;
use std::time::Duration;

/// The first pause, also after a page that was not full: what follows is then read together, for one request.
const SHORTEST: Duration = Duration::from_millis(10);
/// How long polls are frequent after a change.
const RECENT: Duration = Duration::from_secs(10);
/// A pause is then at most this part of the time since the change: the next one is noticed, on average, after an
/// eightieth of the silence before it.
const PART_OF_SILENCE: u32 = 40;
/// How much more than the idle budget those polls may cost.
const MORE_AFTER_A_CHANGE: f64 = 2.0;
/// The part of the container's budget that polls may use at most: the rest is for changes, also those that other
/// pipelines read.
const PART_OF_BUDGET: f64 = 0.5;
/// No idle budget is so small that a feed range is asked less often, unless the interval says so: a schedule may
/// raise the budget, and health counts the time without an answer.
const LONGEST: Duration = Duration::from_mins(1);
/// Bytes of a page of which there may be more, although it has few changes.
const SHORT_PAGE: usize = 64 << 10;
/// The charge of a poll without a change, in request units, as long as none has told.
const USUAL_CHARGE: f64 = 1.0;

/// What limits the polls of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PollLimits {
    /// Longest pause, if the idle budget does not require a longer one.
    pub interval: Duration,
    /// Request units per second that polls without a change may cost, over all feed ranges.
    pub idle_budget: f64,
}

/// The polls of one feed range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Polls {
    /// The time since the last change of any feed range of the pipeline, or since the start.
    pub(super) silence: Duration,
    /// The pause before the last poll, if that found nothing either.
    pub(super) last_pause: Option<Duration>,
    /// The readers of the pipeline, which share the idle budget.
    pub(super) readers: usize,
    /// Request units of the last poll.
    pub(super) charge: f64,
    /// The budget for reading the container, in request units per second.
    pub(super) budget: Option<f64>,
}

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PageSize {
    pub(super) changes: usize,
    pub(super) bytes: usize,
    /// How far the feed goes on, in log sequence numbers, of which some are other feed ranges'; `None` if unknown.
    pub(super) ahead: Option<i64>,
}

impl PollLimits {
    /// The pause after a poll that found nothing: twice the last one, up to what the idle budget and the interval allow.
    pub(super) fn pause(&self, polls: &Polls) -> Duration {
        let last = polls.last_pause.map_or(SHORTEST, |pause| pause.saturating_mul(2));
        last.min(self.longest_pause(polls)).max(SHORTEST)
    }

    fn longest_pause(&self, polls: &Polls) -> Duration {
        let charge = if polls.charge > 0.0 { polls.charge } else { USUAL_CHARGE };
        #[expect(clippy::cast_precision_loss, reason = "no pipeline has 2^52 feed ranges")]
        let round = polls.readers.max(1) as f64 * charge;
        let most = polls.budget.map_or(f64::INFINITY, |budget| budget * PART_OF_BUDGET);
        let affordable = |rate: f64| {
            Duration::try_from_secs_f64(round / rate.min(most)).map_or(LONGEST, |p| p.min(LONGEST))
        };
        let idle = self.interval.max(affordable(self.idle_budget));
        if polls.silence >= RECENT {
            return idle;
        }
        let recent = affordable(self.idle_budget * MORE_AFTER_A_CHANGE);
        recent.max(polls.silence / PART_OF_SILENCE).min(idle)
    }

    /// The pause after a page of changes: none while there may be more.
    pub(super) fn after_page(&self, page: PageSize, asked: NonZeroU32) -> Duration {
        let is_far = page.ahead.is_some_and(|ahead| ahead >= i64::from(asked.get()));
        let is_short =
            page.changes * 2 < asked.get() as usize && page.bytes < SHORT_PAGE && !is_far;
        if is_short { SHORTEST.min(self.interval) } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PollLimits = PollLimits { interval: Duration::from_secs(1), idle_budget: 32.0 };

    fn milliseconds(text: u64) -> Duration {
        Duration::from_millis(text)
    }

    #[test]
    fn polls_are_frequent_after_a_change_and_rare_after_a_silence() {
        // The silence, the last pause and the next one, in milliseconds; and the readers.
        for (silence, last, readers, pause) in [
            (0, None, 4, 10),
            (10, Some(10), 4, 20),
            (30, Some(20), 4, 40),
            // Four polls in 62.5 ms cost 64 RU/s: twice the idle budget.
            (70, Some(40), 4, 62),
            (2_000, Some(62), 4, 62),
            (4_000, Some(62), 4, 100),
            (9_900, Some(240), 4, 247),
            (10_000, Some(240), 4, 480),
            (12_000, Some(960), 4, 1_000),
            // Alone, a range has the whole budget.
            (1_000, Some(16), 1, 25),
            // 128 polls in 2 s cost 64 RU/s, and in 4 s 32 RU/s.
            (0, None, 128, 10),
            (5_000, Some(1_280), 128, 2_000),
            (10_000, Some(2_000), 128, 4_000),
        ] {
            let last_pause = last.map(milliseconds);
            let silence = milliseconds(silence);
            let polls = Polls { silence, last_pause, readers, charge: 1.0, budget: None };
            let expected = milliseconds(pause);
            let found = LIMITS.pause(&polls);
            assert_eq!(milliseconds(found.as_millis().try_into().unwrap()), expected, "{polls:?}");
        }
    }

    #[test]
    fn the_interval_holds_where_the_idle_budget_allows_it() {
        let after_days = |interval, charge| {
            let limits = PollLimits { interval, ..LIMITS };
            let silence = Duration::from_hours(48);
            let last_pause = Some(Duration::from_hours(1));
            limits.pause(&Polls { silence, last_pause, readers: 4, charge, budget: None })
        };
        assert_eq!(after_days(milliseconds(250), 1.0), milliseconds(250));
        assert_eq!(after_days(milliseconds(10), 0.0), milliseconds(125));
        assert_eq!(after_days(milliseconds(100), 2.0), milliseconds(250));
        assert_eq!(after_days(Duration::from_mins(5), 2.0), Duration::from_mins(5));
        assert_eq!(after_days(milliseconds(10), 1e6), LONGEST);
    }

    #[test]
    fn polls_leave_half_of_the_budget_to_changes() {
        for (budget, recent, idle) in [(1e6, 62, 1_000), (40.0, 200, 1_000), (4.0, 2_000, 2_000)] {
            let pause = |silence| {
                let last_pause = Some(Duration::from_secs(2));
                let polls =
                    Polls { silence, last_pause, readers: 4, charge: 1.0, budget: Some(budget) };
                LIMITS.pause(&polls).as_millis()
            };
            assert_eq!((pause(Duration::ZERO), pause(RECENT)), (recent, idle), "{budget}");
        }
    }

    #[test]
    fn what_follows_a_short_page_is_read_together() {
        let asked = NonZeroU32::new(1000).unwrap();
        let after =
            |changes, bytes, ahead| LIMITS.after_page(PageSize { changes, bytes, ahead }, asked);
        assert_eq!(after(3, 3_000, None), milliseconds(10));
        assert_eq!(after(3, 3_000, Some(999)), milliseconds(10));
        assert_eq!(after(3, 3_000, Some(1_000)), Duration::ZERO);
        assert_eq!(after(500, 3_000, Some(0)), Duration::ZERO);
        assert_eq!(after(3, 4 << 20, None), Duration::ZERO);
    }
}
