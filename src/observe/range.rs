//! How far each sink of a feed range is, and since when.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The least lag that is reported while a sink is not caught up.
const MIN_LAG: Duration = Duration::from_millis(1);

/// The state of one feed range, as its reader and its worker report it.
#[derive(Debug)]
pub struct RangeMeter {
    /// The range as log lines show it.
    pub range: String,
    /// Log sequence numbers: where this run started, and the newest in the feed; -1 while unknown.
    pub start_lsn: AtomicI64,
    pub head_lsn: AtomicI64,
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Pages that were read and not seen by [`RangeMeter::note`] yet, without those that say that nothing
    /// is newer.
    unheard: usize,
    /// The pages among them that reached the sinks since the last call of [`RangeMeter::note`].
    heard: usize,
    /// The last request of the shared reader failed.
    is_failing: bool,
    /// [`RangeMeter::note`] has returned true, and every sink has been caught up since.
    is_notified: bool,
    /// The last response to the shared reader, and the last one that was 304, nothing newer.
    last_response: Instant,
    at_head: Option<Instant>,
    /// In the order of the pipeline's sinks.
    sinks: Vec<SinkState>,
}

/// How far one sink is, as the worker reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkProgress {
    /// The last page said that nothing is newer, and no change waits to be written or stored.
    pub has_all: bool,
    pub is_parked: bool,
    /// The commit times of the oldest change that is not safe, and of the oldest change of the last page
    /// that the sink accepted; in seconds since the epoch.
    pub oldest: Option<i64>,
    pub accepted: Option<i64>,
    pub stored_lsn: Option<i64>,
    /// When a position was last stored, and when the sink last made progress.
    pub stored: Option<Instant>,
    pub moved: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
struct SinkState {
    progress: SinkProgress,
    /// When the sink last had every change.
    had_all: Option<Instant>,
}

/// The status of one sink in one feed range at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkStatus {
    /// The last response was that nothing is newer, and nothing is in flight.
    pub is_caught_up: bool,
    pub is_parked: bool,
    /// Zero exactly if the sink is caught up.
    pub lag: Duration,
    /// Log sequence numbers between the stored position and the newest; zero exactly if the sink is caught
    /// up. `None` before the first response.
    pub documents: Option<u64>,
    pub since_stored: Duration,
    pub since_progress: Duration,
}

impl RangeMeter {
    /// A feed range of a pipeline with this number of sinks.
    pub fn new(range: impl Into<String>, sinks: usize) -> Self {
        let now = Instant::now();
        let state = State {
            unheard: 0,
            heard: 0,
            is_failing: false,
            is_notified: false,
            last_response: now,
            at_head: None,
            sinks: vec![SinkState::default(); sinks],
        };
        Self {
            range: range.into(),
            start_lsn: AtomicI64::new(-1),
            head_lsn: AtomicI64::new(-1),
            start: now,
            state: Mutex::new(state),
        }
    }

    /// The shared reader got a response, with or without changes.
    pub fn answered(&self, at_head: bool) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.is_failing = false;
        state.last_response = now;
        if at_head {
            state.at_head = Some(now);
        } else {
            state.unheard += 1;
        }
    }

    /// A request of the shared reader failed. Whether there is anything newer is unknown until the next
    /// response.
    pub fn refused(&self) {
        let mut state = self.state.lock();
        state.is_failing = true;
        state.is_notified = false;
    }

    /// A page of the shared reader reached the sinks. It counts as unheard until the next call of
    /// [`RangeMeter::note`].
    pub fn heard(&self, at_head: bool) {
        self.state.lock().heard += usize::from(!at_head);
    }

    /// Takes over the progress of the sinks, in their order. Returns true if every sink is caught up and
    /// the last call did not return true: a response after a failure makes them caught up before this call.
    pub fn note(&self, sinks: impl Iterator<Item = SinkProgress>) -> bool {
        let mut state = self.state.lock();
        let (at_head, heard) = (state.at_head, std::mem::take(&mut state.heard));
        state.unheard = state.unheard.saturating_sub(heard);
        for (sink, progress) in state.sinks.iter_mut().zip(sinks) {
            let had_all = if progress.has_all { at_head } else { sink.had_all };
            *sink = SinkState { progress, had_all };
        }
        let is_caught_up = state.are_caught_up();
        let was_notified = std::mem::replace(&mut state.is_notified, is_caught_up);
        is_caught_up && !was_notified
    }

    /// True if every sink that is not parked is caught up. A parked sink never is, and a run until caught up
    /// does not wait for it.
    pub fn is_caught_up(&self) -> bool {
        self.state.lock().are_caught_up()
    }

    /// The log sequence number up to which everything is stored in every sink; -1 without a stored position.
    pub fn safe_lsn(&self) -> i64 {
        let state = self.state.lock();
        state.sinks.iter().filter_map(|sink| sink.progress.stored_lsn).min().unwrap_or(-1)
    }

    /// The status of each sink, in the order of the pipeline; `now` in seconds since the epoch.
    pub fn sink_statuses(&self, now: i64) -> Vec<SinkStatus> {
        let moment = Instant::now();
        let (start, head) = (self.start_lsn.load(Relaxed), self.head_lsn.load(Relaxed));
        let state = self.state.lock();
        let status = |sink @ SinkState { progress, had_all }: &SinkState| {
            let is_caught_up = state.is_caught_up(progress);
            let since =
                |at: Option<Instant>| moment.saturating_duration_since(at.unwrap_or(self.start));
            let lag = if is_caught_up { Duration::ZERO } else { self.lag(sink, now).max(MIN_LAG) };
            let behind = head - progress.stored_lsn.unwrap_or(start);
            let behind = if is_caught_up { 0 } else { behind.max(1) };
            let moved = if is_caught_up { Some(state.last_response) } else { progress.moved };
            SinkStatus {
                is_caught_up,
                is_parked: progress.is_parked,
                lag,
                documents: u64::try_from(behind).ok().filter(|_| head >= 0),
                since_stored: since(progress.stored),
                since_progress: since(moved.max(*had_all)),
            }
        };
        state.sinks.iter().map(status).collect()
    }

    /// The lag of a sink that is not caught up.
    fn lag(&self, SinkState { progress, had_all }: &SinkState, now: i64) -> Duration {
        let age = |at: i64| Duration::from_secs(u64::try_from(now - at).unwrap_or(0));
        if let Some(oldest) = progress.oldest {
            return age(oldest);
        }
        // No known change is missing: the lag is the age of what is known.
        let had_all = had_all.map(|at| at.elapsed());
        let accepted = progress.accepted.map(age);
        had_all.into_iter().chain(accepted).min().unwrap_or_else(|| self.start.elapsed())
    }
}

impl State {
    fn is_caught_up(&self, progress: &SinkProgress) -> bool {
        progress.has_all && self.unheard == 0 && !self.is_failing
    }

    fn are_caught_up(&self) -> bool {
        self.sinks.iter().all(|sink| sink.progress.is_parked || self.is_caught_up(&sink.progress))
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

    fn note(meter: &RangeMeter, progress: SinkProgress) -> bool {
        meter.note([SinkProgress { moved: Some(Instant::now()), ..progress }].into_iter())
    }

    fn all(stored_lsn: i64) -> SinkProgress {
        SinkProgress { has_all: true, stored_lsn: Some(stored_lsn), ..SinkProgress::default() }
    }

    /// Caught up, seconds (rounded up), documents.
    fn seen(meter: &RangeMeter) -> (bool, u64, Option<u64>) {
        let status = meter.sink_statuses(NOW).remove(0);
        assert_eq!(status.is_caught_up, status.lag.is_zero());
        assert_eq!(status.is_caught_up, status.documents == Some(0));
        let seconds = status.lag.as_secs() + u64::from(status.lag.subsec_nanos() > 0);
        (status.is_caught_up, seconds, status.documents)
    }

    #[tokio::test(start_paused = true)]
    async fn lag_is_zero_only_after_a_response_that_nothing_is_newer_with_nothing_in_flight() {
        let meter = meter();
        advance(3 * SECOND).await;
        assert_eq!(seen(&meter), (false, 3, None), "before the first response");

        meter.head_lsn.store(40, Relaxed);
        meter.answered(false);
        assert_eq!(seen(&meter), (false, 3, Some(30)), "a page is read");
        meter.heard(false);
        let progress = SinkProgress {
            oldest: Some(NOW - 60),
            accepted: Some(NOW - 60),
            ..SinkProgress::default()
        };
        assert!(!note(&meter, progress));
        assert_eq!(seen(&meter), (false, 60, Some(30)), "it is being written");

        let progress = SinkProgress {
            accepted: Some(NOW - 60),
            stored_lsn: Some(40),
            ..SinkProgress::default()
        };
        assert!(!note(&meter, progress));
        // It would be 0 if only what is read and not safe counted.
        assert_eq!(seen(&meter), (false, 60, Some(1)), "it is stored, and more may come");

        meter.answered(true);
        meter.heard(true);
        assert!(note(&meter, all(40)));
        assert_eq!(seen(&meter), (true, 0, Some(0)), "304");
        assert!(!note(&meter, all(40)), "only the first call returns true");
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_is_read_and_not_routed_yet_is_in_flight() {
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
        assert!(!seen(&meter).0, "it reached the sinks, which have not reported since");
        assert!(note(&meter, all(41)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_ends_caught_up_until_the_next_response() {
        let meter = meter();
        meter.head_lsn.store(40, Relaxed);
        meter.answered(true);
        meter.heard(true);
        note(&meter, all(40));
        advance(SECOND).await;
        meter.refused();
        advance(8 * SECOND).await;
        assert_eq!(seen(&meter), (false, 9, Some(1)));
        assert_eq!(meter.sink_statuses(NOW)[0].since_progress, 9 * SECOND);
        meter.answered(true);
        meter.heard(true);
        assert!(note(&meter, all(40)), "the next call after a failure returns true again");
        assert!(!note(&meter, all(40)));
        meter.answered(true);
        assert_eq!(seen(&meter), (true, 0, Some(0)));
        assert_eq!(meter.sink_statuses(NOW)[0].since_progress, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_sink_is_not_waited_for_and_not_caught_up() {
        let meter = RangeMeter::new("[,FF)", 2);
        let parked =
            SinkProgress { is_parked: true, oldest: Some(NOW - 7), ..SinkProgress::default() };
        meter.answered(true);
        assert!(meter.note([all(1), parked].into_iter()));
        let statuses = meter.sink_statuses(NOW);
        assert!(statuses[0].is_caught_up && !statuses[1].is_caught_up && statuses[1].is_parked);
        assert_eq!(statuses[1].lag, 7 * SECOND);
    }
}
