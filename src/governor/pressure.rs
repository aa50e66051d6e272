//! Gives way on one physical partition when the service refuses requests there.

use std::time::Duration;

/// How a partition is given back after a refusal, and when.
///
/// Both ways cut the rate by a factor at once. The usual one returns to just below where it was
/// refused, stays there, and then tries more and more: the limit that it found is probably still
/// there, and probing costs refusals. The good neighbour leaves nearly everything to the others, is
/// small for some seconds and then comes back in even steps, because what they need is unknown.
///
/// Why not in small steps from the start: each time that all is used again costs the others refusals,
/// about as many as it costs the bridge, however gently it is approached. So there has to be as much
/// time as possible from one to the next, and nine tenths of the budget ten seconds after the others
/// have gone leave no more than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    Usual,
    GoodNeighbour,
}

/// Refusals within this time of a cut are consequences of what was sent before it.
const SETTLING: Duration = Duration::from_millis(250);

/// Never below this share of the most that the partition has taken.
const FLOOR: f64 = 0.05;

/// Nor below this, in request units per second, in the usual way: one refusal must not hold up for
/// seconds who uses next to nothing, and who uses so little is not what overloads a partition.
const LEAST: f64 = 50.0;

/// The usual way: the first cut, how soon it is back below the limit it found, how close, how long
/// it stays there, and by what it grows each second after that.
const CUT: f64 = 0.8;
const BACK_AFTER: f64 = 1.0;
const BELOW: f64 = 0.97;
const STAY: f64 = 5.0;
const GROWTH: f64 = 1.5;

/// The good neighbour: for so many seconds it all but stops, so that the service can save up again
/// for the others; until then it stays at this share of what was refused; and then it has back all
/// that it ever had.
const STOP: f64 = 0.5;
const YIELD: f64 = 0.2;
const SMALL: f64 = 5.0;
const BACK: f64 = 8.5;

/// The use of one partition, and the limit that refusals set to it.
#[derive(Clone, Debug)]
pub(super) struct Pressure {
    manners: Manners,
    recent: Recent,
    /// The most that was used in a second, in request units.
    most: f64,
    cut: Option<Cut>,
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    at: Duration,
    /// The rate at which the service refused.
    refused: f64,
    /// The rate right after the cut.
    from: f64,
}

impl Pressure {
    pub(super) fn new(manners: Manners) -> Self {
        Self { manners, recent: Recent::default(), most: 0.0, cut: None }
    }

    /// A cut that is being given back goes on in the new way.
    pub(super) fn set_manners(&mut self, manners: Manners) {
        self.manners = manners;
    }

    /// Books what was used.
    pub(super) fn spent(&mut self, now: Duration, units: f64) {
        self.recent.add(now, units);
        self.most = self.most.max(self.recent.per_second(now));
    }

    /// The service refused a request that was sent at `sent` for the rate of requests, or answers
    /// grow slow under others' load. Says whether that led to a cut.
    pub(super) fn refused(&mut self, now: Duration, sent: Duration) -> bool {
        if self.cut.is_some_and(|cut| sent < cut.at || now < cut.at + SETTLING) {
            return false;
        }
        let floor = (self.most * FLOOR).max(self.least());
        let used = self.recent.per_second(now);
        // A refusal while next to nothing is used tells nothing about how much would be too much.
        if used < floor {
            return false;
        }
        // Who began a moment ago has used little in the last second, and was no slower for that.
        let pace = self.recent.pace(now);
        let refused = self.limit(now).map_or(pace, |limit| limit.min(pace));
        let factor = match self.manners {
            Manners::Usual => CUT,
            Manners::GoodNeighbour => YIELD,
        };
        self.cut = Some(Cut { at: now, refused, from: (refused * factor).max(floor) });
        true
    }

    /// No cut goes below this, in request units per second.
    fn least(&self) -> f64 {
        match self.manners {
            Manners::Usual => LEAST,
            Manners::GoodNeighbour => 1.0,
        }
    }

    /// When the rate was last cut.
    pub(super) fn cut_at(&self) -> Option<Duration> {
        self.cut.map(|cut| cut.at)
    }

    /// Request units per second that may be used now; `None` is no limit.
    pub(super) fn limit(&self, now: Duration) -> Option<f64> {
        let Cut { at, refused, from } = self.cut?;
        let seconds = now.saturating_sub(at).as_secs_f64();
        let limit = match self.manners {
            Manners::GoodNeighbour if seconds < STOP => from.min((self.most * FLOOR).max(1.0)),
            Manners::GoodNeighbour => {
                let back = (seconds - SMALL).max(0.0) / (BACK - SMALL);
                from + back * (self.most - from).max(0.0)
            }
            Manners::Usual if seconds < STAY => {
                let back = (seconds / BACK_AFTER).min(1.0);
                from + back * (refused * BELOW - from).max(0.0)
            }
            Manners::Usual => (refused * BELOW).max(from) * GROWTH.powf(seconds - STAY),
        };
        // Far above anything that was ever used it limits nothing.
        (limit < self.most * 2.0).then_some(limit)
    }
}

/// What was used in the last second, in slots of a tenth.
#[derive(Clone, Debug, Default)]
struct Recent {
    slots: [f64; 10],
    newest: u128,
    /// When use began, after a second without any.
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

    /// Units per second of the time in which there was any use at all.
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

    use super::{Manners, Pressure};

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Has used `rate` in each of the ten seconds before 10 s.
    fn busy(manners: Manners, rate: f64) -> Pressure {
        let mut pressure = Pressure::new(manners);
        for tenth in 0..100 {
            pressure.spent(at(f64::from(tenth) / 10.0), rate / 10.0);
        }
        pressure
    }

    fn limits(pressure: &Pressure, seconds: &[f64]) -> Vec<Option<f64>> {
        seconds.iter().map(|s| pressure.limit(at(*s)).map(f64::round)).collect()
    }

    #[test]
    fn a_refusal_cuts_at_once_and_what_was_found_is_approached_again() {
        let mut pressure = busy(Manners::Usual, 1000.0);
        assert_eq!(pressure.limit(at(9.95)), None);
        pressure.refused(at(9.95), at(9.94));
        assert_eq!(
            limits(&pressure, &[9.95, 10.95, 14.9, 16.45, 20.0]),
            [Some(800.0), Some(970.0), Some(970.0), Some(1782.0), None]
        );
    }

    #[test]
    fn a_good_neighbour_all_but_stops_stays_small_and_comes_back_in_even_steps() {
        let mut pressure = busy(Manners::GoodNeighbour, 1000.0);
        assert!(pressure.refused(at(10.0 - 0.05), at(9.94)));
        assert!(!pressure.refused(at(9.96), at(9.94))); // sent before anybody could yield
        assert!(!pressure.refused(at(9.97), at(9.96))); // what was sent before has not settled
        assert_eq!(
            limits(&pressure, &[9.95, 10.4, 10.5, 14.9, 16.7, 18.45, 21.0, 22.0]),
            [50.0, 50.0, 200.0, 200.0, 600.0, 1000.0, 1583.0, 1811.0].map(Some)
        );
        assert_eq!(pressure.limit(at(23.0)), None);
    }

    #[test]
    fn a_good_neighbour_that_is_refused_again_leaves_still_more() {
        let mut pressure = busy(Manners::GoodNeighbour, 1000.0);
        assert!(pressure.refused(at(9.95), at(9.94)));
        for (seconds, from) in [(16.7, 120.0), (19.0, 50.0)] {
            pressure.spent(at(seconds - 0.1), 700.0);
            assert!(pressure.refused(at(seconds), at(seconds - 0.01)), "{seconds}");
            assert_eq!(limits(&pressure, &[seconds, seconds + 1.0]), [Some(50.0), Some(from)]);
        }
    }

    #[test]
    fn who_uses_little_is_not_held_to_it() {
        let mut pressure = busy(Manners::Usual, 20.0);
        pressure.refused(at(9.95), at(9.94));
        assert_eq!(pressure.limit(at(9.95)), None);
        let mut pressure = busy(Manners::GoodNeighbour, 20.0);
        assert!(pressure.refused(at(9.95), at(9.94)));
    }

    #[test]
    fn who_has_just_begun_is_not_taken_for_slow() {
        let mut pressure = Pressure::new(Manners::Usual);
        for request in 0..10 {
            pressure.spent(at(10.0 + f64::from(request) / 1000.0), 10.0);
        }
        pressure.refused(at(10.01), at(10.009));
        assert_eq!(limits(&pressure, &[10.01]), [None]); // 800 a second, far above the 100 so far
        let mut pressure = busy(Manners::Usual, 1000.0);
        pressure.spent(at(12.0), 100.0);
        pressure.refused(at(12.001), at(12.0));
        assert_eq!(limits(&pressure, &[12.001]), [Some(800.0)]);
    }

    #[test]
    fn refusals_without_use_teach_nothing() {
        let mut pressure = busy(Manners::Usual, 1000.0);
        pressure.refused(at(9.95), at(9.94));
        // An hour of nothing but refusals, each charged a little.
        for second in 11..3600 {
            pressure.spent(at(f64::from(second)), 0.38);
            pressure.refused(at(f64::from(second)), at(f64::from(second)));
        }
        assert_eq!(pressure.limit(at(3600.0)), None);
    }
}
