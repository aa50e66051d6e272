//! A token bucket that may go into debt.

use std::time::Duration;

/// The savings limit while requests wait, in seconds of the rate: the granting task may be scheduled late, and
/// that time is not lost.
const LATE_SECONDS: f64 = 0.1;

/// Added to the time at which a bucket opens, so that it is open then in spite of rounding.
const ROUNDING: Duration = Duration::from_micros(1);

/// Request units at a rate. A request passes while the level is above zero, and may leave it below zero: its
/// charge is known only afterwards, and may be more than the capacity of the bucket.
///
/// Points in time are durations since a common start.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// Request units per second; `None` is unlimited.
    rate: Option<f64>,
    /// The savings limit, in seconds of the rate.
    burst: f64,
    /// A closed bucket stays closed until the level reaches this value, in seconds of the rate.
    pulse: f64,
    is_closed: bool,
    /// Requests wait for this bucket.
    is_wanted: bool,
    keeps_returns: bool,
    level: f64,
    at: Duration,
}

impl Bucket {
    /// `burst` is the burst after a pause, in seconds of the rate.
    pub(super) fn new(rate: Option<f64>, burst: f64) -> Self {
        let (level, at) = (0.0, Duration::ZERO);
        let (is_closed, is_wanted) = (false, false);
        Self { rate, burst, pulse: 0.0, is_closed, is_wanted, keeps_returns: false, level, at }
    }

    /// Units that responses give back above the savings limit are not lost immediately: waiting requests may
    /// use them, but they decay and cannot be saved.
    pub(super) fn keeping_returns(self) -> Self {
        Self { keeps_returns: true, ..self }
    }

    /// Sets the savings limit, and the level at which an empty bucket opens again; both in seconds of the rate.
    pub(super) fn set_shape(&mut self, now: Duration, burst: f64, pulse: f64) {
        self.refill(now);
        self.burst = burst;
        self.pulse = pulse.min(burst);
    }

    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Changes the rate from now on; a debt remains.
    pub(super) fn set_rate(&mut self, now: Duration, rate: Option<f64>) {
        if rate == self.rate {
            return;
        }
        self.refill(now);
        self.rate = rate;
        match rate {
            Some(rate) => self.level = self.level.min(rate * self.burst),
            None => self.level = 0.0,
        }
    }

    /// Sets whether requests wait for this bucket from now on.
    pub(super) fn set_wanted(&mut self, now: Duration, is_wanted: bool) {
        if is_wanted != self.is_wanted {
            self.refill(now);
            self.is_wanted = is_wanted;
        }
    }

    pub(super) fn is_open(&mut self, now: Duration) -> bool {
        self.refill(now);
        self.is_closed = self.level <= self.opening();
        !self.is_closed
    }

    /// Takes the predicted charge of a request, or corrects it by the real one. Returns what was taken: zero
    /// without a limit.
    pub(super) fn take(&mut self, now: Duration, units: f64) -> f64 {
        self.refill(now);
        if self.rate.is_none() {
            return 0.0;
        }
        self.level -= units;
        units
    }

    /// Drops the savings; a debt remains.
    pub(super) fn empty(&mut self, now: Duration) {
        self.refill(now);
        self.level = self.level.min(0.0);
    }

    /// When it opens if nothing more is taken; now if it is open.
    pub(super) fn opens_at(&mut self, now: Duration) -> Duration {
        if self.is_open(now) {
            return now;
        }
        let rate = self.rate.unwrap_or(f64::INFINITY);
        let wait = Duration::try_from_secs_f64((self.opening() - self.level) / rate)
            .unwrap_or(Duration::MAX);
        now.saturating_add(wait).saturating_add(ROUNDING)
    }

    /// The level above which the bucket is open.
    fn opening(&self) -> f64 {
        match self.rate {
            None => f64::NEG_INFINITY,
            // A little less, so that rounding cannot keep the bucket closed for ever.
            Some(rate) if self.is_closed => rate * self.pulse * 0.999,
            Some(_) => 0.0,
        }
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        if let Some(rate) = self.rate {
            let most = if self.is_wanted { self.burst.max(LATE_SECONDS) } else { self.burst };
            let (most, passed) = (rate * most, rate * passed);
            self.level = if self.keeps_returns && self.level > most {
                (self.level - passed).max(most)
            } else {
                (self.level + passed).min(most)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Bucket;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_debt_closes_the_bucket_until_it_is_paid() {
        let mut bucket = Bucket::new(Some(100.0), 0.05);
        assert!(bucket.is_open(at(1.0)));
        bucket.take(at(1.0), 205.0); // 5 were saved
        assert!(!bucket.is_open(at(2.9)));
        let opens = bucket.opens_at(at(2.9));
        assert!(opens > at(2.999) && opens < at(3.001), "{opens:?}");
        assert!(bucket.is_open(opens));
    }

    #[test]
    fn a_new_rate_applies_immediately_and_keeps_no_more_than_its_own_burst() {
        let mut bucket = Bucket::new(Some(40_000.0), 0.05);
        bucket.take(at(1.0), 2000.0 + 10.0);
        bucket.set_rate(at(1.0), Some(10.0));
        assert!(bucket.opens_at(at(1.0)) > at(1.99));
        let mut bucket = Bucket::new(Some(40_000.0), 0.05);
        bucket.set_rate(at(1.0), Some(400.0));
        bucket.take(at(1.0), 20.0);
        assert!(!bucket.is_open(at(1.0)));
    }

    #[test]
    fn savings_can_be_dropped_and_a_debt_cannot() {
        for (taken, opens) in [(0.0, 1.0), (205.0, 3.0)] {
            let mut bucket = Bucket::new(Some(100.0), 0.05);
            bucket.take(at(1.0), taken);
            bucket.empty(at(1.0));
            assert!(!bucket.is_open(at(1.0)));
            let opens_at = bucket.opens_at(at(1.0)).as_secs_f64();
            assert!((opens_at - opens).abs() < 0.001, "{opens_at}");
        }
    }

    #[test]
    fn with_pulses_it_opens_only_for_a_whole_pulse() {
        for (pulse, opens) in [(0.0, 1.5), (0.2, 1.7), (9.0, 2.0)] {
            let mut bucket = Bucket::new(Some(100.0), 0.5);
            bucket.set_shape(at(0.0), 0.5, pulse);
            bucket.take(at(1.0), 100.0);
            assert!(!bucket.is_open(at(1.0)));
            let opens_at = bucket.opens_at(at(1.0));
            assert!((opens_at.as_secs_f64() - opens).abs() < 0.002, "{opens_at:?}");
            assert!(bucket.is_open(opens_at));
            // It stays open as long as the level is above zero.
            bucket.take(opens_at, pulse.min(0.5) * 90.0);
            assert!(bucket.is_open(opens_at), "{pulse}");
        }
    }

    #[test]
    fn a_pause_is_lost_and_a_late_grant_is_not() {
        for (is_wanted, left) in [(false, 5.0), (true, 10.0)] {
            let mut bucket = Bucket::new(Some(100.0), 0.05);
            bucket.take(at(1.0), 5.0);
            bucket.set_wanted(at(1.0), is_wanted);
            assert!(bucket.is_open(at(9.0)));
            bucket.take(at(9.0), left + 0.001);
            assert!(!bucket.is_open(at(9.0)), "{is_wanted}");
        }
    }

    #[test]
    fn returned_units_can_be_used_immediately_and_not_later() {
        for (asked, is_open) in [(1.0, true), (1.05, true), (1.2, false)] {
            let mut bucket = Bucket::new(Some(100.0), 0.02).keeping_returns();
            bucket.take(at(1.0), 100.0);
            bucket.take(at(1.0), -10.0 - 98.0);
            bucket.take(at(asked), 4.9);
            assert_eq!(bucket.is_open(at(asked)), is_open, "{asked}");
        }
    }

    #[test]
    fn without_a_rate_it_never_closes_and_keeps_no_debt() {
        let mut bucket = Bucket::new(None, 0.05);
        bucket.take(at(1.0), 1e9);
        assert!(bucket.is_open(at(1.0)));
        bucket.set_rate(at(1.0), Some(10.0));
        assert!(bucket.opens_at(at(1.1)) <= at(1.1));
    }
}
