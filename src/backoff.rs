//! Attempts until success, and the pauses between them. The only module that names the `backoff` crate.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use cosmos_bridge_sink::{Cause, Wait};

use crate::governor::Verdict;

/// Growing pauses with jitter and without a limit of attempts: data is never given up.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// Pauses from about `first` up to about `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self(ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            max_interval: longest,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// For requests to an account: 0.2 s to 30 s. Long enough to spare an account that is down, short enough to
    /// continue soon after it is back.
    pub fn for_requests() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(30))
    }

    /// For feed ranges that are being split or merged, which takes the service seconds.
    fn for_moved_ranges() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(5))
    }

    /// For a service that throttles: it sends how long to wait, mostly a few milliseconds. If it throttles again
    /// and again, the pauses grow.
    fn for_throttling() -> Self {
        Self::new(Duration::from_millis(10), Duration::from_secs(4))
    }

    /// The pause before the next attempt: `retry_after`, or longer if earlier pauses have not helped.
    pub fn next_wait(&mut self, retry_after: Option<Duration>) -> Duration {
        let grown = self.0.next_backoff().unwrap_or(self.0.max_interval);
        // Up to 10 % more, so that not all clients come back at the same moment.
        let asked = retry_after.map(|asked| asked.mul_f64(1.0 + 0.1 * self.jitter()));
        asked.map_or(grown, |asked| asked.max(grown))
    }

    /// A random number from 0 to 1, from the generator that the policy uses.
    fn jitter(&self) -> f64 {
        let mut one = ExponentialBackoff {
            current_interval: Duration::from_secs(1),
            initial_interval: Duration::from_secs(1),
            max_interval: Duration::from_secs(1),
            max_elapsed_time: None,
            ..self.0.clone()
        };
        let wait = one.next_backoff().unwrap_or_default().as_secs_f64();
        (wait - (1.0 - one.randomization_factor)) / (2.0 * one.randomization_factor)
    }
}

/// The attempts of one piece of work that is retried until it succeeds. Each cause has its own sequence of
/// pauses, which grow until the work succeeds.
#[derive(Debug, Default)]
pub struct Attempts {
    throttling: Option<Backoff>,
    moved: Option<Backoff>,
    faults: Option<Backoff>,
}

/// What to do after an attempt that has to be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The result for the governor.
    pub verdict: Verdict,
    /// How long this piece of work waits; the governor delays other requests.
    pub pause: Duration,
}

impl Attempts {
    /// What to do after an attempt that failed with a transient cause.
    pub fn after(&mut self, wait: Wait) -> Repeat {
        let Wait { cause, retry_after } = wait;
        let backoff = match cause {
            Cause::Throttled | Cause::HotKey => {
                self.throttling.get_or_insert_with(Backoff::for_throttling)
            }
            Cause::Moved => self.moved.get_or_insert_with(Backoff::for_moved_ranges),
            Cause::Busy | Cause::Fault => self.faults.get_or_insert_with(Backoff::for_requests),
        };
        let wait = backoff.next_wait(retry_after);
        let (verdict, pause) = match cause {
            Cause::Throttled => (Verdict::Throttled { wait }, Duration::ZERO),
            Cause::Busy => (Verdict::Slowed, wait),
            Cause::HotKey | Cause::Moved | Cause::Fault => (Verdict::Other, wait),
        };
        Repeat { verdict, pause }
    }

    /// True if an attempt failed since the last success.
    pub fn have_failed(&self) -> bool {
        self.throttling.is_some() || self.moved.is_some() || self.faults.is_some()
    }
}

/// Work that is attempted until it is done.
pub trait Attempt: Send {
    type Done;

    fn attempt(&mut self) -> impl Future<Output = Step<Self::Done>> + Send;

    /// Waits before the next attempt. `None` if the work was cancelled meanwhile.
    fn pause(&mut self, pause: Duration) -> impl Future<Output = Option<()>> + Send;
}

/// What follows from one attempt.
#[derive(Debug)]
pub enum Step<T> {
    Done(T),
    /// A part is done: attempt the rest without a pause.
    Continue,
    RepeatAfter(Duration),
    Cancelled,
}

/// Attempts the work until it is done; `None` if it was cancelled first. The only retry loop of what
/// is on a change's path: pages are read, changes written, positions and dead letters stored with it.
pub async fn retry<W: Attempt>(work: &mut W) -> Option<W::Done> {
    loop {
        match work.attempt().await {
            Step::Done(done) => return Some(done),
            Step::Continue => {}
            Step::RepeatAfter(pause) => work.pause(pause).await?,
            Step::Cancelled => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cosmos_bridge_sink::{Cause, Wait};

    use super::{Attempts, Backoff};
    use crate::governor::Verdict;

    #[test]
    fn pauses_grow_to_the_longest_and_never_end() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<_> = (0..1000).map(|_| backoff.next_wait(None)).collect();
        assert!(waits[0] <= Duration::from_millis(150), "{:?}", waits[0]);
        assert!(waits[999] >= Duration::from_millis(500), "{:?}", waits[999]);
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(1500)));
    }

    #[test]
    fn the_pause_that_the_service_asks_for_is_kept_and_grows_only_while_it_throttles() {
        let mut backoff = Backoff::for_throttling();
        let asked = Duration::from_millis(80);
        let first = backoff.next_wait(Some(asked));
        assert!(first >= asked && first <= asked.mul_f64(1.1), "{first:?}");
        let last = (0..100).map(|_| backoff.next_wait(Some(asked))).last();
        assert!(last > Some(Duration::from_secs(1)), "{last:?}");
        let long = Duration::from_mins(1);
        assert!(backoff.next_wait(Some(long)) >= long);
    }

    #[test]
    fn each_cause_delays_the_requests_that_it_concerns() {
        let after = |cause| Attempts::default().after(Wait { cause, retry_after: None });
        let zero = Duration::ZERO;
        for (cause, gates, slows, pauses) in [
            (Cause::Throttled, true, false, false),
            (Cause::HotKey, false, false, true),
            (Cause::Busy, false, true, true),
            (Cause::Moved, false, false, true),
            (Cause::Fault, false, false, true),
        ] {
            let repeat = after(cause);
            assert_eq!(matches!(repeat.verdict, Verdict::Throttled { .. }), gates, "{cause:?}");
            assert_eq!(repeat.verdict == Verdict::Slowed, slows, "{cause:?}");
            assert_eq!(repeat.pause > zero, pauses, "{cause:?}");
        }
    }
}
