//! Awkward documents come through unchanged.

use cosmos_bridge_sink::Operation;
use serde_json::Value;

use super::builders::*;
use crate::config::Route;

/// Name, text.
const DOCUMENTS: [(&str, &str); 7] = [
    ("integers", include_str!("../../../tests/fixtures/documents/integers.json")),
    ("floats", include_str!("../../../tests/fixtures/documents/floats.json")),
    ("text", include_str!("../../../tests/fixtures/documents/text.json")),
    ("empty", include_str!("../../../tests/fixtures/documents/empty.json")),
    ("deep", include_str!("../../../tests/fixtures/documents/deep.json")),
    ("names", include_str!("../../../tests/fixtures/documents/names.json")),
    ("odd-id", include_str!("../../../tests/fixtures/documents/odd-id.json")),
];

/// Every number as it is written in the document, in order.
fn numbers(text: &str) -> Vec<&str> {
    let mut quoted = false;
    let mut escaped = false;
    let outside = |character: char| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        quoted || !matches!(character, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')
    };
    let words = text.split(outside);
    words.filter(|word| word.contains(|digit: char| digit.is_ascii_digit())).collect()
}

#[test]
fn awkward_documents_pass_every_kind_of_route_unchanged() {
    let jq = |expression: &str| Route { jq: Some(expression.to_owned()), ..identity() };
    let set = Route { set: vec![(path("/region"), "north".into())], ..identity() };
    for (name, text) in DOCUMENTS {
        let read: Value = serde_json::from_str(text).unwrap();
        let routes = [identity(), keyed(vec![from("/region", "/region")]), set.clone()];
        for route in routes.into_iter().chain([jq("."), jq("walk(.)")]) {
            let written = sent(&routed(route, &["/region"], read.clone()));
            assert_eq!(written, read, "{name}");
            assert_eq!(written.to_string(), read.to_string(), "{name}");
        }
    }
}

#[test]
fn numbers_are_written_as_they_were_read() {
    for (name, text) in DOCUMENTS {
        let written = sent(&routed(identity(), &["/region"], serde_json::from_str(text).unwrap()));
        let written = written.to_string();
        let (mut before, mut after) = (numbers(text), numbers(&written));
        before.sort_unstable();
        after.sort_unstable();
        assert_eq!(before, after, "{name}");
    }
}

#[test]
fn numbers_written_otherwise_keep_their_value() {
    let cases = [
        ("1e3", "1000.0"),
        ("1E+2", "100.0"),
        ("1.50", "1.5"),
        ("-0", "-0.0"),
        ("18446744073709551616", "1.8446744073709552e+19"),
        ("0.1000000000000000055511151231257827", "0.1"),
    ];
    for (text, expected) in cases {
        let read: Value =
            serde_json::from_str(&format!(r#"{{"id":"1","region":"n","n":{text}}}"#)).unwrap();
        let written = sent(&routed(identity(), &["/region"], read));
        assert_eq!(written["n"].to_string(), expected, "{text}");
    }
}

#[test]
fn of_a_repeated_name_the_last_value_stays() {
    let read = serde_json::from_str(r#"{"id":"1","region":"n","a":1,"a":2}"#).unwrap();
    assert_eq!(sent(&routed(identity(), &["/region"], read))["a"], 2);
}

#[test]
fn nesting_deeper_than_the_service_allows_is_no_matter() {
    let deep = (0..200).fold(Value::Null, |inner, level| match level % 2 {
        0 => serde_json::json!([inner]),
        _ => serde_json::json!({ "in": inner }),
    });
    let read = serde_json::json!({"id": "1", "region": "north", "deep": deep});
    let set = Route { set: vec![(path("/region"), "north".into())], ..identity() };
    for route in [identity(), set] {
        let routed = routed(route, &["/region"], read.clone());
        let [addressed] = routed.changes.as_slice() else { panic!("{routed:?}") };
        let Operation::Upsert { document } = &addressed.change.operation else { panic!("upsert") };
        let text = String::from_utf8(document.text()).unwrap();
        assert!(text.contains(&read["deep"].to_string()), "{text}");
        assert_eq!(document.get("id"), Some("1".into()));
    }
}
