//! Reads `budget` and `good_neighbour`, which sources and sinks have in common.

use jiff::civil::{Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::problem::closest;
use super::reader::Value;
use super::schedule::{Amount, Budget, Days, Schedule, Window};
use super::table::Table;

const WINDOW: &str = "Write { days = \"mon-fri\", hours = \"07:00-19:00\", budget = \"20%\" }.";
const DAYS: &str =
    "Write days like \"mon-fri\" or \"sat,sun\", from mon, tue, wed, thu, fri, sat and sun.";
const HOURS: &str =
    "Write hours like \"07:00-19:00\" or \"22:00-06:00\"; a whole day is \"00:00-24:00\".";

/// As a week goes.
const NAMES: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// What a table says about spending on its container, as far as it could be read.
pub(super) struct Spending<'d> {
    /// The table itself, for the rules between tables.
    pub(super) table: Value<'d>,
    pub(super) budget: Option<Budget>,
    pub(super) good_neighbour: Option<bool>,
}

pub(super) fn spending<'d>(table: &Table<'d>) -> Spending<'d> {
    Spending {
        table: table.value().clone(),
        budget: table.or("budget", Amount::Unlimited.into(), budget),
        good_neighbour: table.or("good_neighbour", false, Value::boolean),
    }
}

/// An amount, or a table with a schedule.
fn budget(value: &Value<'_>) -> Option<Budget> {
    if !value.node.is_table() {
        return value.amount().map(Budget::from);
    }
    let table = value.table("a table", "")?;
    let otherwise = table
        .required("otherwise", "Write what holds outside the schedule: otherwise = \"400 RU/s\".");
    let otherwise = otherwise.and_then(|amount| amount.amount());
    let schedule = schedule(&table);
    table.finish();
    Some(Budget { otherwise: otherwise?, schedule: schedule? })
}

/// `Some(None)` without a schedule, `None` after a problem.
#[expect(clippy::option_option, reason = "the outer one is whether there was a problem")]
fn schedule(table: &Table<'_>) -> Option<Option<Schedule>> {
    let Some(written) = table.get("schedule") else {
        let Some(zone) = table.get("time_zone") else { return Some(None) };
        // An unknown key is probably the schedule.
        if !table.has_unknown() {
            let hint = "Write a schedule too, or remove `time_zone`.";
            zone.problem("a time zone means nothing without a schedule", hint);
        }
        return None;
    };
    let zone = table
        .required("time_zone", "Write whose clocks the hours go by: time_zone = \"Europe/Berlin\".")
        .and_then(|zone| time_zone(&zone));
    let windows = written.all(window);
    if windows.as_ref().is_some_and(Vec::is_empty) {
        written.problem("there is no window", WINDOW);
        return None;
    }
    Some(Some(Schedule { time_zone: zone?, windows: windows? }))
}

fn window(value: &Value<'_>) -> Option<Window> {
    let table = value.table("a window", WINDOW)?;
    let days = table.or("days", Days::EVERY, |value| value.quantity("days", DAYS, days));
    let hours = table.required("hours", HOURS);
    let hours = hours.and_then(|value| value.quantity("hours", HOURS, hours_of));
    let amount = table.required("budget", "Write what holds in these hours: budget = \"20%\".");
    let amount = amount.and_then(|amount| amount.amount());
    table.finish();
    let (from, to) = hours?;
    Some(Window { days: days?, from, to, amount: amount? })
}

/// The machine's own rules come first, since they may be newer than the bridge; those in the
/// binary serve where it has none.
fn time_zone(value: &Value<'_>) -> Option<TimeZone> {
    const HINT: &str = "Write the IANA name of a time zone: \"Europe/Berlin\".";
    let name = value.text_like("a time zone", HINT)?;
    let found = TimeZone::get(name).or_else(|_| TimeZoneDatabase::bundled().get(name));
    // `Etc/Unknown` is a name, and stands for none.
    let found = found.ok().filter(|zone| !zone.is_unknown());
    if found.is_none() {
        let known: Vec<String> =
            TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = closest(name, &known);
        let hint = hint.map_or(HINT.to_owned(), |name| format!("Did you mean `{name}`?"));
        value.problem("there is no such time zone", hint);
    }
    found
}

/// `mon-fri`, `sat,sun`, `fri-mon`.
fn days(text: &str) -> Result<Days, String> {
    let mut days = Vec::new();
    for part in text.split(',').map(str::trim) {
        let Some((first, last)) = part.split_once('-') else {
            days.push(day(part)?);
            continue;
        };
        let (first, last) = (day(first.trim())?, day(last.trim())?);
        if first == last {
            return Err(format!("`{part}` begins and ends on the same day"));
        }
        days.extend(first.cycle_forward().take_while(|day| *day != last));
        days.push(last);
    }
    for (name, day) in NAMES {
        if days.iter().filter(|named| **named == day).count() > 1 {
            return Err(format!("`{name}` is named twice"));
        }
    }
    Ok(days.into_iter().collect())
}

fn day(text: &str) -> Result<Weekday, String> {
    let day = NAMES.iter().find(|(name, _)| *name == text).map(|(_, day)| *day);
    day.ok_or_else(|| match text {
        "" => "a day is missing".to_owned(),
        text => format!("`{text}` is no day"),
    })
}

/// `07:00-19:00`; 24:00 is the midnight that ends a day.
fn hours_of(text: &str) -> Result<(Time, Time), String> {
    let Some((from, to)) = text.split_once('-') else {
        return Err("these are no hours".to_owned());
    };
    let (from, to) = (from.trim(), to.trim());
    if from == "24:00" {
        return Err("a window cannot begin where the day ends".to_owned());
    }
    let from = time(from)?;
    if to == "24:00" {
        return Ok((from, Time::midnight()));
    }
    let to = time(to)?;
    // Nothing or a whole day: it could mean either.
    if from == to { Err("the window ends where it begins".to_owned()) } else { Ok((from, to)) }
}

/// Two digits, a colon, two digits.
fn time(text: &str) -> Result<Time, String> {
    let number = |text: &str| match text.as_bytes() {
        [b'0'..=b'9', b'0'..=b'9'] => text.parse().ok(),
        _ => None,
    };
    text.split_once(':')
        .and_then(|(hour, minute)| Time::new(number(hour)?, number(minute)?, 0, 0).ok())
        .ok_or_else(|| format!("`{text}` is no time of day"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_named_alone_and_as_ranges() {
        let cases = [
            ("mon", "mon"),
            ("mon-fri", "mon tue wed thu fri"),
            ("mon-sun", "mon tue wed thu fri sat sun"),
            ("sat,sun", "sat sun"),
            ("sun, sat", "sat sun"),
            ("fri-mon", "mon fri sat sun"),
            ("wed-tue", "mon tue wed thu fri sat sun"),
            ("mon - tue, thu", "mon tue thu"),
        ];
        for (text, expected) in cases {
            let days = days(text).unwrap();
            let named = NAMES.iter().filter(|(_, day)| days.contains(*day)).map(|(name, _)| *name);
            assert_eq!(named.collect::<Vec<_>>().join(" "), expected, "{text}");
        }
        assert_eq!(days("mon-sun"), Ok(Days::EVERY));
    }

    #[test]
    fn days_that_mean_nothing_are_refused() {
        let cases = [
            ("", "a day is missing"),
            ("mon,", "a day is missing"),
            ("-fri", "a day is missing"),
            ("monday", "`monday` is no day"),
            ("Mon", "`Mon` is no day"),
            ("mon-wed-fri", "`wed-fri` is no day"),
            ("mon fri", "`mon fri` is no day"),
            ("mon-mon", "`mon-mon` begins and ends on the same day"),
            ("mon-fri,fri", "`fri` is named twice"),
        ];
        for (text, expected) in cases {
            assert_eq!(days(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn hours_go_from_one_time_to_another() {
        let midnight = Time::midnight();
        let time = |hour, minute| Time::constant(hour, minute, 0, 0);
        let cases = [
            ("07:00-19:30", (time(7, 0), time(19, 30))),
            ("22:00 - 06:00", (time(22, 0), time(6, 0))),
            ("00:00-24:00", (midnight, midnight)),
            ("07:00-24:00", (time(7, 0), midnight)),
            ("07:00-00:00", (time(7, 0), midnight)),
            ("00:00-23:59", (midnight, time(23, 59))),
        ];
        for (text, expected) in cases {
            assert_eq!(hours_of(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn hours_that_mean_nothing_are_refused() {
        let cases = [
            ("", "these are no hours"),
            ("07:00", "these are no hours"),
            ("7:00-19:00", "`7:00` is no time of day"),
            ("07-19", "`07` is no time of day"),
            ("07:00-19:60", "`19:60` is no time of day"),
            ("07:00-24:01", "`24:01` is no time of day"),
            ("07:00-25:00", "`25:00` is no time of day"),
            ("07:00-19:00:00", "`19:00:00` is no time of day"),
            ("+7:00-19:00", "`+7:00` is no time of day"),
            ("07:00-", "`` is no time of day"),
            ("24:00-06:00", "a window cannot begin where the day ends"),
            ("07:00-07:00", "the window ends where it begins"),
            ("00:00-00:00", "the window ends where it begins"),
        ];
        for (text, expected) in cases {
            assert_eq!(hours_of(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn time_zones_are_in_the_binary() {
        assert!(TimeZoneDatabase::bundled().get("Europe/Berlin").is_ok());
    }
}
