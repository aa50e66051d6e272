//! The kind of `budget`: an amount, or a table with a schedule.

use cosmos_bridge_options::{
    Form, Kind, Table, Value, closest, kind, number_first, options, quantity, some, table,
    table_like, within,
};
use jiff::civil::{Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::schedule::{Amount, Budget, Days, Schedule, Window};

const WINDOW: &str = "Write { days = \"mon-fri\", hours = \"07:00-19:00\", budget = \"20%\" }.";
const DAYS: &str =
    "Write days like \"mon-fri\" or \"sat,sun\", from mon, tue, wed, thu, fri, sat and sun.";
const HOURS: &str =
    "Write hours like \"07:00-19:00\" or \"22:00-06:00\"; a whole day is \"00:00-24:00\".";
/// In the order of a week.
const NAMES: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

options! {
    /// A share that follows the clock: the first window that contains the moment holds, and `otherwise`
    /// outside of all.
    struct BudgetTable {
        /// The budget outside of all windows.
        otherwise: Amount = required(
            "Write what holds outside the schedule: otherwise = \"400 RU/s\"."
        ), amount();
        /// The IANA name of the time zone of the hours.
        time_zone: Option<TimeZone> = optional, time_zone(), example "Europe/Berlin";
        /// Windows, with their budgets.
        schedule: Option<Vec<WindowTable>> = optional,
            some(table_like("a window", WINDOW), WINDOW);
    }
    rules(table) {
        schedule_is_whole(table);
    }
}

options! {
    struct WindowTable {
        /// mon, tue, wed, thu, fri, sat and sun: "mon-fri", "sat,sun".
        days: Days = "mon-sun", kind(
            Form::pattern("days", "^[a-z]{3}"),
            |value: &Value<'_>| quantity(value, "days", DAYS, days)
        );
        /// Hours may pass midnight: "22:00-06:00" belongs to the day on which it begins.
        hours: (Time, Time) = required(HOURS), kind(
            Form::pattern("hours", "^[0-9]{2}:[0-9]{2} *- *[0-9]{2}:[0-9]{2}$"),
            |value: &Value<'_>| quantity(value, "hours", HOURS, hours_of)
        );
        /// The budget in these hours.
        budget: Amount = required("Write what holds in these hours: budget = \"20%\"."), amount();
    }
}

pub(super) fn budget() -> impl Kind<Output = Budget> {
    let form = Form::Either(vec![amount().form(), table::<BudgetTable>().form()]);
    kind(form, |value| {
        if !value.node().is_table() {
            return amount().read(value).map(Budget::from);
        }
        let BudgetTable { otherwise, time_zone, schedule } = table().read(value)?;
        let windows = schedule.unwrap_or_default().into_iter().map(|window| {
            let WindowTable { days, hours: (from, to), budget: amount } = window;
            Window { days, from, to, amount }
        });
        let windows: Vec<Window> = windows.collect();
        let schedule = time_zone.map(|time_zone| Schedule { time_zone, windows });
        Some(Budget { otherwise, schedule })
    })
}

fn schedule_is_whole(table: &Table<'_>) {
    match (table.get("schedule"), table.get("time_zone")) {
        (Some(_), None) => {
            let hint = "Write the time zone of the hours: time_zone = \"Europe/Berlin\".";
            table.required("time_zone", hint);
        }
        // An unknown key is probably the schedule.
        (None, Some(zone)) if !table.has_unknown() => {
            let hint = "Write a schedule too, or remove `time_zone`.";
            zone.problem("a time zone means nothing without a schedule", hint);
        }
        _ => {}
    }
}

/// `400 RU/s`, `30%`, `unlimited`.
fn amount() -> impl Kind<Output = Amount> {
    const HINT: &str =
        "Write \"400 RU/s\", \"30%\" of what the container has provisioned, or \"unlimited\".";
    const PATTERN: &str = "^(unlimited|[0-9]+(\\.[0-9]+)? *(RU/s|%))$";
    let words = "\"unlimited\", request units per second \"400 RU/s\", or a share \"30%\"";
    kind(Form::pattern(words, PATTERN), |value| {
        match quantity(value, "a budget", HINT, read_amount)? {
            // A point read costs one request unit: less than one per second reads nothing.
            Amount::Units(units) => {
                within(value, units, &(1.0..=1e9), |units| format!("{units} RU/s"))
                    .map(Amount::Units)
            }
            Amount::Share(share) if share <= 0.0 || share > 1.0 => {
                let message =
                    if share > 1.0 { "the value is too large" } else { "the value is too small" };
                value.problem(message, "Write more than \"0%\" and at most \"100%\".");
                None
            }
            amount => Some(amount),
        }
    })
}

/// `32 RU/s`.
pub(super) fn request_rate() -> impl Kind<Output = f64> {
    const HINT: &str = "Write request units per second: \"32 RU/s\".";
    let form = Form::pattern("request units per second \"32 RU/s\"", "^[0-9]+(\\.[0-9]+)? *RU/s$");
    kind(form, |value| match quantity(value, "a rate", HINT, read_amount)? {
        Amount::Units(units) => within(value, units, &(0.1..=1e9), |units| format!("{units} RU/s")),
        Amount::Share(_) | Amount::Unlimited => {
            value.problem("this is not a rate", HINT);
            None
        }
    })
}

fn read_amount(text: &str) -> Result<Amount, String> {
    if text == "unlimited" {
        return Ok(Amount::Unlimited);
    }
    number_first(text)?;
    let number = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.strip_prefix(number).unwrap_or_default().trim();
    if unit != "RU/s" && unit != "%" {
        return Err(format!("unknown unit of a budget `{unit}`"));
    }
    match number.parse::<f64>() {
        Ok(percent) if percent.is_finite() && unit == "%" => Ok(Amount::Share(percent / 100.0)),
        Ok(units) if units.is_finite() => Ok(Amount::Units(units)),
        _ => Err("invalid budget".to_owned()),
    }
}

fn time_zone() -> impl Kind<Output = TimeZone> {
    kind(Form::text("the IANA name of a time zone"), read_time_zone)
}

/// The machine's own rules come first, since they may be newer than those in the binary.
fn read_time_zone(value: &Value<'_>) -> Option<TimeZone> {
    const HINT: &str = "Write the IANA name of a time zone: \"Europe/Berlin\".";
    let name = value.text_like("a time zone", HINT)?;
    let found = TimeZone::get(name).or_else(|_| TimeZoneDatabase::bundled().get(name));
    // `Etc/Unknown` is a name, but no time zone.
    let found = found.ok().filter(|zone| !zone.is_unknown());
    if found.is_none() {
        let known: Vec<String> =
            TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = closest(name, &known);
        let hint = hint.map_or(HINT.to_owned(), |name| format!("Did you mean `{name}`?"));
        value.problem("unknown time zone", hint);
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
        text => format!("unknown day `{text}`"),
    })
}

/// `07:00-19:00`; 24:00 is the midnight that ends a day.
fn hours_of(text: &str) -> Result<(Time, Time), String> {
    let Some((from, to)) = text.split_once('-') else {
        return Err("invalid hours".to_owned());
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
        .ok_or_else(|| format!("invalid time of day `{text}`"))
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
            ("monday", "unknown day `monday`"),
            ("Mon", "unknown day `Mon`"),
            ("mon-wed-fri", "unknown day `wed-fri`"),
            ("mon fri", "unknown day `mon fri`"),
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
            ("", "invalid hours"),
            ("07:00", "invalid hours"),
            ("7:00-19:00", "invalid time of day `7:00`"),
            ("07-19", "invalid time of day `07`"),
            ("07:00-19:60", "invalid time of day `19:60`"),
            ("07:00-24:01", "invalid time of day `24:01`"),
            ("07:00-25:00", "invalid time of day `25:00`"),
            ("07:00-19:00:00", "invalid time of day `19:00:00`"),
            ("+7:00-19:00", "invalid time of day `+7:00`"),
            ("07:00-", "invalid time of day ``"),
            ("24:00-06:00", "a window cannot begin where the day ends"),
            ("07:00-07:00", "the window ends where it begins"),
            ("00:00-00:00", "the window ends where it begins"),
        ];
        for (text, expected) in cases {
            assert_eq!(hours_of(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_amount_has_a_number_and_a_unit() {
        assert_eq!(read_amount("400 RU/s"), Ok(Amount::Units(400.0)));
        assert_eq!(read_amount("2.5RU/s"), Ok(Amount::Units(2.5)));
        assert_eq!(read_amount("30%"), Ok(Amount::Share(0.3)));
        assert_eq!(read_amount("12.5 %"), Ok(Amount::Share(0.125)));
        assert_eq!(read_amount("unlimited"), Ok(Amount::Unlimited));
        let cases = [
            ("1.2.3%", "invalid budget"),
            ("30%%", "unknown unit of a budget `%%`"),
            ("400", "the unit is missing"),
            ("400 RU", "unknown unit of a budget `RU`"),
            ("400 RU/min", "unknown unit of a budget `RU/min`"),
            ("4,0 RU/s", "invalid budget"),
        ];
        for (text, expected) in cases {
            assert_eq!(read_amount(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn time_zones_are_in_the_binary() {
        assert!(TimeZoneDatabase::bundled().get("Europe/Berlin").is_ok());
    }
}
