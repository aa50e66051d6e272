//! Detects when a partition responds more slowly than it can.
//!
//! The load of other clients shows in two ways: requests are throttled, or they take longer. The second sign is
//! weaker, because the network or this machine can be slow as well. So the bar is high: for half a second, the
//! mean of one second has to be four times the usual latency for such a charge, and 20 ms above it. Nothing is
//! measured around a moment at which a timer of this process fired late. A slow network still looks like a busy
//! service; a good neighbour yields once too often rather than once too rarely. If a service has become slower
//! permanently, that becomes the usual latency within minutes.

use std::collections::HashMap;
use std::time::Duration;

/// The mean latency has to be above the usual one by this factor and by this many seconds.
const FACTOR: f64 = 4.0;
const EXCESS: f64 = 0.020;

/// How long the latency has to stay that high.
const DURATION: Duration = Duration::from_millis(500);

/// The least number of responses per second for a decision, and of one class for its usual latency.
const MIN_RESPONSES: f64 = 10.0;

/// The usual latency rises by this share per second: it doubles in 70 s.
const DRIFT: f64 = 0.01;

/// The weight of a new response in the mean of its class.
const WEIGHT: f64 = 0.1;

/// How long nothing is measured after a timer of this process fired late.
const PAUSE_AFTER_LATE: Duration = Duration::from_secs(1);

/// The latency of one partition in seconds. Points in time are durations since a common start.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// By the binary logarithm of the charge: a large batch takes longer than a small document.
    usual: HashMap<u32, Usual>,
    recent: Recent,
    /// Since when responses are slow.
    slow_since: Option<Duration>,
    ignored_until: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Usual {
    mean: f64,
    low: f64,
    responses: f64,
    at: Duration,
}

impl Latency {
    /// Books a response to a request of this charge. Returns true if responses have been slow long enough that
    /// other clients must be the reason; then the measurement starts again.
    pub(super) fn is_slow(&mut self, now: Duration, latency: Duration, charge: f64) -> bool {
        if now < self.ignored_until {
            return false;
        }
        let latency = latency.as_secs_f64().max(0.001);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 2^20")]
        let class = charge.max(1.0).log2() as u32;
        let Some(low) = self.usual(now, latency, class) else { return false };
        self.recent.add(now, latency / low, latency - low);
        if !self.recent.is_slow() {
            self.slow_since = None;
            return false;
        }
        let is_lasting = now.saturating_sub(*self.slow_since.get_or_insert(now)) >= DURATION;
        if is_lasting {
            self.reset();
        }
        is_lasting
    }

    /// A timer of this process fired late: latencies measured around now say nothing about the service.
    pub(super) fn on_late_timer(&mut self, now: Duration) {
        self.ignored_until = now + PAUSE_AFTER_LATE;
        self.reset();
    }

    fn reset(&mut self) {
        self.recent = Recent::default();
        self.slow_since = None;
    }

    /// The usual latency of a class; `None` until there are enough responses.
    fn usual(&mut self, now: Duration, latency: f64, class: u32) -> Option<f64> {
        let first = Usual { mean: latency, low: latency, responses: 0.0, at: now };
        let usual = self.usual.entry(class).or_insert(first);
        usual.responses += 1.0;
        usual.mean += (latency - usual.mean) * WEIGHT.max(1.0 / usual.responses);
        let passed = now.saturating_sub(usual.at).as_secs_f64();
        usual.at = usual.at.max(now);
        if usual.responses <= MIN_RESPONSES {
            usual.low = usual.mean;
            return None;
        }
        usual.low = (usual.low * (1.0 + DRIFT * passed)).min(usual.mean);
        Some(usual.low)
    }
}

/// Responses of the last second; older ones weigh less.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    responses: f64,
    factor: f64,
    excess: f64,
    at: Duration,
}

impl Recent {
    fn add(&mut self, now: Duration, factor: f64, excess: f64) {
        let decay = (-now.saturating_sub(self.at).as_secs_f64()).exp();
        self.responses = self.responses * decay + 1.0;
        self.factor = self.factor * decay + factor;
        self.excess = self.excess * decay + excess;
        self.at = self.at.max(now);
    }

    fn is_slow(&self) -> bool {
        let Self { responses, factor, excess, .. } = *self;
        responses >= MIN_RESPONSES && factor > FACTOR * responses && excess > EXCESS * responses
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Latency;

    /// A response every 10 ms: for 10 s with the usual latency, then slow ones for `lasts` ms. Returns the
    /// milliseconds from the first slow one to its detection.
    fn detected_after(usual: u64, slow: u64, lasts: u64, charge: f64) -> Option<u64> {
        let mut latency = Latency::default();
        let ms = Duration::from_millis;
        let at = |n: u64| ms(10 * n);
        assert!((0..1000).all(|n| !latency.is_slow(at(n), ms(usual), 10.0)));
        let slow_ones =
            (1000..1000 + lasts / 10).find(|n| latency.is_slow(at(*n), ms(slow), charge));
        let rest = 1000 + lasts / 10..2000;
        let after = || rest.clone().find(|n| latency.is_slow(at(*n), ms(usual), 10.0));
        slow_ones.or_else(after).map(|n| 10 * n - 10_000)
    }

    #[test]
    fn only_responses_that_are_much_slower_for_a_while_are_detected() {
        for (usual, slow, lasts, charge, expected) in [
            (5, 5, 9_000, 10.0, None),
            // Three times the usual latency, or only a few milliseconds more.
            (10, 30, 9_000, 10.0, None),
            (3, 18, 9_000, 10.0, None),
            // One stall of 100 ms that all requests in flight wait for.
            (5, 100, 100, 10.0, None),
            // Another kind of request.
            (5, 100, 9_000, 1000.0, None),
            (5, 30, 9_000, 10.0, Some(1_000..3_000)),
            (5, 100, 9_000, 10.0, Some(500..1_000)),
            (5, 1000, 9_000, 10.0, Some(500..600)),
        ] {
            let found = detected_after(usual, slow, lasts, charge);
            let case = format!("{usual} to {slow} ms for {lasts} ms: {found:?}");
            match expected {
                None => assert_eq!(found, None, "{case}"),
                Some(range) => assert!(found.is_some_and(|at| range.contains(&at)), "{case}"),
            }
        }
    }

    #[test]
    fn nothing_is_detected_around_a_late_timer() {
        let mut latency = Latency::default();
        let ms = Duration::from_millis;
        for n in 0..2000 {
            let now = ms(10 * n);
            let duration = if n < 1000 { ms(5) } else { ms(300) };
            if n >= 1000 && n % 100 == 0 {
                latency.on_late_timer(now);
            }
            assert!(!latency.is_slow(now, duration, 10.0), "{n}");
        }
    }

    #[test]
    fn a_lasting_slowness_becomes_usual() {
        let mut latency = Latency::default();
        let ms = Duration::from_millis;
        let detected: Vec<u64> = (0..40_000)
            .filter(|n| latency.is_slow(ms(10 * n), if *n < 1000 { ms(5) } else { ms(40) }, 10.0))
            .map(|n| n / 100)
            .collect();
        assert!(detected.last().is_some_and(|last| (70..95).contains(last)), "{detected:?}");
    }
}
