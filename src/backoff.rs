//! Waits between attempts. The only module that names the `backoff` crate.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// Growing waits with jitter, without end: data is never given up.
///
/// A wait that the service asked for is obeyed instead, and does not grow the next one.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// Waits from about `first` up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self(ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            max_interval: longest,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// For requests to an account: 0.2 s to 30 s, long enough that an account that is down is not
    /// hammered, short enough that its return is noticed.
    pub fn for_requests() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(30))
    }

    /// For feed ranges that are being divided or joined, which takes the service seconds.
    pub fn for_moved_ranges() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(5))
    }

    /// How long to wait before the next attempt.
    pub fn next_wait(&mut self, retry_after: Option<Duration>) -> Duration {
        match retry_after {
            // A tenth more at most, so that not everybody comes back at the same moment.
            Some(told) => told.mul_f64(1.0 + 0.1 * self.jitter()),
            None => self.0.next_backoff().unwrap_or(self.0.max_interval),
        }
    }

    /// Begins again at the first wait. Call it after a success.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// A number from 0 to 1, from where the policy gets its own.
    fn jitter(&self) -> f64 {
        let mut one = ExponentialBackoff {
            current_interval: Duration::from_secs(1),
            initial_interval: Duration::from_secs(1),
            max_elapsed_time: None,
            ..self.0.clone()
        };
        let wait = one.next_backoff().unwrap_or_default().as_secs_f64();
        (wait - (1.0 - one.randomization_factor)) / (2.0 * one.randomization_factor)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn waits_grow_to_the_longest_and_never_end() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<_> = (0..1000).map(|_| backoff.next_wait(None)).collect();
        assert!(waits[0] <= Duration::from_millis(150), "{:?}", waits[0]);
        assert!(waits[999] >= Duration::from_millis(500), "{:?}", waits[999]);
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(1500)));
        backoff.reset();
        assert!(backoff.next_wait(None) <= Duration::from_millis(150));
    }

    #[test]
    fn what_the_service_asks_for_is_obeyed_and_does_not_grow() {
        let mut backoff = Backoff::for_requests();
        let told = Duration::from_millis(80);
        for _ in 0..100 {
            let wait = backoff.next_wait(Some(told));
            assert!(wait >= told && wait <= told.mul_f64(1.1), "{wait:?}");
        }
        assert!(backoff.next_wait(None) <= Duration::from_millis(300));
    }
}
