//! The budget of all partitions together: kept over seconds, and paced within each second.

use std::time::Duration;

use super::bucket::Bucket;

/// The rate, relative to the budget, at which missed use is made up. In any second at most this share of the
/// budget, the burst and one request are spent.
const PACE: f64 = 1.03;

/// Two buckets that both have to be open. The first one keeps the budget, and saves a little if the granting
/// task is scheduled late on a busy machine; the second one prevents that those savings are spent in one burst.
#[derive(Debug)]
pub(super) struct Total {
    budget: Bucket,
    pace: Bucket,
}

impl Total {
    /// `rate` in request units per second, `None` is unlimited; `burst` is the burst after a
    /// pause, in seconds of the rate.
    pub(super) fn new(rate: Option<f64>, burst: f64) -> Self {
        let pace = Bucket::new(paced(rate), burst).keeping_returns();
        Self { budget: Bucket::new(rate, burst), pace }
    }

    /// As [`Bucket::set_shape`].
    pub(super) fn set_shape(&mut self, now: Duration, burst: f64, pulse: f64) {
        self.budget.set_shape(now, burst, pulse);
        self.pace.set_shape(now, burst, 0.0);
    }

    pub(super) fn rate(&self) -> Option<f64> {
        self.budget.rate()
    }

    pub(super) fn set_rate(&mut self, now: Duration, rate: Option<f64>) {
        self.budget.set_rate(now, rate);
        self.pace.set_rate(now, paced(rate));
    }

    /// Sets whether requests wait for the budget from now on.
    pub(super) fn set_wanted(&mut self, now: Duration, is_wanted: bool) {
        self.budget.set_wanted(now, is_wanted);
    }

    pub(super) fn is_open(&mut self, now: Duration) -> bool {
        self.budget.is_open(now) && self.pace.is_open(now)
    }

    pub(super) fn take(&mut self, now: Duration, units: f64) {
        self.budget.take(now, units);
        self.pace.take(now, units);
    }

    /// When it opens if nothing more is taken; now if it is open.
    pub(super) fn opens_at(&mut self, now: Duration) -> Duration {
        self.budget.opens_at(now).max(self.pace.opens_at(now))
    }
}

fn paced(rate: Option<f64>) -> Option<f64> {
    rate.map(|rate| rate * PACE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Total;

    const RATE: f64 = 1000.0;
    const REQUEST: f64 = 10.0;

    /// Spends requests of 10 RU, which are always waiting, until `end`. Returns their sum.
    fn spend(total: &mut Total, now: &mut Duration, end: Duration) -> f64 {
        let mut spent = 0.0;
        loop {
            *now = total.opens_at(*now);
            if *now >= end {
                return spent;
            }
            total.take(*now, REQUEST);
            spent += REQUEST;
        }
    }

    #[test]
    fn a_stall_is_made_up_slowly_and_a_long_one_only_in_part() {
        let seconds = Duration::from_secs_f64;
        // Rows: the stall, and the use from its start to 5 s after its end; both in seconds of the rate.
        for (stall, made_up) in [(0.0, 5.0), (0.05, 5.05), (0.1, 5.1), (0.5, 5.1)] {
            let mut total = Total::new(Some(RATE), 0.02);
            total.set_wanted(Duration::ZERO, true);
            let mut now = Duration::ZERO;
            spend(&mut total, &mut now, seconds(5.0));
            now += seconds(stall);
            let end = now;
            let second = spend(&mut total, &mut now, end + seconds(1.0));
            assert!(second <= RATE * 1.05 + REQUEST, "{stall}: {second} in the second after");
            let all = second + spend(&mut total, &mut now, end + seconds(5.0));
            assert!((all - RATE * made_up).abs() <= 2.0 * REQUEST, "{stall}: {all} in 5 s");
        }
    }
}
