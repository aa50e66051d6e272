//! Reduces the rate on one physical partition after the service throttled there, and raises it again.

use std::time::Duration;

/// How the rate of a partition is reduced after throttling, and raised again.
///
/// Both policies cut the rate by a factor immediately. `Normal` returns to just below the rate at which it was
/// throttled, stays there, and then tries more and more: that limit probably still exists, and probing costs
/// throttled requests. `GoodNeighbour` leaves nearly everything to other clients, stays low for some seconds
/// and then returns in even steps, because their need is unknown.
///
/// Small steps from the start would not help: each time that the throughput is used up again, other clients
/// are throttled about as often as the bridge, however slowly the limit is approached. So the time between
/// two such moments has to be as long as possible, and the goal of 90 % of the budget ten seconds after the
/// others have stopped allows no more than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YieldPolicy {
    Normal,
    GoodNeighbour,
}

/// Throttling within this time of a cut is a consequence of requests that were sent before it.
const SETTLING: Duration = Duration::from_millis(250);

/// The rate is never cut below this share of the highest use of the partition.
const FLOOR: f64 = 0.05;

/// The lowest rate of the normal policy in request units per second: one throttled request must not block a
/// client with low use for seconds, and such a client does not overload a partition.
const MIN_RATE: f64 = 50.0;

/// The normal policy: the factor of the cut, the seconds until the rate is back below the found limit, how
/// close to it, the seconds that it stays there, and its growth per second after that.
const CUT: f64 = 0.8;
const BACK_AFTER: f64 = 1.0;
const BELOW: f64 = 0.97;
const STAY: f64 = 5.0;
const GROWTH: f64 = 1.5;

/// The good neighbour: it nearly stops until `STOP_UNTIL` seconds after the cut, so that the service recovers
/// units for the others. Until `LOW_UNTIL` it stays at the share `YIELD` of the throttled rate. At
/// `FULL_AFTER` it is back at its highest use.
const STOP_UNTIL: f64 = 0.5;
const YIELD: f64 = 0.2;
const LOW_UNTIL: f64 = 5.0;
const FULL_AFTER: f64 = 8.5;

/// The use of one partition, and the limit that throttling has set.
#[derive(Clone, Debug)]
pub(super) struct Pressure {
    policy: YieldPolicy,
    recent: Recent,
    /// The highest use in one second, in request units.
    max_used: f64,
    cut: Option<Cut>,
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    at: Duration,
    /// The rate at which the service throttled.
    throttled_rate: f64,
    /// The rate right after the cut.
    reduced_rate: f64,
}

impl Pressure {
    pub(super) fn new(policy: YieldPolicy) -> Self {
        Self { policy, recent: Recent::default(), max_used: 0.0, cut: None }
    }

    /// The recovery from a current cut continues with the new policy.
    pub(super) fn set_yield_policy(&mut self, policy: YieldPolicy) {
        self.policy = policy;
    }

    /// Books a charge.
    pub(super) fn spent(&mut self, now: Duration, units: f64) {
        self.recent.add(now, units);
        self.max_used = self.max_used.max(self.recent.per_second(now));
    }

    /// The service throttled a request that was sent at `sent`, or responses became slow under the load of
    /// other clients. Returns true if the rate was cut.
    pub(super) fn on_throttled(&mut self, now: Duration, sent: Duration) -> bool {
        if self.cut.is_some_and(|cut| sent < cut.at || now < cut.at + SETTLING) {
            return false;
        }
        let floor = (self.max_used * FLOOR).max(self.min_rate());
        let used = self.recent.per_second(now);
        // Throttling at a very low use says nothing about the limit.
        if used < floor {
            return false;
        }
        // Right after the first request the use of the last second is lower than the rate.
        let pace = self.recent.pace(now);
        let throttled_rate = self.limit(now).map_or(pace, |limit| limit.min(pace));
        let factor = match self.policy {
            YieldPolicy::Normal => CUT,
            YieldPolicy::GoodNeighbour => YIELD,
        };
        let reduced_rate = (throttled_rate * factor).max(floor);
        self.cut = Some(Cut { at: now, throttled_rate, reduced_rate });
        true
    }

    /// The lowest rate after a cut, in request units per second.
    fn min_rate(&self) -> f64 {
        match self.policy {
            YieldPolicy::Normal => MIN_RATE,
            YieldPolicy::GoodNeighbour => 1.0,
        }
    }

    /// When the rate was last cut.
    pub(super) fn cut_at(&self) -> Option<Duration> {
        self.cut.map(|cut| cut.at)
    }

    /// Request units per second that may be used now; `None` is no limit.
    pub(super) fn limit(&self, now: Duration) -> Option<f64> {
        let Cut { at, throttled_rate, reduced_rate } = self.cut?;
        let seconds = now.saturating_sub(at).as_secs_f64();
        let limit = match self.policy {
            YieldPolicy::GoodNeighbour if seconds < STOP_UNTIL => {
                reduced_rate.min((self.max_used * FLOOR).max(1.0))
            }
            YieldPolicy::GoodNeighbour => {
                let back = (seconds - LOW_UNTIL).max(0.0) / (FULL_AFTER - LOW_UNTIL);
                reduced_rate + back * (self.max_used - reduced_rate).max(0.0)
            }
            YieldPolicy::Normal if seconds < STAY => {
                let back = (seconds / BACK_AFTER).min(1.0);
                reduced_rate + back * (throttled_rate * BELOW - reduced_rate).max(0.0)
            }
            YieldPolicy::Normal => {
                (throttled_rate * BELOW).max(reduced_rate) * GROWTH.powf(seconds - STAY)
            }
        };
        // A limit far above the highest use limits nothing.
        (limit < self.max_used * 2.0).then_some(limit)
    }
}

/// The use of the last second, in slots of a tenth of a second.
#[derive(Clone, Debug, Default)]
struct Recent {
    slots: [f64; 10],
    newest: u128,
    /// When the use began, after a second without any.
    since: Duration,
}

impl Recent {
    fn add(&mut self, now: Duration, units: f64) {
        if self.per_second(now) <= 0.0 {
            self.since = now;
        }
        self.slots[index(self.newest)] += units;
    }

    fn per_second(&mut self, now: Duration) -> f64 {
        self.turn(now);
        self.slots.iter().sum()
    }

    /// Units per second, over the part of the last second since the use began.
    fn pace(&mut self, now: Duration) -> f64 {
        let active = now.saturating_sub(self.since).as_secs_f64();
        self.per_second(now) / active.clamp(0.1, 1.0)
    }

    /// Empties the slots of the time that has passed.
    fn turn(&mut self, now: Duration) {
        let slot = now.as_millis() / 100;
        for passed in (self.newest + 1..=slot).take(self.slots.len()) {
            self.slots[index(passed)] = 0.0;
        }
        self.newest = self.newest.max(slot);
    }
}

fn index(slot: u128) -> usize {
    usize::try_from(slot % 10).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Pressure, YieldPolicy};

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// A partition with the use `rate` in each of the ten seconds before 10 s.
    fn busy(policy: YieldPolicy, rate: f64) -> Pressure {
        let mut pressure = Pressure::new(policy);
        for tenth in 0..100 {
            pressure.spent(at(f64::from(tenth) / 10.0), rate / 10.0);
        }
        pressure
    }

    fn limits(pressure: &Pressure, seconds: &[f64]) -> Vec<Option<f64>> {
        seconds.iter().map(|s| pressure.limit(at(*s)).map(f64::round)).collect()
    }

    #[test]
    fn throttling_cuts_the_rate_immediately_and_the_found_limit_is_approached_again() {
        let mut pressure = busy(YieldPolicy::Normal, 1000.0);
        assert_eq!(pressure.limit(at(9.95)), None);
        pressure.on_throttled(at(9.95), at(9.94));
        assert_eq!(
            limits(&pressure, &[9.95, 10.95, 14.9, 16.45, 20.0]),
            [Some(800.0), Some(970.0), Some(970.0), Some(1782.0), None]
        );
    }

    #[test]
    fn a_good_neighbour_nearly_stops_stays_low_and_returns_in_even_steps() {
        let mut pressure = busy(YieldPolicy::GoodNeighbour, 1000.0);
        assert!(pressure.on_throttled(at(10.0 - 0.05), at(9.94)));
        assert!(!pressure.on_throttled(at(9.96), at(9.94))); // sent before the cut
        assert!(!pressure.on_throttled(at(9.97), at(9.96))); // still within the settling time
        assert_eq!(
            limits(&pressure, &[9.95, 10.4, 10.5, 14.9, 16.7, 18.45, 21.0, 22.0]),
            [50.0, 50.0, 200.0, 200.0, 600.0, 1000.0, 1583.0, 1811.0].map(Some)
        );
        assert_eq!(pressure.limit(at(23.0)), None);
    }

    #[test]
    fn a_good_neighbour_that_is_throttled_again_leaves_even_more() {
        let mut pressure = busy(YieldPolicy::GoodNeighbour, 1000.0);
        assert!(pressure.on_throttled(at(9.95), at(9.94)));
        for (seconds, from) in [(16.7, 120.0), (19.0, 50.0)] {
            pressure.spent(at(seconds - 0.1), 700.0);
            assert!(pressure.on_throttled(at(seconds), at(seconds - 0.01)), "{seconds}");
            assert_eq!(limits(&pressure, &[seconds, seconds + 1.0]), [Some(50.0), Some(from)]);
        }
    }

    #[test]
    fn a_low_use_is_not_limited_by_the_normal_policy() {
        let mut pressure = busy(YieldPolicy::Normal, 20.0);
        pressure.on_throttled(at(9.95), at(9.94));
        assert_eq!(pressure.limit(at(9.95)), None);
        let mut pressure = busy(YieldPolicy::GoodNeighbour, 20.0);
        assert!(pressure.on_throttled(at(9.95), at(9.94)));
    }

    #[test]
    fn the_first_requests_are_not_taken_for_a_low_rate() {
        let mut pressure = Pressure::new(YieldPolicy::Normal);
        for request in 0..10 {
            pressure.spent(at(10.0 + f64::from(request) / 1000.0), 10.0);
        }
        pressure.on_throttled(at(10.01), at(10.009));
        assert_eq!(limits(&pressure, &[10.01]), [None]); // 800 per second, far above the 100 so far
        let mut pressure = busy(YieldPolicy::Normal, 1000.0);
        pressure.spent(at(12.0), 100.0);
        pressure.on_throttled(at(12.001), at(12.0));
        assert_eq!(limits(&pressure, &[12.001]), [Some(800.0)]);
    }

    #[test]
    fn throttling_without_use_is_ignored() {
        let mut pressure = busy(YieldPolicy::Normal, 1000.0);
        pressure.on_throttled(at(9.95), at(9.94));
        // An hour of throttled requests only, each with a small charge.
        for second in 11..3600 {
            pressure.spent(at(f64::from(second)), 0.38);
            pressure.on_throttled(at(f64::from(second)), at(f64::from(second)));
        }
        assert_eq!(pressure.limit(at(3600.0)), None);
    }
}
