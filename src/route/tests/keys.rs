//! Partition keys, ids and key moves.

use serde_json::{Value, json};

use super::builders::*;
use crate::config::{KeyRule, Route};
use crate::model::Event;
use crate::route::RouteError;

use cosmos_bridge_sink::KeyValue;

fn order() -> Value {
    json!({
        "id": "1", "region": "north", "tenant": {"id": 12}, "total": 9.5, "paid": true,
        "note": null, "tags": [], "big": 1_234_567_890_123_456_789_u64,
    })
}

#[test]
fn key_values_come_from_their_rules_and_stand_in_the_document() {
    let cases: Vec<(KeyRule, KeyValue, Value)> = vec![
        (keep("/region"), text("north"), json!("north")),
        (keep("/tenant/id"), KeyValue::Number(12.0), json!(12)),
        (keep("/note"), KeyValue::Null, Value::Null),
        (from("/key", "/tenant/id"), KeyValue::Number(12.0), json!(12)),
        (from("/key", "/total"), KeyValue::Number(9.5), json!(9.5)),
        (from("/key", "/paid"), KeyValue::Bool(true), json!(true)),
        (from("/a/b/c", "/region"), text("north"), json!("north")),
        (from("/tenant/region", "/region"), text("north"), json!("north")),
        (composed("/key", "{/region}-{/tenant/id}"), text("north-12"), json!("north-12")),
        (
            composed("/key", "{/paid}/{/note}/{/total}"),
            text("true/null/9.5"),
            json!("true/null/9.5"),
        ),
        (composed("/key", "{/big}"), text("1234567890123456789"), json!("1234567890123456789")),
        (constant("/key", text("all")), text("all"), json!("all")),
        (constant("/key", KeyValue::Number(3.0)), KeyValue::Number(3.0), json!(3)),
        (constant("/key", KeyValue::Null), KeyValue::Null, Value::Null),
    ];
    for (rule, key, field) in cases {
        let at = rule.path.to_string();
        let routed = routed(keyed(vec![rule]), &[&at], order());
        let document = sent(&routed);
        assert_eq!(routed.changes[0].change.partition_key.0, [key], "{at}");
        assert_eq!(document.pointer(&at), Some(&field), "{at}");
        assert_eq!(routed.changes[0].sink, 7);
    }
}

#[test]
fn a_hierarchical_key_has_its_levels_in_order() {
    let route = keyed(vec![from("/t", "/tenant/id"), keep("/region"), keep("/id")]);
    let routed = routed(route, &["/t", "/region", "/id"], order());
    assert_eq!(summary(&routed.changes), ["+1 [12, north, 1]"]);
}

#[test]
fn without_rules_the_document_carries_the_key_of_the_target() {
    let routed = routed(identity(), &["/tenant/id", "/region"], order());
    assert_eq!(summary(&routed.changes), ["+1 [12, north]"]);
    assert_eq!(sent(&routed), order());
}

#[test]
fn an_invalid_key_is_reported_with_its_path() {
    let long = "x".repeat(2049);
    let cases = [
        (keep("/customer/region"), "field /customer/region is missing"),
        (from("/key", "/region/x"), "field /region/x is missing"),
        (composed("/key", "{/region}-{/day}"), "field /day is missing"),
        (keep("/tenant"), "field /tenant is an object, which cannot be part of a key or id"),
        (from("/key", "/tags"), "field /tags is an array, which cannot be part of a key or id"),
        (
            composed("/key", "{/tags}"),
            "field /tags is an array, which cannot be part of a key or id",
        ),
        (
            from("/region/x", "/total"),
            "field /region/x cannot be reached, because /region is a string",
        ),
        (bucketed(keep("/region"), 4, "/day"), "field /day is missing"),
        (
            constant("/key", text(&long)),
            "the key at /key has 2049 bytes; the service accepts at most 2048",
        ),
    ];
    for (rule, expected) in cases {
        let at = rule.path.to_string();
        assert_eq!(reason(&routed(keyed(vec![rule]), &[&at], order())), expected);
    }
}

#[test]
fn a_rejected_change_is_kept_as_it_was_read() {
    let routed = routed(keyed(vec![from("/key", "/day")]), &["/key"], order());
    assert_eq!(routed.rejected[0].change, upsert(order()));
    assert_eq!((routed.rejected[0].route, routed.rejected[0].sink), (1, 7));
}

#[test]
fn buckets_never_change() {
    // SHA-256 of the JSON text, first eight bytes, modulo the count; computed with another tool.
    let cases = [
        (json!("customer-1"), 16, "7"),
        (json!("Zoë \"q\"\n"), 1000, "110"),
        (json!(42), 1000, "637"),
        (json!(42.0), 1000, "637"),
        (json!(-0.0), 1000, "40"),
        (json!(0.1), 1000, "620"),
        (json!(9_007_199_254_740_993_i64), 1000, "150"),
        (json!(true), 1000, "420"),
        (Value::Null, 1000, "503"),
        (json!({"b": [1, 2], "a": null}), 1000, "875"),
        (json!("anything"), 1, "0"),
    ];
    for (value, count, bucket) in cases {
        let document = json!({"id": "1", "region": "north", "of": value});
        let route = keyed(vec![bucketed(from("/key", "/region"), count, "/of")]);
        let routed = routed(route, &["/key"], document);
        assert_eq!(sent(&routed)["key"], format!("north-{bucket}"), "{value}");
    }
}

#[test]
fn every_kind_of_value_takes_a_bucket_as_text() {
    for (field, prefix) in [("/tenant/id", "12-"), ("/paid", "true-"), ("/note", "null-")] {
        let route = keyed(vec![bucketed(from("/key", field), 10, "/id")]);
        let document = sent(&routed(route, &["/key"], order()));
        assert!(document["key"].as_str().unwrap().starts_with(prefix), "{document}");
    }
}

#[test]
fn ids_come_from_templates() {
    let route = Route { id: Some(template("{/region}:{/tenant/id}")), ..identity() };
    let routed = routed(route, &["/region"], order());
    assert_eq!(sent(&routed)["id"], "north:12");
    assert_eq!(summary(&routed.changes), ["+north:12 [north]"]);
}

#[test]
fn a_document_without_id_keeps_that_of_the_source() {
    let route = Route { exclude: paths(&["/id"]), ..identity() };
    assert_eq!(sent(&routed(route, &["/region"], order())), order());
}

#[test]
fn ids_that_the_service_refuses_are_rejected() {
    let long = "ü".repeat(512);
    let cases = [
        ("", "the id is empty"),
        (long.as_str(), "the id has 1024 bytes; the service accepts at most 1023"),
    ];
    for (id, expected) in cases {
        let routed = routed(identity(), &["/region"], json!({"id": id, "region": "n"}));
        assert_eq!(reason(&routed), expected);
    }
    let routed = routed(identity(), &["/region"], json!({"id": 5, "region": "n"}));
    assert_eq!(reason(&routed), "the id is a number");
}

/// The longest that the service accepts; one byte more is rejected above.
#[test]
fn the_longest_id_and_key_are_accepted() {
    let id = "ü".repeat(511) + "x";
    assert_eq!(id.len(), 1023);
    let document = json!({"id": id, "region": "n"});
    assert_eq!(sent(&routed(identity(), &["/region"], document.clone())), document);
    let key = "x".repeat(2048);
    let routed = routed(keyed(vec![constant("/key", text(&key))]), &["/key"], order());
    assert_eq!(sent(&routed)["key"], key);
}

#[test]
fn a_key_at_the_id_is_the_id() {
    let new_id = || Some(template("{/region}-1"));
    let renamed = Route { id: new_id(), ..identity() };
    assert_eq!(summary(&routed(renamed, &["/id"], order()).changes), ["+north-1 [north-1]"]);
    let by_rule = keyed(vec![from("/id", "/region")]);
    assert_eq!(summary(&routed(by_rule, &["/id"], order()).changes), ["+north [north]"]);
    let twice = Route { id: new_id(), ..keyed(vec![from("/id", "/region")]) };
    assert_eq!(
        reason(&routed(twice, &["/id"], order())),
        "the target's key is its id, and the route sets both"
    );
    let number = keyed(vec![from("/id", "/total")]);
    assert_eq!(
        reason(&routed(number, &["/id"], order())),
        "the target's key is its id, and its value is not a string"
    );
}

#[test]
fn a_change_of_the_mapped_identity_moves_the_document() {
    let image = |region: &str, kind: &str| json!({"id": "1", "region": region, "kind": kind});
    let bad = || json!({"id": "1", "kind": "order"});
    let cases: Vec<(Value, Value, &[&str], usize, usize)> = vec![
        // previous, current, sent, filtered, rejected
        (image("n", "order"), image("n", "order"), &["+1 [n]"], 0, 0),
        (image("n", "order"), image("s", "order"), &["+1 [s] then -1 [n]"], 0, 0),
        (image("n", "order"), image("s", "other"), &["-1 [n]"], 0, 0),
        (image("n", "other"), image("n", "order"), &["+1 [n]"], 0, 0),
        (image("n", "other"), image("s", "other"), &[], 1, 0),
        (bad(), image("s", "order"), &["+1 [s]"], 0, 0),
        (bad(), image("s", "other"), &[], 1, 0),
        (image("n", "order"), bad(), &[], 0, 1),
    ];
    let filter = crate::config::Filter::Equals(path("/kind"), json!("order"));
    let route = Route { filter: Some(filter), ..keyed(vec![from("/key", "/region")]) };
    let router = router(&[route], &["/key"]);
    for (previous, current, expected, filtered, rejected) in cases {
        let shown = format!("{previous} -> {current}");
        let event = Event::Upsert {
            current: document(current),
            previous: Some(document(previous)),
            is_new: false,
        };
        let routed = router.route(change(event), &paths(&["/region"]));
        assert_eq!(summary(&routed.changes), expected, "{shown}");
        assert_eq!((routed.filtered, routed.rejected.len()), (filtered, rejected), "{shown}");
    }
}

#[test]
fn a_route_tells_which_parts_of_the_source_identity_it_loses() {
    let by_customer = || keyed(vec![keep("/customer")]);
    let with_id = |text: &str| Route { id: Some(template(text)), ..by_customer() };
    let renamed = Route { rename: vec![(path("/region"), path("/key"))], ..identity() };
    for (route, target, lost) in [
        (identity(), "/region", &[][..]),
        (renamed, "/key", &[]),
        (by_customer(), "/customer", &["/region"]),
        (with_id("{/region}-{/id}"), "/customer", &[]),
        (with_id("{/region}"), "/customer", &["/id"]),
        (with_id("{/total}"), "/customer", &["/region", "/id"]),
        (Route { jq: Some(".".to_owned()), ..by_customer() }, "/customer", &[]),
    ] {
        let shown = format!("{route:?}");
        let merging = router(&[route], &[target]).merging(&paths(&["/region"]));
        let fields: Vec<_> = merging.into_iter().flat_map(|(_, fields)| fields).collect();
        assert_eq!(fields, paths(lost), "{shown}");
    }
    assert_eq!(event_router(by_customer()).merging(&paths(&["/region"])), []);
}

#[test]
fn routes_that_do_not_fit_their_target_are_refused() {
    let error = |route, target: &[&str]| try_router(&[route], target).err().unwrap();
    assert_eq!(
        error(keyed(vec![keep("/a"), keep("/b")]), &["/b", "/a"]).to_string(),
        "route 1 sets the partition key [/a, /b], but the target's is [/b, /a]"
    );
    assert_eq!(
        error(keyed(vec![keep("/a")]), &["/a", "/b"]),
        RouteError::KeyPathMismatch {
            route: 1,
            configured: paths(&["/a"]),
            target: paths(&["/a", "/b"]),
        }
    );
    for target in [&[][..], &["/a", "/a/b"], &["/a", "/a"], &["/id/x"]] {
        assert_eq!(
            error(identity(), target),
            RouteError::KeyPaths { route: 1, target: paths(target) }
        );
    }
    let lost = Route { to: "elsewhere".to_owned(), ..identity() };
    assert_eq!(error(lost, &["/a"]).to_string(), "route 1 names an unknown sink `elsewhere`");
}
