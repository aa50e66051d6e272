//! Quantities with a unit: durations and sizes. Ranges are checked by the option's kind.

use std::time::Duration;

/// `30s`, `500ms`, `1m 30s`.
pub(crate) fn read_duration(text: &str) -> Result<Duration, String> {
    number_first(text)?;
    humantime::parse_duration(text).map_err(|error| match error {
        humantime::DurationError::UnknownUnit { unit, .. } if !unit.is_empty() => {
            format!("unknown unit of time `{unit}`")
        }
        humantime::DurationError::NumberOverflow => "the duration is too long".to_owned(),
        _ => "invalid duration".to_owned(),
    })
}

/// Bytes: `1.5 MiB`, `64 KiB`, `2 MB`.
pub(crate) fn read_size(text: &str) -> Result<u64, String> {
    number_first(text)?;
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start();
    if unit.parse::<bytesize::Unit>().is_err() || !unit.ends_with(['b', 'B']) {
        return Err(format!("unknown unit of size `{unit}`"));
    }
    text.parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "invalid size".to_owned())
}

/// Rejects what is wrong for every unit: empty text, a sign, a number without a unit.
pub fn number_first(text: &str) -> Result<(), String> {
    if text.starts_with('-') {
        Err("negative value".to_owned())
    } else if !text.starts_with(|c: char| c.is_ascii_digit()) {
        Err("the value does not begin with a number".to_owned())
    } else if text.ends_with(|c: char| c.is_ascii_digit()) {
        Err("the unit is missing".to_owned())
    } else {
        Ok(())
    }
}

/// A duration as it is written in the file.
pub fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A size as it is written in the file.
pub fn size_text(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string().replace(".0 ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_a_number_and_a_unit() {
        assert_eq!(read_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(read_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(read_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(read_size("1.5 MiB"), Ok(1_572_864));
        assert_eq!(read_size("64KiB"), Ok(65_536));
        assert_eq!(read_size("2 MB"), Ok(2_000_000));
        assert_eq!(read_size("0 B"), Ok(0));
    }

    #[test]
    fn a_quantity_without_its_unit_is_refused() {
        let cases = [
            (read_duration("30").err(), "the unit is missing"),
            (read_duration("").err(), "the value does not begin with a number"),
            (read_duration("-1s").err(), "negative value"),
            (read_duration("3 fortnights").err(), "unknown unit of time `fortnights`"),
            (read_duration("3s x").err(), "invalid duration"),
            (read_duration("99999999999999999999s").err(), "the duration is too long"),
            (read_size("32").err(), "the unit is missing"),
            (read_size("32 M").err(), "unknown unit of size `M`"),
            (read_size("32 MiBs").err(), "unknown unit of size `MiBs`"),
            (read_size("1.2.3 MiB").err(), "invalid size"),
            (read_size("1 000 MiB").err(), "unknown unit of size `000 MiB`"),
        ];
        for (error, expected) in cases {
            assert_eq!(error.as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_quantity_is_shown_as_it_is_written() {
        for text in ["0s", "500ms", "30s", "1m 30s", "1h", "31days"] {
            let duration = read_duration(text).unwrap();
            assert_eq!(read_duration(&duration_text(duration)), Ok(duration), "{text}");
        }
        for text in ["0 B", "512 B", "64 KiB", "1.5 MiB", "2 TiB"] {
            let size = read_size(text).unwrap();
            assert_eq!(read_size(&size_text(size)), Ok(size), "{text}");
        }
    }
}
