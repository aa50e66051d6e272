//! Quantities with a unit: durations, sizes and budgets. Zero is read here; ranges are refused
//! where the option is known.

use std::time::Duration;

use super::schedule::Amount;

/// `30s`, `500ms`, `1m 30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    number_first(text)?;
    humantime::parse_duration(text).map_err(|error| match error {
        humantime::DurationError::UnknownUnit { unit, .. } if !unit.is_empty() => {
            format!("`{unit}` is no unit of time")
        }
        humantime::DurationError::NumberOverflow => "the duration is too long".to_owned(),
        _ => "this is no duration".to_owned(),
    })
}

/// Bytes: `1.5 MiB`, `64 KiB`, `2 MB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    number_first(text)?;
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start();
    if unit.parse::<bytesize::Unit>().is_err() || !unit.ends_with(['b', 'B']) {
        return Err(format!("`{unit}` is no unit of size"));
    }
    text.parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "this is no size".to_owned())
}

/// `400 RU/s`, `30%`, `unlimited`.
pub(super) fn amount(text: &str) -> Result<Amount, String> {
    if text == "unlimited" {
        return Ok(Amount::Unlimited);
    }
    number_first(text)?;
    let number = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.strip_prefix(number).unwrap_or_default().trim();
    if unit != "RU/s" && unit != "%" {
        return Err(format!("`{unit}` is no unit of a budget"));
    }
    match number.parse::<f64>() {
        Ok(percent) if percent.is_finite() && unit == "%" => Ok(Amount::Share(percent / 100.0)),
        Ok(units) if units.is_finite() => Ok(Amount::Units(units)),
        _ => Err("this is no budget".to_owned()),
    }
}

/// The mistakes that every unit shares: nothing, a sign, a number alone.
fn number_first(text: &str) -> Result<(), String> {
    if text.starts_with('-') {
        Err("this is negative".to_owned())
    } else if !text.starts_with(|c: char| c.is_ascii_digit()) {
        Err("this does not begin with a number".to_owned())
    } else if text.ends_with(|c: char| c.is_ascii_digit()) {
        Err("the unit is missing".to_owned())
    } else {
        Ok(())
    }
}

/// A duration as a person would write it.
pub(super) fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A size as a person would write it.
pub(super) fn size_text(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string().replace(".0 ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_a_number_and_a_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(size("1.5 MiB"), Ok(1_572_864));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("2 MB"), Ok(2_000_000));
        assert_eq!(size("0 B"), Ok(0));
        assert_eq!(amount("400 RU/s"), Ok(Amount::Units(400.0)));
        assert_eq!(amount("2.5RU/s"), Ok(Amount::Units(2.5)));
        assert_eq!(amount("30%"), Ok(Amount::Share(0.3)));
        assert_eq!(amount("12.5 %"), Ok(Amount::Share(0.125)));
        assert_eq!(amount("unlimited"), Ok(Amount::Unlimited));
    }

    #[test]
    fn a_quantity_without_its_unit_is_refused() {
        let cases = [
            (duration("30").err(), "the unit is missing"),
            (duration("").err(), "this does not begin with a number"),
            (duration("-1s").err(), "this is negative"),
            (duration("3 fortnights").err(), "`fortnights` is no unit of time"),
            (duration("3s x").err(), "this is no duration"),
            (duration("99999999999999999999s").err(), "the duration is too long"),
            (size("32").err(), "the unit is missing"),
            (size("32 M").err(), "`M` is no unit of size"),
            (size("32 MiBs").err(), "`MiBs` is no unit of size"),
            (size("1.2.3 MiB").err(), "this is no size"),
            (size("1 000 MiB").err(), "`000 MiB` is no unit of size"),
            (amount("1.2.3%").err(), "this is no budget"),
            (amount("30%%").err(), "`%%` is no unit of a budget"),
            (amount("400").err(), "the unit is missing"),
            (amount("400 RU").err(), "`RU` is no unit of a budget"),
            (amount("400 RU/min").err(), "`RU/min` is no unit of a budget"),
            (amount("4,0 RU/s").err(), "this is no budget"),
        ];
        for (error, expected) in cases {
            assert_eq!(error.as_deref(), Some(expected));
        }
    }
}
