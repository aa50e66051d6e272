//! How many requests may be in flight to one partition: more, as long as answers do not become slower.
//!
//! A service that is far away answers each of many parallel requests as fast as one; a service that has all the
//! requests that it can work on answers more slowly the more there are, and nothing is gained. So the mean
//! latency is measured with few requests in flight (TCP Vegas compares round trips in this way). While answers
//! then take less than twice as long, the number grows; above three times it shrinks. The measurement is repeated
//! from time to time, because the way to a service can change.

use std::collections::HashMap;
use std::time::Duration;

/// This many requests may be in flight however slow answers are, and while the latency is measured.
const FEW: f64 = 16.0;

/// The answers of a class that its usual latency is the mean of.
const MEASURED: u32 = 20;

/// Relative to the usual latency: below `EVEN` the number grows, above `SLOW` it shrinks. A longer answer than
/// `MOST` counts as that, so that a rare one decides nothing.
const EVEN: f64 = 2.0;
const SLOW: f64 = 3.0;
const MOST: f64 = 6.0;

/// The weight of a new answer in the mean.
const WEIGHT: f64 = 0.1;

/// How long a measurement is used. The next one takes a few round trips with fewer requests.
const USED: Duration = Duration::from_secs(30);

/// The latency of one partition, in seconds. Points in time are durations since a common start.
#[derive(Debug)]
pub(super) struct Flow {
    /// By the binary logarithm of the charge: a large batch takes longer than a small document.
    usual: HashMap<u32, Usual>,
    /// The mean latency relative to the usual one.
    mean: f64,
    /// Of requests sent from then on.
    since: Duration,
}

/// The mean latency of some answers.
#[derive(Clone, Copy, Debug, Default)]
struct Usual {
    mean: f64,
    answers: u32,
}

impl Default for Flow {
    fn default() -> Self {
        Self { usual: HashMap::new(), mean: 1.0, since: Duration::ZERO }
    }
}

impl Flow {
    /// Books a complete answer to a request of this charge that was sent at `sent`. Returns how many requests
    /// may be in flight, where `window` were allowed so far and `step` would be added if nothing is against it.
    pub(super) fn window(
        &mut self,
        now: Duration,
        sent: Duration,
        charge: f64,
        (window, step): (f64, f64),
    ) -> f64 {
        // A broker, whose sink limits its writes itself; how large they are is not known here.
        if charge <= 0.0 {
            return window + step;
        }
        let mut window = window;
        if now.saturating_sub(self.since) >= USED {
            *self = Self { since: now, ..Self::default() };
            window = window.min(FEW);
        }
        // It was sent together with more than are allowed now.
        if sent < self.since {
            return window;
        }
        let grown = window + step;
        let latency = now.saturating_sub(sent).as_secs_f64().max(0.001);
        match self.slowness(latency, charge, window) {
            None => grown.min(FEW.max(window)),
            Some(slowness) if window < FEW || slowness < EVEN => grown,
            Some(slowness) if slowness > SLOW => (window - 1.0 / window).max(FEW),
            Some(_) => window,
        }
    }

    /// The mean latency relative to the usual one; `None` while the usual one of such requests is not known.
    /// It is measured only while few requests may be in flight: with many it includes the wait in the service.
    fn slowness(&mut self, latency: f64, charge: f64, window: f64) -> Option<f64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 2^20")]
        let class = charge.max(1.0).log2() as u32;
        let usual = self.usual.entry(class).or_default();
        if usual.answers < MEASURED {
            if window <= FEW {
                usual.answers += 1;
                usual.mean += (latency - usual.mean) / f64::from(usual.answers);
            }
            return None;
        }
        self.mean += WEIGHT * ((latency / usual.mean).min(MOST) - self.mean);
        Some(self.mean)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FEW, Flow, MEASURED, USED};

    const LIMIT: f64 = 128.0;

    /// A service, and what may be in flight to it. `latency` is in milliseconds, by the number in flight.
    struct Run {
        flow: Flow,
        now: Duration,
        window: f64,
    }

    impl Run {
        fn new() -> Self {
            Self { flow: Flow::default(), now: Duration::ZERO, window: 1.0 }
        }

        /// Answers to as many parallel requests as are allowed, in round trips. Returns the least and the most
        /// that were allowed in the second half of the time.
        fn go(&mut self, latency: impl Fn(f64) -> f64, seconds: u64) -> (f64, f64) {
            let half = self.now + Duration::from_millis(seconds * 500);
            let end = self.now + Duration::from_secs(seconds);
            let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
            while self.now < end {
                let in_flight = self.window.floor();
                let sent = self.now;
                self.now += Duration::from_secs_f64(latency(in_flight) / 1000.0);
                let mut answered = 0.0;
                while answered < in_flight {
                    let window = self.flow.window(self.now, sent, 600.0, (self.window, 1.0));
                    self.window = window.min(LIMIT);
                    answered += 1.0;
                }
                if self.now > half {
                    (least, most) = (least.min(self.window), most.max(self.window));
                }
            }
            (least, most)
        }
    }

    #[test]
    fn a_distance_is_filled_and_a_busy_service_is_not_crowded() {
        for (what, latency, (least, most)) in [
            ("far away", (|_| 80.0) as fn(f64) -> f64, (LIMIT, LIMIT)),
            ("near", |_| 1.0, (LIMIT, LIMIT)),
            ("works on four at a time", |n: f64| 5.0 * (n / 4.0).max(1.0), (FEW, 5.0 * FEW)),
            ("works on forty at a time", |n: f64| 5.0 * (n / 40.0).max(1.0), (60.0, LIMIT)),
        ] {
            let (low, high) = Run::new().go(latency, 20);
            assert!(low >= least && high <= most, "{what}: {low} to {high}");
        }
    }

    /// The lowest latency is measured with few requests each time, so it does not creep up with the load.
    #[test]
    fn a_busy_service_is_not_crowded_after_many_measurements_either() {
        let mut run = Run::new();
        for _ in 0..10 {
            let (low, high) = run.go(|n| 5.0 * (n / 4.0).max(1.0), USED.as_secs());
            assert!(low >= FEW && high <= 5.0 * FEW, "{low} to {high}");
        }
    }

    #[test]
    fn a_way_that_has_become_longer_is_measured_again() {
        let mut run = Run::new();
        run.go(|n| 5.0 * (n / 16.0).max(1.0), 10);
        let (_, soon) = run.go(|_| 80.0, 10);
        assert!(soon <= 4.0 * FEW, "{soon}");
        // To the middle of the second measurement.
        let (later, _) = run.go(|_| 80.0, USED.as_secs());
        assert!(later >= LIMIT, "{later}");
    }

    #[test]
    fn large_and_small_requests_are_not_compared_and_a_rare_long_one_decides_nothing() {
        let mut flow = Flow::default();
        let mut window = 1.0;
        for n in 0..2000_u32 {
            let now = Duration::from_secs(1) + Duration::from_millis(u64::from(n));
            let (millis, charge) = if n % 2 == 0 { (50, 600.0) } else { (2, 6.0) };
            let millis = if n % 100 == 50 { 900 } else { millis };
            let sent = now.saturating_sub(Duration::from_millis(millis));
            window = flow.window(now, sent, charge, (window, 1.0));
        }
        assert!(window > 1500.0, "{window}");
    }

    /// Documents become larger while many requests are in flight to a service that works on four at a time.
    #[test]
    fn the_latency_of_new_sizes_is_not_measured_under_load() {
        let mut flow = Flow::default();
        let mut answers = |times: std::ops::Range<u64>, latency: u64, charge, window| {
            times.fold(window, |window, millis| {
                let now = Duration::from_millis(millis);
                let sent = now.saturating_sub(Duration::from_millis(latency));
                flow.window(now, sent, charge, (window, 1.0))
            })
        };
        let many = answers(100..200, 5, 6.0, 1.0);
        assert!(many > 2.0 * FEW, "{many}");
        let window = answers(200..400, 400, 90.0, many);
        assert!(window <= many, "{window}");
        // The next measurement sees few of them in flight, and the same load afterwards is slow.
        let start = 1000 * (1 + USED.as_secs());
        let window = answers(start..start + 100, 50, 90.0, window);
        assert!(window > FEW, "{window}");
        let window = answers(start + 500..start + 10_000, 400, 90.0, window);
        assert!(window <= FEW, "{window}");
    }

    /// Between a half and twice the mean: most answers take much longer than the shortest one.
    #[test]
    fn latencies_that_vary_are_not_taken_for_a_busy_service() {
        let mut flow = Flow::default();
        let mut window = 1.0;
        for n in 0..1000_u32 {
            let now = Duration::from_secs(1) + Duration::from_millis(u64::from(n));
            let millis = 5 + u64::from(n * 7919 % 60);
            let sent = now.saturating_sub(Duration::from_millis(millis));
            window = flow.window(now, sent, 600.0, (window, 1.0));
        }
        assert!(window > f64::from(1000 - 2 * MEASURED), "{window}");
    }

    #[test]
    fn a_broker_is_limited_by_its_sink() {
        let mut flow = Flow::default();
        let mut window = 1.0;
        for millis in 1..=100 {
            let now = Duration::from_millis(100 * millis);
            let sent = now.saturating_sub(Duration::from_millis(millis));
            window = flow.window(now, sent, 0.0, (window, 1.0));
        }
        assert!(window > 100.0, "{window}");
    }
}
