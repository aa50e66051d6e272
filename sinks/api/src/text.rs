//! JSON values as text.

use serde_json::Value;

/// Whole numbers below this are exact in the service's doubles.
const EXACT_BELOW: f64 = 9_007_199_254_740_992.0; // 2^53

/// The type of a value, with its article.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The value as text in a composed key or id; `None` for objects and arrays.
pub fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(_) | Value::Array(_) => None,
        scalar => Some(json_text(scalar)),
    }
}

/// The JSON text of a value, without spaces and with sorted names.
///
/// A whole number below 2^53 has no fraction: `1`, `1.0` and `1e0` are one number to the service and
/// have one text. The text is hashed for buckets and masks, so it must never change.
pub fn json_text(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if is_exact_whole(number) => whole_text(number),
        _ => value.to_string(),
    }
}

/// True if the double is a whole number that no other whole number rounds to.
pub fn is_exact_whole(number: f64) -> bool {
    number.abs() < EXACT_BELOW && number.fract() == 0.0
}

/// True if the double may be the rounding of another whole number.
pub fn may_be_rounded(number: f64) -> bool {
    number.abs() >= EXACT_BELOW
}

fn whole_text(number: f64) -> String {
    // Adding zero turns -0 into 0; both are the same key to the service.
    format!("{:.0}", number + 0.0)
}

/// The JSON number of a key's double: whole numbers become integers.
pub fn number(value: f64) -> Value {
    if is_exact_whole(value) {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        return Value::from(value as i64);
    }
    Value::from(value)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{EXACT_BELOW, json_text, may_be_rounded, number, plain_text};

    /// Buckets and masks are hashes of these texts: this test fails if they change.
    #[test]
    fn numbers_that_are_one_to_the_service_have_one_text() {
        for (json, text) in [
            ("1", "1"),
            ("1.0", "1"),
            ("1e0", "1"),
            ("0", "0"),
            ("-0.0", "0"),
            ("-17.0", "-17"),
            ("0.5", "0.5"),
            ("-1.25", "-1.25"),
            ("9007199254740991", "9007199254740991"),
            ("9007199254740991.0", "9007199254740991"),
            // Other whole numbers round to this double, so each stays as it was written.
            ("9007199254740993", "9007199254740993"),
            ("9007199254740992.0", "9007199254740992.0"),
            ("1e300", "1e+300"),
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            assert_eq!(json_text(&value), text, "{json}");
            assert_eq!(plain_text(&value).as_deref(), Some(text), "{json}");
        }
    }

    #[test]
    fn only_whole_numbers_that_are_exact_become_integers() {
        for (double, json, is_rounded) in [
            (0.0, "0", false),
            (-3.0, "-3", false),
            (0.5, "0.5", false),
            (EXACT_BELOW - 1.0, "9007199254740991", false),
            (1.0 - EXACT_BELOW, "-9007199254740991", false),
            (EXACT_BELOW, "9007199254740992.0", true),
            (-EXACT_BELOW, "-9007199254740992.0", true),
        ] {
            assert_eq!(number(double).to_string(), json);
            assert_eq!(may_be_rounded(double), is_rounded, "{double}");
        }
    }
}
