//! How many requests may be in flight to one partition: more, as long as answers do not become slower.
//!
//! A service that is far away answers each of many parallel requests as fast as one; a service that has all the
//! requests that it can work on answers more slowly the more there are, and nothing is gained. So the number
//! grows while the latency stays below twice the lowest one (as TCP Vegas compares a round trip with the shortest
//! one), and shrinks above three times of it. The lowest latency is forgotten and measured again from time to
//! time, because the way to a service can change.

use std::collections::HashMap;
use std::time::Duration;

/// This many requests may be in flight however slow answers are: a budget needs no more, and the latencies of
/// a busy machine say little.
const ALWAYS: f64 = 8.0;

/// Relative to the lowest latency: below the first the number grows, above the second it shrinks.
const EVEN: f64 = 2.0;
const SLOW: f64 = 3.0;

/// The weight of a new answer in the mean.
const WEIGHT: f64 = 0.1;

/// How long the lowest latency is remembered. Measuring it takes a few round trips with fewer requests.
const REMEMBERED: Duration = Duration::from_secs(30);

/// The latency of one partition, in seconds. Points in time are durations since a common start.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// By the binary logarithm of the charge: a large batch takes longer than a small document.
    lowest: HashMap<u32, f64>,
    /// The mean latency relative to the lowest one.
    mean: f64,
    since: Duration,
}

impl Flow {
    /// Books a complete answer to a request of this charge. Returns how many requests may be in flight, where
    /// `window` were allowed so far and `step` would be added if nothing is against it.
    pub(super) fn window(
        &mut self,
        now: Duration,
        latency: Duration,
        charge: f64,
        (window, step): (f64, f64),
    ) -> f64 {
        let mut window = window;
        if now.saturating_sub(self.since) >= REMEMBERED {
            *self = Self { since: now, ..Self::default() };
            window = window.min(ALWAYS);
        }
        let latency = latency.as_secs_f64().max(0.001);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 2^20")]
        let class = charge.max(1.0).log2() as u32;
        let lowest = self.lowest.entry(class).or_insert(latency);
        *lowest = lowest.min(latency);
        self.mean += WEIGHT * (latency / *lowest - self.mean);
        if window < ALWAYS || self.mean < EVEN {
            window + step
        } else if self.mean > SLOW {
            (window - 1.0 / window).max(ALWAYS)
        } else {
            window
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ALWAYS, Flow, REMEMBERED};

    /// Answers to as many parallel requests as are allowed, up to a limit, in round trips. `latency` is in
    /// milliseconds, for the number of requests in flight. Returns the numbers of the last second.
    fn run(latency: impl Fn(f64) -> f64, seconds: u64, flow: &mut Flow, from: u64) -> (f64, f64) {
        let mut now = Duration::from_secs(from);
        let end = now + Duration::from_secs(seconds);
        let mut window: f64 = 1.0;
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        while now < end {
            let in_flight = window.floor().min(128.0);
            let round_trip = Duration::from_secs_f64(latency(in_flight) / 1000.0);
            now += round_trip;
            let mut answered = 0.0;
            while answered < in_flight {
                window = flow.window(now, round_trip, 600.0, (window, 1.0)).min(128.0);
                answered += 1.0;
            }
            if end - now.min(end) < Duration::from_secs(1) {
                (least, most) = (least.min(window), most.max(window));
            }
        }
        (least, most)
    }

    #[test]
    fn a_distance_is_filled_and_a_busy_service_is_not_crowded() {
        for (what, latency, (least, most)) in [
            ("far away", (|_| 80.0) as fn(f64) -> f64, (128.0, 128.0)),
            ("near", |_| 1.0, (128.0, 128.0)),
            ("works on four at a time", |n: f64| 5.0 * (n / 4.0).max(1.0), (ALWAYS, 14.0)),
            ("works on forty at a time", |n: f64| 5.0 * (n / 40.0).max(1.0), (60.0, 128.0)),
        ] {
            let mut flow = Flow::default();
            let (low, high) = run(latency, 20, &mut flow, 0);
            assert!(low >= least && high <= most, "{what}: {low} to {high}");
        }
    }

    #[test]
    fn a_way_that_has_become_longer_is_measured_again() {
        let mut flow = Flow::default();
        run(|_| 5.0, 10, &mut flow, 0);
        let (_, soon) = run(|_| 80.0, 5, &mut flow, 10);
        assert!(soon < 12.0, "{soon}");
        let (later, _) = run(|_| 80.0, 10, &mut flow, 10 + REMEMBERED.as_secs());
        assert!(later >= 128.0, "{later}");
    }

    #[test]
    fn large_and_small_requests_are_not_compared_with_each_other() {
        let mut flow = Flow::default();
        let mut window = 1.0;
        for n in 0..2000_u32 {
            let now = Duration::from_millis(u64::from(n));
            let (millis, charge) = if n % 2 == 0 { (50, 600.0) } else { (2, 6.0) };
            window = flow.window(now, Duration::from_millis(millis), charge, (window, 1.0));
        }
        assert!(window > 1000.0, "{window}");
    }
}
