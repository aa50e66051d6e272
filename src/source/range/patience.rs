//! How long reading waits for a sink that is slower than the others. Values in, values out.
//!
//! A page that a sink has no room for can wait, which delays the other sinks, or the sink goes on alone,
//! and what is left of the feed is read once more for it. A page waits while these hold:
//!
//! - There is a backlog ([`super::backlog`]), which would be read again.
//! - The sink accepts changes: it made progress a short time ago.
//! - There is patience left. It is used up only while another sink has nothing to do, and comes back
//!   three times as fast. So the others are slowed down to a quarter of their speed at most, and a sink
//!   that is still slower goes on alone.

use std::time::Duration;

use tokio::time::Instant;

use crate::source::sink_buffer::SinkView;

/// The longest that others have nothing to do because of one sink of a feed range, before its reading
/// has gone on.
const LONGEST: Duration = Duration::from_secs(30);

/// The same where little would be read again: a sink that is about as fast as the others, and a few
/// pages behind at the end of a first copy, does not go on alone.
const SHORTEST: Duration = Duration::from_secs(5);

/// What it is worth not to read one change again. Reading takes about as long where reading and writing
/// share a small budget, or the source is slow.
const PER_CHANGE: Duration = Duration::from_millis(1);

/// Patience that comes back with time in which no other sink waits: the others keep a quarter of their
/// speed.
const COMES_BACK: u32 = 3;

/// A sink without progress for this long accepts nothing; where its writes fail, it takes less time to
/// see that. One that refuses everything, or is unreachable, has made none since it took its first page.
const STILL: Duration = Duration::from_secs(5);
const STILL_AND_FAILING: Duration = Duration::from_millis(500);

/// What may be waited, if a sink that goes on alone has `again` changes of a backlog read again.
pub(super) fn worth(again: u64) -> Duration {
    let changes = u32::try_from(again).unwrap_or(u32::MAX);
    PER_CHANGE.saturating_mul(changes).clamp(SHORTEST, LONGEST)
}

/// Whether a page waits for a sink that has no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Waits,
    /// It would read hardly anything again.
    NotWorth,
    /// It accepts nothing.
    Still,
    /// The others have waited long enough.
    TooSlow,
}

/// The longest time between two looks that says something about a sink. A page that waits is looked at ten
/// times a second, so after a longer time it was this process that stood still, and not the sink.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// What reading knows of one sink's pace. A plain value: nothing happens between two looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    left: Duration,
    looked_at: Instant,
    /// Since the last look, another sink has nothing to do because of this one.
    pub(super) delays: bool,
    /// What the sink has freed so far, in any range, and the time since it freed something or held nothing.
    freed: u64,
    still: Duration,
}

impl Patience {
    pub(super) fn new(view: &SinkView, now: Instant) -> Self {
        let freed = view.buffer.freed;
        Self { left: LONGEST, looked_at: now, delays: false, freed, still: Duration::ZERO }
    }

    /// Counts the time since the last look.
    pub(super) fn look(&mut self, view: &SinkView, now: Instant) {
        let passed = now.saturating_duration_since(self.looked_at).min(LONGEST_LOOK);
        self.looked_at = now;
        self.left = if self.delays {
            self.left.saturating_sub(passed)
        } else {
            self.left.saturating_add(passed.saturating_mul(COMES_BACK)).min(LONGEST)
        };
        self.still = if view.buffer.freed > self.freed || view.buffer.in_use == 0 {
            Duration::ZERO
        } else {
            self.still.saturating_add(passed)
        };
        self.freed = view.buffer.freed;
    }

    /// Decides for a page for which at most `worth` may be waited.
    pub(super) fn judge(&mut self, worth: Duration, is_failing: bool) -> Verdict {
        if worth.is_zero() {
            return Verdict::NotWorth;
        }
        if self.still >= if is_failing { STILL_AND_FAILING } else { STILL } {
            return Verdict::Still;
        }
        self.left = self.left.min(worth);
        if self.left.is_zero() { Verdict::TooSlow } else { Verdict::Waits }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cosmos_bridge_sink::{Grouping, Limits};
    use tokio::time::Instant;

    use super::{LONGEST, Patience, SHORTEST, STILL, STILL_AND_FAILING, Verdict, worth};
    use crate::source::sink_buffer::{BufferView, SinkView};

    const SECOND: Duration = Duration::from_secs(1);
    const TICK: Duration = Duration::from_millis(100);

    fn view(in_use: usize, freed: u64) -> SinkView {
        let limits = Limits { grouping: Grouping::Any, changes: 1, bytes: 1, concurrency: 1 };
        let buffer = BufferView { limit: 100, in_use, freed, reserved: 0 };
        SinkView { limits, buffer, is_failing: false }
    }

    #[test]
    fn waiting_is_worth_a_second_for_a_thousand_changes() {
        let cases = [
            (0, SHORTEST),
            (100, SHORTEST),
            (12_000, 12 * SECOND),
            (1_000_000, LONGEST),
            (u64::MAX, LONGEST),
        ];
        for (again, is_worth) in cases {
            assert_eq!(worth(again), is_worth, "{again}");
        }
    }

    /// How long a page waits for a sink that frees something every `step`, while another has nothing to
    /// do for `idle` of ten ticks.
    fn waits(step: Duration, idle: u32, is_failing: bool, worth: Duration) -> (Duration, Verdict) {
        let start = Instant::now();
        let mut patience = Patience::new(&view(1, 0), start);
        for tick in 0..1000 {
            let passed = TICK * tick;
            let freed = passed.as_millis() / step.as_millis();
            patience.look(&view(1, u64::try_from(freed).unwrap()), start + passed);
            let verdict = patience.judge(worth, is_failing);
            if verdict != Verdict::Waits {
                return (passed, verdict);
            }
            patience.delays = tick % 10 < idle;
        }
        (TICK * 1000, Verdict::Waits)
    }

    #[test]
    fn a_page_waits_for_a_sink_that_is_a_little_slower_and_not_long_for_others() {
        use Verdict::{NotWorth, Still, TooSlow, Waits};
        let never = 1000 * SECOND;
        let long = TICK * 1000;
        let cases = [
            // The time between two pieces that the sink frees; tenths of the time in which the others are idle.
            ("twice as slow", TICK, 5, false, LONGEST, (long, Waits)),
            ("three times", TICK, 6, false, LONGEST, (long, Waits)),
            ("four times", TICK, 7, false, LONGEST, (long, Waits)),
            // Of ten ticks nine use up 0.9 s, and one brings back 0.3 s.
            ("ten times", TICK, 9, false, LONGEST, (Duration::from_millis(49_600), TooSlow)),
            ("much slower", TICK, 10, false, LONGEST, (LONGEST, TooSlow)),
            ("much slower, little left", TICK, 10, false, SHORTEST, (SHORTEST, TooSlow)),
            ("no sink is delayed", TICK, 0, false, LONGEST, (long, Waits)),
            ("in large pieces", 4 * SECOND, 5, false, LONGEST, (long, Waits)),
            ("it hangs", never, 10, false, LONGEST, (STILL, Still)),
            ("it hangs, and no sink is delayed", never, 0, false, LONGEST, (STILL, Still)),
            ("it refuses everything", never, 10, true, LONGEST, (STILL_AND_FAILING, Still)),
            ("it refuses some", TICK, 5, true, LONGEST, (long, Waits)),
            ("at the end", TICK, 5, false, Duration::ZERO, (Duration::ZERO, NotWorth)),
        ];
        for (what, step, idle, is_failing, worth, expected) in cases {
            assert_eq!(waits(step, idle, is_failing, worth), expected, "{what}");
        }
    }

    /// A process that was suspended, or starved of CPU, finds its sinks where they were.
    #[test]
    fn a_process_that_stood_still_counts_one_second_of_it() {
        use Verdict::{Still, TooSlow, Waits};
        let cases =
            [(2 * SECOND, false, Waits), (SECOND, false, TooSlow), (2 * SECOND, true, Still)];
        for (worth, is_failing, expected) in cases {
            let start = Instant::now();
            let mut patience = Patience::new(&view(1, 0), start);
            assert_eq!(patience.judge(worth, is_failing), Waits);
            patience.delays = true;
            patience.look(&view(1, 0), start + 3600 * SECOND);
            assert_eq!(patience.judge(worth, is_failing), expected, "{worth:?} {is_failing}");
        }
    }

    /// A sink that had nothing to do for an hour does not seem to hang when it gets something.
    #[test]
    fn a_sink_that_holds_nothing_makes_progress() {
        let start = Instant::now();
        let mut patience = Patience::new(&view(0, 7), start);
        patience.look(&view(0, 7), start + 3600 * SECOND);
        patience.look(&view(90, 7), start + 3601 * SECOND);
        assert_eq!(patience.judge(LONGEST, true), Verdict::Still);
        assert_eq!(patience.judge(LONGEST, false), Verdict::Waits);
        patience.look(&view(90, 8), start + 3602 * SECOND);
        assert_eq!(patience.judge(LONGEST, true), Verdict::Waits);
    }
}
