//! What may be spent on one container, and when. Pure: the time is given.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

/// Request units per second that the bridge may use in one direction of one container.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// What holds outside the schedule.
    pub otherwise: Amount,
    pub schedule: Option<Schedule>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    Unlimited,
    /// Request units per second.
    Units(f64),
    /// More than 0 and at most 1, of what the container has provisioned; of the maximum with
    /// autoscale.
    Share(f64),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    pub time_zone: TimeZone,
    /// At least one. Where several contain a moment, the first holds.
    pub windows: Vec<Window>,
}

/// Hours of some days, as the clocks of the schedule's time zone show them.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The days on which it begins.
    pub days: Days,
    /// The first moment in it.
    pub from: Time,
    /// The first moment after it; on the next day if it is not later than `from`.
    pub to: Time,
    pub amount: Amount,
}

/// Days of the week, one bit each, Monday the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(u8);

impl Budget {
    /// What holds at this moment: the first window that contains it, else `otherwise`.
    pub fn at(&self, now: Timestamp) -> Amount {
        let Some(schedule) = &self.schedule else { return self.otherwise };
        let local = schedule.time_zone.to_datetime(now);
        let (day, time) = (local.date().weekday(), local.time());
        let window = schedule.windows.iter().find(|window| window.contains(day, time));
        window.map_or(self.otherwise, |window| window.amount)
    }

    /// True if any part is a share, so that the provisioned throughput has to be known.
    pub fn needs_throughput(&self) -> bool {
        self.share().is_some()
    }

    /// The first part that is a share.
    pub fn share(&self) -> Option<Amount> {
        self.amounts().find(|amount| matches!(amount, Amount::Share(_)))
    }

    /// True if no part limits anything.
    pub fn is_unlimited(&self) -> bool {
        self.amounts().all(|amount| amount == Amount::Unlimited)
    }

    fn amounts(&self) -> impl Iterator<Item = Amount> {
        let windows = self.schedule.iter().flat_map(|schedule| &schedule.windows);
        windows.map(|window| window.amount).chain([self.otherwise])
    }
}

/// The same at any time.
impl From<Amount> for Budget {
    fn from(amount: Amount) -> Self {
        Self { otherwise: amount, schedule: None }
    }
}

impl Window {
    fn contains(&self, day: Weekday, time: Time) -> bool {
        if self.from < self.to {
            self.days.contains(day) && self.from <= time && time < self.to
        } else {
            // The hours after midnight belong to the day before.
            self.days.contains(day) && self.from <= time
                || self.days.contains(day.previous()) && time < self.to
        }
    }
}

impl Days {
    pub const EVERY: Self = Self(0b111_1111);

    pub fn contains(self, day: Weekday) -> bool {
        self.0 & Self::bit(day) != 0
    }

    fn bit(day: Weekday) -> u8 {
        1 << day.to_monday_zero_offset()
    }
}

impl FromIterator<Weekday> for Days {
    fn from_iter<I: IntoIterator<Item = Weekday>>(days: I) -> Self {
        Self(days.into_iter().fold(0, |days, day| days | Self::bit(day)))
    }
}

/// As it is written in the file.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a share comes to may have any number of digits.
        let short = |number: f64| (number * 100.0).round() / 100.0;
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::Units(units) => write!(f, "{} RU/s", short(*units)),
            Self::Share(share) => write!(f, "{}%", short(*share * 100.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZoneDatabase;

    use super::*;

    /// 50 RU/s in one window, 1 RU/s outside of it.
    fn windowed(zone: &str, days: impl IntoIterator<Item = Weekday>, hours: [i8; 2]) -> Budget {
        let days = days.into_iter().collect();
        let [from, to] = hours.map(|hour| Time::constant(hour, 0, 0, 0));
        let window = Window { days, from, to, amount: Amount::Units(50.0) };
        let time_zone = TimeZoneDatabase::bundled().get(zone).unwrap();
        let schedule = Some(Schedule { time_zone, windows: vec![window] });
        Budget { otherwise: Amount::Units(1.0), schedule }
    }

    fn is_within(budget: &Budget, now: &str) -> bool {
        budget.at(now.parse().unwrap()) == Amount::Units(50.0)
    }

    const WORKDAYS: [Weekday; 5] =
        [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];

    #[test]
    fn a_window_holds_from_its_first_moment_up_to_its_end() {
        let day = windowed("Europe/Berlin", WORKDAYS, [7, 19]);
        let night = windowed("Europe/Berlin", [Weekday::Friday], [22, 6]);
        let whole = windowed("Europe/Berlin", [Weekday::Saturday, Weekday::Sunday], [0, 0]);
        let evening = windowed("Europe/Berlin", [Weekday::Friday], [18, 0]);
        // 2026-01-16 is a Friday, and Berlin is one hour ahead of UTC.
        let cases = [
            ("a second early", &day, "2026-01-16T06:59:59+01:00", false),
            ("the first moment", &day, "2026-01-16T07:00:00+01:00", true),
            ("the last nanosecond", &day, "2026-01-16T18:59:59.999999999+01:00", true),
            ("the end", &day, "2026-01-16T19:00:00+01:00", false),
            ("another day", &day, "2026-01-17T12:00:00+01:00", false),
            ("the same moment, in UTC", &day, "2026-01-16T06:00:00Z", true),
            ("Friday before the night", &night, "2026-01-16T05:00:00+01:00", false),
            ("Friday night", &night, "2026-01-16T23:00:00+01:00", true),
            ("the morning after it", &night, "2026-01-17T05:59:59+01:00", true),
            ("its end", &night, "2026-01-17T06:00:00+01:00", false),
            ("Saturday night", &night, "2026-01-17T23:00:00+01:00", false),
            ("the last of Friday", &whole, "2026-01-16T23:59:59+01:00", false),
            ("the first of Saturday", &whole, "2026-01-17T00:00:00+01:00", true),
            ("the last of Sunday", &whole, "2026-01-18T23:59:59+01:00", true),
            ("the first of Monday", &whole, "2026-01-19T00:00:00+01:00", false),
            ("a window that ends with the day", &evening, "2026-01-16T23:59:59+01:00", true),
            ("the day after that", &evening, "2026-01-17T00:00:00+01:00", false),
        ];
        for (what, budget, now, expected) in cases {
            assert_eq!(is_within(budget, now), expected, "{what}");
        }
    }

    #[test]
    fn a_window_follows_the_clocks_when_they_change() {
        let day = windowed("Europe/Berlin", [Weekday::Sunday], [7, 19]);
        let early = windowed("Europe/Berlin", [Weekday::Sunday], [2, 3]);
        let night = windowed("Europe/Berlin", [Weekday::Saturday], [22, 6]);
        // On 2026-03-29 the clocks go from 02:00 to 03:00 at 01:00 UTC, on 2026-10-25 from 03:00
        // back to 02:00 at the same hour.
        let cases = [
            ("06:59 in summer", &day, "2026-03-29T04:59:59Z", false),
            ("07:00 in summer", &day, "2026-03-29T05:00:00Z", true),
            ("06:59 in winter", &day, "2026-10-25T05:59:59Z", false),
            ("07:00 in winter", &day, "2026-10-25T06:00:00Z", true),
            ("before the hour that is left out", &early, "2026-03-29T00:59:59Z", false),
            ("after the hour that is left out", &early, "2026-03-29T01:00:00Z", false),
            ("02:00 the first time", &early, "2026-10-25T00:00:00Z", true),
            ("02:00 the second time", &early, "2026-10-25T01:00:00Z", true),
            ("03:00", &early, "2026-10-25T02:00:00Z", false),
            ("the last of the short night", &night, "2026-03-29T03:59:59Z", true),
            ("the end of the short night", &night, "2026-03-29T04:00:00Z", false),
            ("the last of the long night", &night, "2026-10-25T04:59:59Z", true),
            ("the end of the long night", &night, "2026-10-25T05:00:00Z", false),
        ];
        for (what, budget, now, expected) in cases {
            assert_eq!(is_within(budget, now), expected, "{what}");
        }
    }

    #[test]
    fn the_first_window_that_contains_the_moment_holds() {
        let mut budget = windowed("UTC", [Weekday::Friday], [10, 12]);
        let every = Window {
            days: Days::EVERY,
            from: Time::midnight(),
            to: Time::midnight(),
            amount: Amount::Share(0.5),
        };
        budget.schedule.as_mut().unwrap().windows.push(every);
        let at = |now: &str| budget.at(now.parse().unwrap());
        assert_eq!(at("2026-01-16T11:00:00Z"), Amount::Units(50.0));
        assert_eq!(at("2026-01-16T12:00:00Z"), Amount::Share(0.5));
        let always = Budget::from(Amount::Share(0.2));
        assert_eq!(always.at(Timestamp::MIN), Amount::Share(0.2));
    }

    #[test]
    fn a_budget_is_asked_what_it_needs() {
        use Amount::{Share, Units, Unlimited};
        let cases = [
            (Unlimited, None, (false, true)),
            (Units(400.0), None, (false, false)),
            (Share(0.3), None, (true, false)),
            (Unlimited, Some(Unlimited), (false, true)),
            (Unlimited, Some(Units(5.0)), (false, false)),
            (Unlimited, Some(Share(0.3)), (true, false)),
            (Units(5.0), Some(Unlimited), (false, false)),
            (Share(0.3), Some(Unlimited), (true, false)),
        ];
        for (otherwise, window, expected) in cases {
            let mut budget = Budget::from(otherwise);
            if let Some(amount) = window {
                budget.schedule = windowed("UTC", WORKDAYS, [7, 19]).schedule;
                budget.schedule.as_mut().unwrap().windows[0].amount = amount;
            }
            let answers = (budget.needs_throughput(), budget.is_unlimited());
            assert_eq!(answers, expected, "{otherwise:?}, {window:?}");
        }
    }

    #[test]
    fn an_amount_is_shown_as_it_is_written() {
        let cases = [
            (Amount::Unlimited, "unlimited"),
            (Amount::Units(400.0), "400 RU/s"),
            (Amount::Units(2.5), "2.5 RU/s"),
            (Amount::Units(1000.0 / 3.0), "333.33 RU/s"),
            (Amount::Share(0.3), "30%"),
            (Amount::Share(0.07), "7%"),
            (Amount::Share(0.125), "12.5%"),
        ];
        for (amount, expected) in cases {
            assert_eq!(amount.to_string(), expected);
        }
    }
}
