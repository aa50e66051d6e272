//! Paces metadata requests: reads of containers, databases, offers and partition key ranges.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Requests per second and account. The service has a small, fixed number of request units per
/// account for metadata, which cannot be raised. When they are used up, every client of the
/// account is throttled.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(50).unwrap();

/// Requests that are sent immediately after a pause, so that a start with few containers does not
/// wait.
const BURST: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// Limits the metadata requests of one account to a fixed rate, first come, first served.
pub(super) struct MetadataGate {
    limiter: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
    /// Locked by the next caller; the callers that wait for the lock are the queue.
    turn: Mutex<()>,
}

impl Default for MetadataGate {
    fn default() -> Self {
        Self::new(PER_SECOND, BURST)
    }
}

impl MetadataGate {
    pub(super) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        let clock = TokioClock(Instant::now());
        Self { limiter: RateLimiter::direct_with_clock(quota, clock), turn: Mutex::default() }
    }

    /// Waits until one request may be sent.
    pub(super) async fn ready(&self) {
        let _turn = self.turn.lock().await;
        // Not the limiter's own wait: it does not use tokio's clock.
        while let Err(refused) = self.limiter.check() {
            tokio::time::sleep(refused.wait_time_from(self.limiter.clock().now())).await;
        }
    }

    /// True if one request may be sent now and no caller is waiting; the request is then counted.
    pub(super) fn is_ready(&self) -> bool {
        self.turn.try_lock().is_ok_and(|_turn| self.limiter.check().is_ok())
    }
}

/// Tokio's clock, as the time since its creation.
#[derive(Clone)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::task::JoinSet;
    use tokio::time::Instant;

    use super::{BURST, MetadataGate, PER_SECOND};

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_immediately_and_the_rest_at_the_rate() {
        let gate = Arc::new(MetadataGate::default());
        let start = Instant::now();
        let mut requests = JoinSet::new();
        for _ in 0..BURST.get() + 2 * PER_SECOND.get() {
            let gate = Arc::clone(&gate);
            requests.spawn(async move {
                gate.ready().await;
                start.elapsed()
            });
        }
        let mut passed = requests.join_all().await;
        passed.sort();
        let after = |seconds| {
            let until = Duration::from_secs(seconds);
            u32::try_from(passed.iter().filter(|at| **at <= until).count()).unwrap()
        };
        assert_eq!(after(0), BURST.get());
        // Tokio's timers are a millisecond coarse.
        for (seconds, rate) in [(1, PER_SECOND.get()), (2, 2 * PER_SECOND.get())] {
            let passed = after(seconds) - BURST.get();
            assert!((rate - 3..=rate).contains(&passed), "{passed} after {seconds} s");
        }
        assert!(start.elapsed() < Duration::from_millis(2200), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn no_request_overtakes_the_waiting_ones() {
        let gate = MetadataGate::new(1.try_into().unwrap(), 1.try_into().unwrap());
        assert!(gate.is_ready());
        assert!(!gate.is_ready());
        tokio::time::advance(Duration::from_millis(1001)).await;
        assert!(gate.is_ready());
        {
            let waiting = gate.ready();
            tokio::pin!(waiting);
            assert!(futures::poll!(waiting.as_mut()).is_pending());
            tokio::time::advance(Duration::from_millis(1001)).await;
            assert!(!gate.is_ready());
            waiting.await;
        }
        assert!(!gate.is_ready());
    }
}
