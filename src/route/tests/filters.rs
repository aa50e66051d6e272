//! `where`.

use serde_json::{Value, json};

use super::builders::*;
use crate::config::{Filter, Route};

fn passes(filter: Filter, field: &Value) -> bool {
    let mut current = json!({"id": "1", "region": "n", "a": {"b": field}});
    if current["a"]["b"] == json!("MISSING") {
        current["a"] = json!({});
    }
    let routed = routed(Route { filter: Some(filter), ..identity() }, &["/region"], current);
    assert!(routed.rejected.is_empty(), "{routed:?}");
    assert_eq!(routed.changes.len() + routed.filtered, 1);
    routed.filtered == 0
}

#[test]
fn comparisons_pass_what_they_say() {
    use Filter::{Equals, Exists, In, NotEquals, StartsWith};
    let at = || path("/a/b");
    let start = || StartsWith(at(), "ab".to_owned());
    let cases = [
        (Equals(at(), json!("x")), json!("x"), true),
        (Equals(at(), json!("x")), json!("X"), false),
        (Equals(at(), json!(1)), json!(1.0), true),
        (Equals(at(), json!(1)), json!("1"), false),
        (Equals(at(), json!(9_007_199_254_740_993_i64)), json!(9_007_199_254_740_992_i64), false),
        (Equals(at(), json!([1, {"c": 2.0}])), json!([1.0, {"c": 2}]), true),
        (Equals(at(), json!([1, 2])), json!([1]), false),
        (Equals(at(), Value::Null), Value::Null, true),
        (Equals(at(), Value::Null), json!("MISSING"), false),
        (NotEquals(at(), json!("x")), json!("y"), true),
        (NotEquals(at(), json!("x")), json!("x"), false),
        (NotEquals(at(), json!("x")), json!("MISSING"), true),
        (In(at(), vec![json!(1), json!("x")]), json!("x"), true),
        (In(at(), vec![json!(1), json!("x")]), json!(2), false),
        (In(at(), vec![]), json!(2), false),
        (Exists(at(), true), Value::Null, true),
        (Exists(at(), true), json!("MISSING"), false),
        (Exists(at(), false), json!("MISSING"), true),
        (start(), json!("abc"), true),
        (start(), json!("a"), false),
        (start(), json!(12), false),
    ];
    for (filter, field, expected) in cases {
        let shown = format!("{filter:?} {field}");
        assert_eq!(passes(filter, &field), expected, "{shown}");
    }
}

#[test]
fn combinations_and_jq_pass_what_they_say() {
    let yes = || Filter::Exists(path("/id"), true);
    let no = || Filter::Exists(path("/id"), false);
    let jq = |text: &str| Filter::Jq(text.to_owned());
    let cases = [
        (Filter::All(vec![]), true),
        (Filter::Any(vec![]), false),
        (Filter::All(vec![yes()]), true),
        (Filter::All(vec![yes(), yes()]), true),
        (Filter::All(vec![yes(), no()]), false),
        (Filter::All(vec![no(), yes()]), false),
        (Filter::Any(vec![no(), yes()]), true),
        (Filter::Any(vec![yes(), no()]), true),
        (Filter::Any(vec![no(), no()]), false),
        (Filter::Not(Box::new(no())), true),
        (Filter::Not(Box::new(yes())), false),
        (jq(".a.b == 5"), true),
        (jq(".a.b == 5, error"), true),
        (jq("empty"), false),
        (jq("null"), false),
        (jq("false, true"), false),
        (jq("0"), true),
    ];
    for (filter, expected) in cases {
        let shown = format!("{filter:?}");
        assert_eq!(passes(filter, &json!(5)), expected, "{shown}");
    }
}

#[test]
fn a_path_does_not_reach_into_arrays() {
    let filter = Filter::Exists(path("/a/b/0"), true);
    assert!(!passes(filter, &json!([1])));
}

#[test]
fn a_filter_that_fails_rejects() {
    let route = Route { filter: Some(Filter::Jq(".region + 1".to_owned())), ..identity() };
    let routed = routed(route, &["/region"], json!({"id": "1", "region": "secret"}));
    assert_eq!(
        reason(&routed),
        "the jq expression fails: cannot calculate with values of these types"
    );
}
