//! jq expressions: exactness, failures, and what is not defined.

use serde_json::{Value, json};

use super::builders::*;
use crate::config::{self, Filter, Path, Route};
use crate::route::{RouteError, Routed, Router};

fn through(expression: &str, current: Value) -> Routed {
    let route = Route { jq: Some(expression.to_owned()), ..identity() };
    routed(route, &["/region"], current)
}

fn order() -> Value {
    json!({"id": "1", "region": "n", "secret": "hunter2", "n": 5})
}

#[test]
fn jq_makes_the_document() {
    let cases = [
        ("{id, region}", json!({"id": "1", "region": "n"})),
        ("del(.secret) | .n += 1", json!({"id": "1", "region": "n", "n": 6})),
        (
            "{id, region, up: (.secret | ascii_upcase)}",
            json!({"id": "1", "region": "n", "up": "HUNTER2"}),
        ),
        ("{region}", json!({"id": "1", "region": "n"})),
        ("{id: \"2\", region}", json!({"id": "2", "region": "n"})),
        (
            "{id, region, half: (.n / 2), lit: 1.5, sci: 1e3}",
            json!({
                "id": "1", "region": "n", "half": 2.5, "lit": 1.5, "sci": 1000.0
            }),
        ),
    ];
    for (expression, expected) in cases {
        assert_eq!(sent(&through(expression, order())), expected, "{expression}");
    }
}

#[test]
fn no_output_filters_and_other_outputs_are_rejected_without_their_contents() {
    assert_eq!(through("empty", order()).filtered, 1);
    assert_eq!(through("select(.n > 5)", order()).filtered, 1);
    let cases = [
        (".secret", "the jq expression returns a string, not an object"),
        ("[.]", "the jq expression returns an array, not an object"),
        ("., .", "the jq expression returns more than one document"),
        ("., error(.secret)", "the jq expression fails: it raises an error"),
        ("error(.secret)", "the jq expression fails: it raises an error"),
        ("error", "the jq expression fails: it raises an error"),
        ("error(\"no price\")", "the jq expression raises \"no price\""),
        (".secret[0]", "the jq expression fails: cannot index a value of this type"),
        (".secret - 1", "the jq expression fails: cannot calculate with values of these types"),
        (".n | ascii_downcase", "the jq expression fails: cannot use a value as string"),
        (".n | .[]", "the jq expression fails: cannot use a value as iterable (array or object)"),
        (".secret | fromjson", "the jq expression fails: cannot parse a string"),
        ("(.n | . + 1) |= 2", "the jq expression fails: invalid path expression"),
        (".x = nan", "the jq expression returns a number that is not finite"),
        (".x = infinite", "the jq expression returns a number that is not finite"),
        (
            ".x = (.secret | tobytes)",
            "the jq expression returns bytes, which JSON cannot represent",
        ),
        (". + {(.n): 1}", "the jq expression returns an object with a key that is not a string"),
        ("break", ""),
    ];
    for (expression, expected) in cases {
        if expected.is_empty() {
            continue;
        }
        let routed = through(expression, order());
        assert_eq!(reason(&routed), expected, "{expression}");
        assert!(!reason(&routed).contains("hunter2"));
    }
}

#[test]
fn numbers_and_texts_go_through_jq_exactly() {
    let values = json!([
        0,
        -1,
        9_007_199_254_740_991_i64,
        9_007_199_254_740_993_i64,
        i64::MAX,
        i64::MIN,
        u64::MAX,
        0.1,
        1.0,
        -0.5,
        1e300,
        5e-324,
        1.797_693_134_862_315_7e308,
        0.300_000_000_000_000_04,
        123_456_789_012_345.67,
        "",
        "\u{0}\u{1f}\"\\/",
        "Zoë 😀 \u{2028}",
        null,
        true,
        [],
        {},
        [[]],
    ]);
    for expression in [".", ".x = 1 | del(.x)", "walk(.)", "with_entries(.)", ".all |= map(.)"] {
        let current = json!({"id": "1", "region": "n", "all": values});
        let document = sent(&through(expression, current.clone()));
        assert_eq!(document.to_string(), current.to_string(), "{expression}");
    }
}

#[test]
fn integers_keep_their_digits_in_calculations() {
    let cases = [
        (".n * 1", json!(u64::MAX), json!(u64::MAX)),
        (".n - 1", json!(u64::MAX), json!(u64::MAX - 1)),
        (".n + 1", json!(i64::MAX), json!(9_223_372_036_854_775_808_u64)),
        (".n + 1", json!(u64::MAX), json!(18_446_744_073_709_551_616.0)),
        (".n - 1", json!(i64::MIN), json!(-9_223_372_036_854_775_809.0)),
        ("18446744073709551615", json!(0), json!(u64::MAX)),
        (".n | tojson", json!(9_007_199_254_740_993_i64), json!("9007199254740993")),
    ];
    for (expression, n, expected) in cases {
        let current = json!({"id": "1", "region": "n", "n": n});
        let document = sent(&through(&format!(".n = ({expression})"), current));
        assert_eq!(document["n"], expected, "{expression} of {n}");
    }
}

#[test]
fn documents_too_deep_for_jq_are_rejected_and_others_pass() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let current = |levels| json!({"id": "1", "region": "n", "deep": nested(levels)});
    for expression in [".", "walk(.)", "[..] | .[0]", "tojson | fromjson"] {
        let document = sent(&through(expression, current(120)));
        assert_eq!(document, current(120), "{expression}");
    }
    let reason = |levels| reason(&through(".", current(levels))).to_owned();
    assert!(reason(200).starts_with("the route's jq needs the whole document"), "{}", reason(200));
}

/// What follows jq cannot look into a field that is too deep to be parsed, and must not pass it by.
#[test]
fn fields_that_jq_nests_too_deep_are_hidden_or_changed_by_no_later_step() {
    let deep = ".w = {secret, d: (reduce range(200) as $i (1; [.]))}";
    let path = |text: &str| Path::parse(text).unwrap();
    let (w, nested) = (path("/w"), path("/w/secret"));
    let mask = || config::Mask::Text("*".to_owned());
    let cases = [
        ("exclude below", Route { exclude: vec![nested.clone()], ..identity() }, true),
        ("exclude", Route { exclude: vec![w.clone()], ..identity() }, false),
        ("mask below", Route { mask: vec![(nested.clone(), mask())], ..identity() }, true),
        ("mask", Route { mask: vec![(w.clone(), mask())], ..identity() }, true),
        ("rename", Route { rename: vec![(w.clone(), path("/v"))], ..identity() }, true),
        ("rename below", Route { rename: vec![(nested.clone(), path("/v"))], ..identity() }, true),
        ("set below", Route { set: vec![(nested.clone(), json!(1))], ..identity() }, true),
        ("set", Route { set: vec![(w.clone(), json!(1))], ..identity() }, false),
        ("include below", Route { include: vec![nested, path("/region")], ..identity() }, true),
        ("nothing", identity(), false),
    ];
    for (step, route, is_rejected) in cases {
        let route = Route { jq: Some(deep.to_owned()), ..route };
        let routed = routed(route, &["/region"], order());
        if is_rejected {
            let reason = reason(&routed);
            assert!(reason.ends_with("because /w cannot be parsed"), "{step}: {reason}");
        } else {
            assert_eq!((routed.changes.len(), routed.rejected.len()), (1, 0), "{step}");
        }
    }
}

/// One step that nests a field too deep, and one that writes into it.
#[test]
fn a_field_that_a_route_nests_too_deep_is_not_overwritten() {
    let nested = (0..126).fold(json!(1), |inner, _| json!([inner]));
    let current = json!({"id": "1", "region": "n", "w": {"keep": 1}, "a": nested, "b": 2});
    let rename = [("/a", "/w/p/q"), ("/b", "/w/s/t")]
        .map(|(from, to)| (Path::parse(from).unwrap(), Path::parse(to).unwrap()));
    let route = Route { rename: rename.to_vec(), ..identity() };
    let routed = routed(route, &["/region"], current);
    assert!(reason(&routed).ends_with("because /w cannot be parsed"), "{}", reason(&routed));
}

#[test]
fn expressions_that_reach_out_of_the_document_do_not_compile() {
    for expression in [
        "",
        ".a |",
        "nonsense",
        "now",
        "env",
        "$ENV",
        "input",
        "inputs",
        "debug",
        "stderr",
        "halt",
        "halt_error",
        "localtime",
        "strflocaltime(\"%H\")",
        "include \"a\"; .",
        "$__loc__",
    ] {
        let transform = Route { jq: Some(expression.to_owned()), ..identity() };
        let filter = Route { filter: Some(Filter::Jq(expression.to_owned())), ..identity() };
        for route in [transform, filter] {
            let error = try_router(&[route], &["/region"]).err();
            assert!(matches!(error, Some(RouteError::Jq { route: 1, .. })), "{expression}");
        }
    }
}

#[test]
fn a_router_serves_any_number_of_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let route = Route { jq: Some(".n += 1".to_owned()), ..identity() };
    let router: Router = router(&[route], &["/region"]);
    shared(&router);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let routed = router.route(upsert(order()), &[]);
                    assert_eq!(sent(&routed)["n"], 6);
                }
            });
        }
    });
}
