//! How far the sinks of a feed range are, and since when.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What is not caught up is behind by something, however fresh it is.
const LEAST: Duration = Duration::from_millis(1);

/// One feed range: what its reader and its worker know of it.
#[derive(Debug)]
pub struct RangeMeter {
    /// As log lines have it.
    pub range: String,
    /// Log sequence numbers: where this run began, and the newest there is; -1 while unknown.
    pub start_lsn: AtomicI64,
    pub head_lsn: AtomicI64,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Pages that were read and have not come to the sinks yet, but for those that tell that nothing
    /// is newer.
    unheard: usize,
    /// Those of them that came since the sinks were looked at.
    heard: usize,
    /// The last request of the shared reader failed.
    is_failing: bool,
    /// Whoever waits for it was told that all are caught up, and they have been since.
    is_told: bool,
    /// When it was last answered, and when that was last with 304, nothing newer.
    answered: Instant,
    at_head: Option<Instant>,
    /// In the order of the pipeline's sinks.
    sinks: Vec<Kept>,
}

/// How far one sink is, as the worker knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkProgress {
    /// The last page told that nothing is newer, and nothing waits to be written or stored.
    pub has_all: bool,
    pub is_parked: bool,
    /// When the oldest change that is not safe was committed, and the oldest of the last page that
    /// was taken, in seconds since the epoch.
    pub oldest: Option<i64>,
    pub accepted: Option<i64>,
    pub stored_lsn: Option<i64>,
    /// When a position was last stored, and anything last got on.
    pub stored: Option<Instant>,
    pub moved: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    reach: SinkProgress,
    /// When it last had everything.
    had_all: Option<Instant>,
}

/// One sink of one feed range at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// The last answer was that nothing is newer, and nothing is in flight.
    pub is_caught_up: bool,
    pub is_parked: bool,
    /// Zero if it is caught up, and never else.
    pub lag: Duration,
    /// Log sequence numbers between what is stored and what is newest; zero if it is caught up, and
    /// never else. `None` before the first answer.
    pub documents: Option<u64>,
    pub since_stored: Duration,
    pub since_progress: Duration,
}

impl RangeMeter {
    /// Of a pipeline with so many sinks.
    pub fn new(range: impl Into<String>, sinks: usize) -> Self {
        let now = Instant::now();
        let state = State {
            unheard: 0,
            heard: 0,
            is_failing: false,
            is_told: false,
            answered: now,
            at_head: None,
            sinks: vec![Kept::default(); sinks],
        };
        Self {
            range: range.into(),
            start_lsn: AtomicI64::new(-1),
            head_lsn: AtomicI64::new(-1),
            began: now,
            state: Mutex::new(state),
        }
    }

    /// The shared reader was answered, with or without anything.
    pub fn answered(&self, at_head: bool) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.is_failing = false;
        state.answered = now;
        if at_head {
            state.at_head = Some(now);
        } else {
            state.unheard += 1;
        }
    }

    /// The shared reader got an error: nobody knows what is newer until it is answered.
    pub fn refused(&self) {
        let mut state = self.state.lock();
        state.is_failing = true;
        state.is_told = false;
    }

    /// A page of the shared reader came to the sinks. It counts as unheard until they are looked at.
    pub fn heard(&self, at_head: bool) {
        self.state.lock().heard += usize::from(!at_head);
    }

    /// Takes over how far the sinks are, in their order. Returns whether all are caught up and nobody
    /// was told of it: an answer after a failure makes them so before the sinks are looked at.
    pub fn note(&self, reaches: impl Iterator<Item = SinkProgress>) -> bool {
        let mut state = self.state.lock();
        let (at_head, heard) = (state.at_head, std::mem::take(&mut state.heard));
        state.unheard = state.unheard.saturating_sub(heard);
        for (kept, reach) in state.sinks.iter_mut().zip(reaches) {
            let had_all = if reach.has_all { at_head } else { kept.had_all };
            *kept = Kept { reach, had_all };
        }
        let is_caught_up = state.are_caught_up();
        let was_told = std::mem::replace(&mut state.is_told, is_caught_up);
        is_caught_up && !was_told
    }

    /// Every sink is caught up but those that are parked: they never are, and a run until then does
    /// not wait for them.
    pub fn is_caught_up(&self) -> bool {
        self.state.lock().are_caught_up()
    }

    /// Up to which log sequence number everything is stored in every sink; -1 if nowhere.
    pub fn safe_lsn(&self) -> i64 {
        let state = self.state.lock();
        state.sinks.iter().filter_map(|kept| kept.reach.stored_lsn).min().unwrap_or(-1)
    }

    /// Its sinks, in the order of the pipeline; `now` in seconds since the epoch.
    pub fn sights(&self, now: i64) -> Vec<Sight> {
        let moment = Instant::now();
        let (start, head) = (self.start_lsn.load(Relaxed), self.head_lsn.load(Relaxed));
        let state = self.state.lock();
        let sight = |kept @ Kept { reach, had_all }: &Kept| {
            let is_caught_up = state.is_caught_up(reach);
            let since =
                |at: Option<Instant>| moment.saturating_duration_since(at.unwrap_or(self.began));
            let lag = if is_caught_up { Duration::ZERO } else { self.lag(kept, now).max(LEAST) };
            let behind = head - reach.stored_lsn.unwrap_or(start);
            let behind = if is_caught_up { 0 } else { behind.max(1) };
            let progress = if is_caught_up { Some(state.answered) } else { reach.moved };
            Sight {
                is_caught_up,
                is_parked: reach.is_parked,
                lag,
                documents: u64::try_from(behind).ok().filter(|_| head >= 0),
                since_stored: since(reach.stored),
                since_progress: since(progress.max(*had_all)),
            }
        };
        state.sinks.iter().map(sight).collect()
    }

    /// How far a sink is behind that is not caught up.
    fn lag(&self, Kept { reach, had_all }: &Kept, now: i64) -> Duration {
        let age = |at: i64| Duration::from_secs(u64::try_from(now - at).unwrap_or(0));
        if let Some(oldest) = reach.oldest {
            return age(oldest);
        }
        // Nothing that is known of is missing: it is as old as what is known.
        let had_all = had_all.map(|at| at.elapsed());
        let accepted = reach.accepted.map(age);
        had_all.into_iter().chain(accepted).min().unwrap_or_else(|| self.began.elapsed())
    }
}

impl State {
    fn is_caught_up(&self, reach: &SinkProgress) -> bool {
        reach.has_all && self.unheard == 0 && !self.is_failing
    }

    fn are_caught_up(&self) -> bool {
        self.sinks.iter().all(|kept| kept.reach.is_parked || self.is_caught_up(&kept.reach))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{RangeMeter, SinkProgress};

    const NOW: i64 = 1_000_000;
    const SECOND: Duration = Duration::from_secs(1);

    fn meter() -> RangeMeter {
        let meter = RangeMeter::new("[,FF)", 1);
        meter.start_lsn.store(10, Relaxed);
        meter
    }

    fn note(meter: &RangeMeter, reach: SinkProgress) -> bool {
        meter.note([SinkProgress { moved: Some(Instant::now()), ..reach }].into_iter())
    }

    fn all(stored_lsn: i64) -> SinkProgress {
        SinkProgress { has_all: true, stored_lsn: Some(stored_lsn), ..SinkProgress::default() }
    }

    /// Caught up, seconds (rounded up), documents.
    fn seen(meter: &RangeMeter) -> (bool, u64, Option<u64>) {
        let sight = meter.sights(NOW).remove(0);
        assert_eq!(sight.is_caught_up, sight.lag.is_zero());
        assert_eq!(sight.is_caught_up, sight.documents == Some(0));
        let seconds = sight.lag.as_secs() + u64::from(sight.lag.subsec_nanos() > 0);
        (sight.is_caught_up, seconds, sight.documents)
    }

    #[tokio::test(start_paused = true)]
    async fn lag_is_zero_only_after_an_answer_that_nothing_is_newer_with_nothing_in_flight() {
        let meter = meter();
        advance(3 * SECOND).await;
        assert_eq!(seen(&meter), (false, 3, None), "before the first answer");

        meter.head_lsn.store(40, Relaxed);
        meter.answered(false);
        assert_eq!(seen(&meter), (false, 3, Some(30)), "a page is read");
        meter.heard(false);
        let reach = SinkProgress {
            oldest: Some(NOW - 60),
            accepted: Some(NOW - 60),
            ..SinkProgress::default()
        };
        assert!(!note(&meter, reach));
        assert_eq!(seen(&meter), (false, 60, Some(30)), "it is being written");

        let reach = SinkProgress {
            accepted: Some(NOW - 60),
            stored_lsn: Some(40),
            ..SinkProgress::default()
        };
        assert!(!note(&meter, reach));
        // It would be 0 if only what is read and not safe counted.
        assert_eq!(seen(&meter), (false, 60, Some(1)), "it is stored, and more may come");

        meter.answered(true);
        meter.heard(true);
        assert!(note(&meter, all(40)));
        assert_eq!(seen(&meter), (true, 0, Some(0)), "304");
        assert!(!note(&meter, all(40)), "it is told once");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_read_and_not_routed_yet_is_in_flight() {
        let meter = meter();
        meter.head_lsn.store(40, Relaxed);
        meter.answered(true);
        meter.heard(true);
        note(&meter, all(40));
        advance(5 * SECOND).await;
        meter.answered(false);
        // The worker does not know of it yet.
        note(&meter, all(40));
        assert_eq!(seen(&meter), (false, 5, Some(1)));
        meter.heard(false);
        assert!(!seen(&meter).0, "it came, and nobody has looked at the sinks");
        assert!(note(&meter, all(41)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_takes_it_back_until_the_next_answer() {
        let meter = meter();
        meter.head_lsn.store(40, Relaxed);
        meter.answered(true);
        meter.heard(true);
        note(&meter, all(40));
        advance(SECOND).await;
        meter.refused();
        advance(8 * SECOND).await;
        assert_eq!(seen(&meter), (false, 9, Some(1)));
        assert_eq!(meter.sights(NOW)[0].since_progress, 9 * SECOND);
        meter.answered(true);
        meter.heard(true);
        assert!(note(&meter, all(40)), "whoever waits for it hears of it again");
        assert!(!note(&meter, all(40)));
        meter.answered(true);
        assert_eq!(seen(&meter), (true, 0, Some(0)));
        assert_eq!(meter.sights(NOW)[0].since_progress, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_that_is_parked_is_not_waited_for_and_not_caught_up() {
        let meter = RangeMeter::new("[,FF)", 2);
        let parked =
            SinkProgress { is_parked: true, oldest: Some(NOW - 7), ..SinkProgress::default() };
        meter.answered(true);
        assert!(meter.note([all(1), parked].into_iter()));
        let sights = meter.sights(NOW);
        assert!(sights[0].is_caught_up && !sights[1].is_caught_up && sights[1].is_parked);
        assert_eq!(sights[1].lag, 7 * SECOND);
    }
}
