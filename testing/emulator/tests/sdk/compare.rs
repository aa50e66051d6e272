//! Reports in one form, and where two of them differ.

use serde_json::{Map, Value};

/// One form for every number, and one order for rows whose order the service leaves open.
pub(crate) fn canonical(mut report: Value, given: &Value) -> Value {
    if let Some(answers) = report.get_mut("queries").and_then(Value::as_object_mut) {
        for query in given["queries"].as_array().into_iter().flatten() {
            let name = query["name"].as_str().unwrap_or_default();
            let ordered = query["ordered"] == true;
            if let Some(rows) = answers.get_mut(name).and_then(Value::as_array_mut)
                && !ordered
            {
                for row in rows.iter_mut() {
                    *row = numbers(row.take());
                }
                rows.sort_by_key(Value::to_string);
            }
        }
    }
    numbers(report)
}

/// Whole numbers that a double holds exactly become integers: `1.0` and `1` are one JSON number.
fn numbers(value: Value) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "within the exact range")]
            Some(double) if double.fract() == 0.0 && double.abs() < EXACT => (double as i64).into(),
            _ => Value::Number(number),
        },
        Value::Array(values) => values.into_iter().map(numbers).collect(),
        Value::Object(object) => object
            .into_iter()
            .map(|(name, value)| (name, numbers(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

/// Every place where two values differ, with both sides.
pub(crate) fn differences(left: &Value, right: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(left, right, "", &mut found);
    found
}

fn compare(left: &Value, right: &Value, path: &str, found: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            for name in a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))) {
                match (a.get(name), b.get(name)) {
                    (Some(left), Some(right)) => {
                        compare(left, right, &format!("{path}/{name}"), found);
                    }
                    (left, right) => found.push(format!("{path}/{name}: {left:?} and {right:?}")),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (left, right)) in a.iter().zip(b).enumerate() {
                compare(left, right, &format!("{path}/{index}"), found);
            }
        }
        _ if left == right => {}
        _ => found.push(format!("{path}: {left} and {right}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_is_found_wherever_it_is() {
        let base = json!({"a": [1, {"b": "x"}], "c": null});
        assert!(differences(&base, &base).is_empty());
        for (other, path) in [
            (json!({"a": [1, {"b": "y"}], "c": null}), "/a/1/b"),
            (json!({"a": [1], "c": null}), "/a"),
            (json!({"a": [1, {"b": "x"}]}), "/c"),
            (json!({"a": [1, {"b": "x"}], "c": null, "d": 0}), "/d"),
        ] {
            let found = differences(&base, &other);
            assert!(matches!(found.as_slice(), [one] if one.starts_with(&format!("{path}:"))));
        }
    }

    #[test]
    fn forms_of_one_number_are_equal_and_other_numbers_are_not() {
        let form = |text: &str| canonical(serde_json::from_str(text).unwrap(), &json!({}));
        assert_eq!(form("[1e3, 1.0, 1e21]"), form("[1000, 1, 1000000000000000000000.0]"));
        assert_ne!(form("0.1"), form("0.10000000000000002"));
        assert_ne!(form("9007199254740993"), form("9007199254740992"));
    }
}
