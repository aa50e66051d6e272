//! Tells when a partition answers more slowly than it can.
//!
//! Others' load shows in two ways: requests are refused, or they take longer. The second is a weaker
//! sign, because a network or this machine can be slow as well. So it takes a lot, for a while: the
//! mean of a second, four times what is usual for such a charge and 20 ms more, for half a second.
//! And nothing is judged around a moment at which this process itself was late. What is left is a
//! choice: a slow network looks like a busy service, and a good neighbour rather yields once too
//! often. Where a service has become slower for good, it becomes usual within minutes.

use std::collections::HashMap;
use std::time::Duration;

/// How much longer than usual answers take on average when others need the partition.
const TIMES: f64 = 4.0;
const MORE: f64 = 0.020;

/// For how long that has to last.
const LASTS: Duration = Duration::from_millis(500);

/// Fewer answers in a second tell nothing, nor do so few of one class what is usual.
const ANSWERS: f64 = 10.0;

/// What is usual rises by this share each second: twice as much after 70 s.
const FORGETS: f64 = 0.01;

/// The weight of one more answer in the mean of its class.
const WEIGHT: f64 = 0.1;

/// After this process was late, nothing is judged for so long.
const AFTER_LATE: Duration = Duration::from_secs(1);

/// How long one partition takes to answer. Seconds, as the points in time since the same start.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// By the magnitude of the charge: a large batch takes longer than a small document.
    usual: HashMap<u32, Usual>,
    recent: Recent,
    /// Since when answers are slow.
    slow_since: Option<Duration>,
    judges_from: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Usual {
    mean: f64,
    low: f64,
    answers: f64,
    at: Duration,
}

impl Latency {
    /// Books an answer to a request of this charge. Says whether answers have been slow for so long
    /// that others must be the reason; then it begins anew.
    pub(super) fn answered(&mut self, now: Duration, took: Duration, charge: f64) -> bool {
        if now < self.judges_from {
            return false;
        }
        let took = took.as_secs_f64().max(0.001);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 2^20")]
        let class = charge.max(1.0).log2() as u32;
        let Some(low) = self.usual(now, took, class) else { return false };
        self.recent.add(now, took / low, took - low);
        if !self.recent.is_slow() {
            self.slow_since = None;
            return false;
        }
        let lasts = now.saturating_sub(*self.slow_since.get_or_insert(now)) >= LASTS;
        if lasts {
            self.forget();
        }
        lasts
    }

    /// This process was late: what it measures around now is its own trouble.
    pub(super) fn was_late(&mut self, now: Duration) {
        self.judges_from = now + AFTER_LATE;
        self.forget();
    }

    fn forget(&mut self) {
        self.recent = Recent::default();
        self.slow_since = None;
    }

    /// What answers of a class take when nothing slows them; `None` until there were some.
    fn usual(&mut self, now: Duration, took: f64, class: u32) -> Option<f64> {
        let first = Usual { mean: took, low: took, answers: 0.0, at: now };
        let usual = self.usual.entry(class).or_insert(first);
        usual.answers += 1.0;
        usual.mean += (took - usual.mean) * WEIGHT.max(1.0 / usual.answers);
        let passed = now.saturating_sub(usual.at).as_secs_f64();
        usual.at = usual.at.max(now);
        if usual.answers <= ANSWERS {
            usual.low = usual.mean;
            return None;
        }
        usual.low = (usual.low * (1.0 + FORGETS * passed)).min(usual.mean);
        Some(usual.low)
    }
}

/// Answers of the last second, each weighing less the older it is.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    answers: f64,
    times: f64,
    more: f64,
    at: Duration,
}

impl Recent {
    fn add(&mut self, now: Duration, times: f64, more: f64) {
        let keeps = (-now.saturating_sub(self.at).as_secs_f64()).exp();
        self.answers = self.answers * keeps + 1.0;
        self.times = self.times * keeps + times;
        self.more = self.more * keeps + more;
        self.at = self.at.max(now);
    }

    fn is_slow(&self) -> bool {
        let Self { answers, times, more, .. } = *self;
        answers >= ANSWERS && times > TIMES * answers && more > MORE * answers
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Latency;

    /// Answers come every 10 ms: for 10 s at the usual time, then slow ones for so long. Milliseconds
    /// since the first slow one until it was told, if it was.
    fn told(usual: u64, slow: u64, lasts: u64, charge: f64) -> Option<u64> {
        let mut latency = Latency::default();
        let ms = Duration::from_millis;
        let at = |n: u64| ms(10 * n);
        assert!((0..1000).all(|n| !latency.answered(at(n), ms(usual), 10.0)));
        let slow_ones =
            (1000..1000 + lasts / 10).find(|n| latency.answered(at(*n), ms(slow), charge));
        let rest = 1000 + lasts / 10..2000;
        let after = || rest.clone().find(|n| latency.answered(at(*n), ms(usual), 10.0));
        slow_ones.or_else(after).map(|n| 10 * n - 10_000)
    }

    #[test]
    fn only_what_is_slow_by_far_and_for_a_while_is_told() {
        for (usual, slow, lasts, charge, expected) in [
            (5, 5, 9_000, 10.0, None),
            // Three times as long, or only some milliseconds more.
            (10, 30, 9_000, 10.0, None),
            (3, 18, 9_000, 10.0, None),
            // A moment: one stall of 100 ms that all under way have to wait for.
            (5, 100, 100, 10.0, None),
            // Another kind of request.
            (5, 100, 9_000, 1000.0, None),
            (5, 30, 9_000, 10.0, Some(1_000..3_000)),
            (5, 100, 9_000, 10.0, Some(500..1_000)),
            (5, 1000, 9_000, 10.0, Some(500..600)),
        ] {
            let told = told(usual, slow, lasts, charge);
            let case = format!("{usual} to {slow} ms for {lasts} ms: {told:?}");
            match expected {
                None => assert_eq!(told, None, "{case}"),
                Some(range) => assert!(told.is_some_and(|at| range.contains(&at)), "{case}"),
            }
        }
    }

    #[test]
    fn nothing_is_told_around_a_moment_at_which_this_process_was_late() {
        let mut latency = Latency::default();
        let ms = Duration::from_millis;
        for n in 0..2000 {
            let now = ms(10 * n);
            let took = if n < 1000 { ms(5) } else { ms(300) };
            if n >= 1000 && n % 100 == 0 {
                latency.was_late(now);
            }
            assert!(!latency.answered(now, took, 10.0), "{n}");
        }
    }

    #[test]
    fn what_stays_slow_becomes_usual() {
        let mut latency = Latency::default();
        let ms = Duration::from_millis;
        let told: Vec<u64> = (0..40_000)
            .filter(|n| latency.answered(ms(10 * n), if *n < 1000 { ms(5) } else { ms(40) }, 10.0))
            .map(|n| n / 100)
            .collect();
        assert!(told.last().is_some_and(|last| (70..95).contains(last)), "{told:?}");
    }
}
