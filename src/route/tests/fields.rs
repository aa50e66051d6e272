//! Field changes.

use std::path::PathBuf;
use std::sync::Arc;

use cosmos_bridge_sink::Operation;
use serde_json::{Value, json};

use super::builders::*;
use crate::config::{LocalSecret, Mask, Path, Route, SecretRef};
use crate::route::{RouteError, Router, Target, TargetKey};

fn order() -> Value {
    json!({"id": "1", "region": "n", "who": {"name": "Zoë", "age": 12}, "items": [{"price": 1}]})
}

fn hashed() -> Mask {
    Mask::Sha256 { salt: SecretRef::Local(LocalSecret::File(PathBuf::from("salt"))) }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(Path, Path)> {
    pairs.iter().map(|(from, to)| (path(from), path(to))).collect()
}

#[test]
fn fields_change_as_configured() {
    let cases = [
        (identity(), order()),
        (
            Route { include: paths(&["/region", "/who/name", "/none"]), ..identity() },
            json!({"id": "1", "region": "n", "who": {"name": "Zoë"}}),
        ),
        (
            Route { include: paths(&["/region", "/who/name", "/who"]), ..identity() },
            json!({"id": "1", "region": "n", "who": {"name": "Zoë", "age": 12}}),
        ),
        (
            Route { exclude: paths(&["/who/age", "/items", "/none", "/region/x"]), ..identity() },
            json!({"id": "1", "region": "n", "who": {"name": "Zoë"}}),
        ),
        (
            Route { rename: pairs(&[("/who", "/items"), ("/none", "/region")]), ..identity() },
            json!({"id": "1", "region": "n", "items": {"name": "Zoë", "age": 12}}),
        ),
        (
            // All renames are of the document before them.
            Route { rename: pairs(&[("/who/name", "/a/b"), ("/a", "/c")]), ..identity() },
            json!({"id": "1", "region": "n", "who": {"age": 12}, "items": [{"price": 1}],
                   "a": {"b": "Zoë"}}),
        ),
        (
            Route { rename: pairs(&[("/who", "/items"), ("/items", "/who")]), ..identity() },
            json!({"id": "1", "region": "n", "who": [{"price": 1}],
                   "items": {"name": "Zoë", "age": 12}}),
        ),
        (
            Route { rename: pairs(&[("/items", "/a"), ("/who", "/items")]), ..identity() },
            json!({"id": "1", "region": "n", "a": [{"price": 1}],
                   "items": {"name": "Zoë", "age": 12}}),
        ),
        (
            Route { rename: pairs(&[("/who", "/items"), ("/items", "/a")]), ..identity() },
            json!({"id": "1", "region": "n", "a": [{"price": 1}],
                   "items": {"name": "Zoë", "age": 12}}),
        ),
        (
            // A field of one that is renamed too.
            Route { rename: pairs(&[("/who", "/a"), ("/who/name", "/a/called")]), ..identity() },
            json!({"id": "1", "region": "n", "items": [{"price": 1}],
                   "a": {"age": 12, "called": "Zoë"}}),
        ),
        (
            Route {
                include: paths(&["/region"]),
                set: vec![(path("/v"), json!([2])), (path("/x/y"), Value::Null)],
                ..identity()
            },
            json!({"id": "1", "region": "n", "v": [2], "x": {"y": null}}),
        ),
        (
            Route {
                include: paths(&["/region", "/who"]),
                mask: vec![
                    (path("/who/name"), hashed()),
                    (path("/who/age"), Mask::Text("***".to_owned())),
                    (path("/none"), hashed()),
                ],
                ..identity()
            },
            json!({"id": "1", "region": "n", "who": {
                "name": "8931cf50d3a952bf46b696419267c81244288769b4c9ad61958c1d4ab33e1905",
                "age": "***",
            }}),
        ),
        (
            Route {
                jq: Some("{id, region, age: .who.age}".to_owned()),
                rename: pairs(&[("/age", "/years")]),
                mask: vec![(path("/years"), hashed())],
                ..identity()
            },
            json!({"id": "1", "region": "n",
                "years": "77fca13426fc59771abcc39d30dfb8cc8df74d23f3b9612b5891b4b24a1b9ed2"}),
        ),
    ];
    for (route, expected) in cases {
        let shown = format!("{route:?}");
        assert_eq!(sent(&routed(route, &["/region"], order())), expected, "{shown}");
    }
}

#[test]
fn what_cannot_be_reached_is_never_passed_on_unchanged() {
    let cases = [
        (
            Route { mask: vec![(path("/items/price"), hashed())], ..identity() },
            "field /items/price cannot be reached, because /items is an array",
        ),
        (
            Route { exclude: paths(&["/items/price"]), ..identity() },
            "field /items/price cannot be reached, because /items is an array",
        ),
        (
            Route { set: vec![(path("/region/x"), json!(1))], ..identity() },
            "field /region/x cannot be reached, because /region is a string",
        ),
        (
            Route { rename: pairs(&[("/who", "/region/x")]), ..identity() },
            "field /region/x cannot be reached, because /region is a string",
        ),
    ];
    for (route, expected) in cases {
        let routed = routed(route, &["/region"], order());
        assert_eq!(reason(&routed), expected);
        assert_eq!(routed.rejected[0].change, upsert(order()));
    }
}

#[test]
fn system_properties_are_stripped_at_the_top_alone() {
    let mut current = order();
    let mut expected = order();
    for name in ["_rid", "_self", "_etag", "_attachments", "_ts"] {
        current[name] = json!("system");
        current["who"][name] = json!("user");
        expected["who"][name] = json!("user");
    }
    for name in ["ttl", "_lsn", "_mine", "_", "__ts", "_TS"] {
        current[name] = json!(5);
        expected[name] = json!(5);
    }
    let route = Route { set: vec![(path("/_ts2"), json!(1))], ..identity() };
    expected["_ts2"] = json!(1);
    assert_eq!(sent(&routed(route, &["/region"], current)), expected);
}

#[test]
fn the_order_is_filter_fields_key_and_id() {
    let route = Route {
        filter: Some(crate::config::Filter::Equals(path("/region"), json!("n"))),
        rename: pairs(&[("/region", "/place")]),
        set: vec![(path("/place"), json!("set"))],
        mask: vec![(path("/place"), Mask::Text("masked".to_owned()))],
        id: Some(template("{/place}-{/key}")),
        ..keyed(vec![from("/key", "/place")])
    };
    let route = Route { set: vec![(path("/key"), json!("old"))], ..route };
    let routed = routed(route, &["/key"], order());
    assert_eq!(summary(&routed.changes), ["+masked-old [masked]"]);
    assert_eq!(sent(&routed)["key"], "masked");
}

#[test]
fn each_route_ends_once_and_equal_results_are_one_document() {
    let never = Route { filter: Some(crate::config::Filter::Any(vec![])), ..identity() };
    let failing = Route { id: Some(template("{/none}")), ..identity() };
    let setting = Route { set: vec![(path("/v"), json!(1))], ..identity() };
    let routes =
        [identity(), failing, keyed(vec![from("/region", "/id")]), never, setting, identity()];
    let routed = router(&routes, &["/region"]).route(upsert(order()), &[]);
    assert_eq!(summary(&routed.changes), ["+1 [n]", "+1 [1]", "+1 [n]", "+1 [n]"]);
    assert_eq!((routed.rejected.len(), routed.filtered), (1, 1));
    assert_eq!(routed.rejected[0].route, 2);
    let documents: Vec<_> = routed
        .changes
        .iter()
        .map(|addressed| match &addressed.change.operation {
            Operation::Upsert { document } => document,
            Operation::Delete { .. } => panic!("no delete"),
        })
        .collect();
    assert!(Arc::ptr_eq(documents[0], documents[3]));
    assert_eq!(documents[0].get("region"), Some(json!("n")));
    assert_eq!(documents[1].get("region"), Some(json!("1")));
    assert_eq!(documents[2].get("v"), Some(json!(1)));
}

#[test]
fn a_salt_that_was_not_read_is_refused() {
    let route = Route { mask: vec![(path("/who"), hashed())], ..identity() };
    let target = |_: &str| {
        Some(Target {
            sink: 0,
            key: TargetKey::Paths(paths(&["/region"])),
            source_field: None,
            is_mirrored: false,
        })
    };
    let error = Router::new(&[route], target, |_| None).err();
    assert_eq!(error, Some(RouteError::Salt { route: 1, path: path("/who") }));
}
