//! Deletes, with and without a previous image.

use serde_json::{Value, json};

use super::builders::*;
use crate::config::{Filter, KeyRule, Path, Route};
use crate::model::Event;
use crate::route::Routed;

use cosmos_bridge_sink::KeyValue;

fn delete(previous: Option<Value>, key: Vec<KeyValue>) -> crate::model::SourceChange {
    keyed_change(Event::Delete { previous: previous.map(document), expired: false }, key)
}

fn bare(route: Route, target: &[&str]) -> Routed {
    router(&[route], target).route(delete(None, vec![text("north")]), &paths(&["/region"]))
}

#[test]
fn a_previous_image_is_routed_like_the_document_it_was() {
    let image = json!({"id": "1", "region": "n", "kind": "order", "_ts": 1});
    let filter = |kind: &str| Filter::Equals(path("/kind"), json!(kind));
    let route = |kind: &str| Route {
        filter: Some(filter(kind)),
        jq: Some(".key = .region + \"!\"".to_owned()),
        id: Some(template("{/kind}-{/id}")),
        ..identity()
    };
    let run = |route: Route, expired| {
        let event = Event::Delete { previous: Some(document(image.clone())), expired };
        router(&[route], &["/key"]).route(change(event), &paths(&["/region"]))
    };
    assert_eq!(summary(&run(route("order"), false).changes), ["-order-1 [n!]"]);
    assert_eq!(summary(&run(route("order"), true).changes), ["~order-1 [n!]"]);
    assert_eq!(run(route("other"), false).filtered, 1);
    let missing = Route { id: Some(template("{/none}")), ..route("order") };
    assert_eq!(reason(&run(missing, false)), "field /none is missing");
}

#[test]
fn without_an_image_id_and_source_key_must_do() {
    let by = |rules: Vec<KeyRule>| keyed(rules);
    let renamed = |from: &str, to: &str| vec![(path(from), path(to))];
    let cases: Vec<(Route, &str, &str)> = vec![
        (identity(), "/region", "-1 [north]"),
        (identity(), "/id", "-1 [1]"),
        (by(vec![from("/key", "/region")]), "/key", "-1 [north]"),
        (by(vec![composed("/key", "{/region}-{/id}")]), "/key", "-1 [north-1]"),
        (by(vec![constant("/key", text("all"))]), "/key", "-1 [all]"),
        (by(vec![bucketed(from("/key", "/region"), 1, "/id")]), "/key", "-1 [north-0]"),
        (Route { id: Some(template("x{/id}")), ..identity() }, "/region", "-x1 [north]"),
        (Route { rename: renamed("/region", "/key"), ..identity() }, "/region", ""),
        (Route { set: vec![(path("/key"), json!("k"))], ..identity() }, "/key", "-1 [k]"),
        (
            Route { filter: Some(Filter::Equals(path("/region"), json!("north"))), ..identity() },
            "/region",
            "-1 [north]",
        ),
    ];
    for (route, target, expected) in cases {
        let shown = format!("{route:?}");
        let routed = bare(route, &[target]);
        if expected.is_empty() {
            assert_eq!(reason(&routed), "field /region is missing");
        } else {
            assert_eq!(summary(&routed.changes), [expected], "{shown}");
        }
    }
}

#[test]
fn a_filter_on_the_known_fields_holds_for_deletes() {
    let filter = Filter::Not(Box::new(Filter::StartsWith(path("/region"), "no".to_owned())));
    let routed = bare(Route { filter: Some(filter), ..identity() }, &["/region"]);
    assert_eq!((routed.filtered, routed.changes.len()), (1, 0));
}

#[test]
fn without_an_image_nothing_else_is_guessed() {
    let filtered = |filter| Route { filter: Some(filter), ..identity() };
    let rename = |from: &str, to: &str| vec![(path(from), path(to))];
    let needed = |what: &str| {
        format!(
            "the delete carries no previous image, and {what}; with source_field, the sink finds the \
             copy"
        )
    };
    let key = |at: &str| needed(&format!("the target's key needs {at}"));
    let filter = |at: &str| needed(&format!("the route's filter needs {at}"));
    let jq = || needed("the route's jq needs one");
    let cases: Vec<(Route, &str, String)> = vec![
        (identity(), "/tenant/id", key("/tenant/id")),
        (keyed(vec![from("/key", "/x")]), "/key", key("/x")),
        (keyed(vec![composed("/key", "{/id}{/x}")]), "/key", key("/x")),
        (keyed(vec![bucketed(from("/key", "/region"), 2, "/x")]), "/key", key("/x")),
        (Route { id: Some(template("{/x}")), ..identity() }, "/region", key("/x")),
        (Route { rename: rename("/x", "/region"), ..identity() }, "/region", key("/x")),
        // What is included may be around the field, or inside of it.
        (
            Route { include: paths(&["/x"]), ..keyed(vec![from("/key", "/x/y")]) },
            "/key",
            key("/x/y"),
        ),
        (Route { include: paths(&["/x/y"]), ..keyed(vec![from("/key", "/x")]) }, "/key", key("/x")),
        (Route { jq: Some(".".to_owned()), ..identity() }, "/region", jq()),
        (filtered(Filter::Jq("true".to_owned())), "/region", jq()),
        (filtered(Filter::Exists(path("/x"), false)), "/region", filter("/x")),
        (
            filtered(Filter::Any(vec![
                Filter::Exists(path("/id"), true),
                Filter::Not(Box::new(Filter::In(path("/y"), vec![]))),
            ])),
            "/region",
            filter("/y"),
        ),
    ];
    for (route, target, expected) in cases {
        let shown = format!("{route:?}");
        let routed = bare(route, &[target]);
        assert_eq!(
            reason(&routed).replace("/\"x\"", "/x"),
            expected.replace("/\"x\"", "/x"),
            "{shown}"
        );
        assert_eq!(routed.rejected[0].change, delete(None, vec![text("north")]));
    }
}

#[test]
fn fields_are_found_after_changes_that_do_not_touch_them() {
    let route = Route {
        include: paths(&["/a", "/region"]),
        rename: vec![(path("/region"), path("/place"))],
        mask: vec![(path("/place"), crate::config::Mask::Text("m".to_owned()))],
        ..keyed(vec![keep("/place")])
    };
    assert_eq!(summary(&bare(route, &["/place"]).changes), ["-1 [m]"]);
}

#[test]
fn keys_are_whole_numbers_where_the_document_had_them() {
    let source: Vec<Path> = paths(&["/n"]);
    let route = keyed(vec![composed("/key", "n{/n}")]);
    let router = router(&[route], &["/key"]);
    let by_image = |n: Value| {
        let image = json!({"id": "1", "n": n});
        summary(&router.route(delete(Some(image), vec![]), &source).changes)
    };
    for (number, json) in
        [(12.0, json!(12)), (12.0, json!(12.0)), (-0.0, json!(0)), (0.5, json!(0.5))]
    {
        let bare = router.route(delete(None, vec![KeyValue::Number(number)]), &source);
        assert_eq!(summary(&bare.changes), by_image(json));
    }
    let rounded = router.route(delete(None, vec![KeyValue::Number(9e15 * 2.0)]), &source);
    assert_eq!(
        reason(&rounded),
        "the delete carries no previous image, and the target's key needs /n; with source_field, the \
         sink finds the copy"
    );
}

#[test]
fn an_undefined_level_of_the_source_key_stays_undefined_where_it_is_kept() {
    let source = paths(&["/region", "/day"]);
    let router = router(&[identity()], &["/region", "/day"]);
    let (undefined, day) = (KeyValue::Undefined, text("monday"));
    let routed = router.route(delete(None, vec![undefined.clone(), day.clone()]), &source);
    assert_eq!(summary(&routed.changes), ["-1 [undefined, monday]"]);
    let event = Event::Upsert {
        current: document(json!({"id": "1", "day": "monday"})),
        previous: None,
        is_new: false,
    };
    let routed = router.route(keyed_change(event, vec![undefined, day]), &source);
    assert_eq!(summary(&routed.changes), ["+1 [undefined, monday]"]);
    assert_eq!(sent(&routed), json!({"id": "1", "day": "monday"}));
    // A field that is not of the source's key is missing, and so is one that the route took away.
    let router = try_router(&[identity()], &["/tenant"]).unwrap();
    let routed = router.route(delete(None, vec![KeyValue::Undefined]), &paths(&["/region"]));
    assert_eq!(
        reason(&routed),
        "the delete carries no previous image, and the target's key needs /tenant; with source_field, the \
         sink finds the copy"
    );
    let renamed = Route { rename: vec![(path("/region"), path("/area"))], ..identity() };
    let router = try_router(&[renamed], &["/region"]).unwrap();
    let north = json!({"id": "1", "region": "north"});
    let routed = router.route(upsert(north), &paths(&["/region"]));
    assert_eq!(reason(&routed), "field /region is missing");
}

/// Taken as a key of undefined values, it would be a delete of a document that is not there.
#[test]
fn a_delete_without_its_key_is_a_dead_letter() {
    let source = paths(&["/region"]);
    let expected = "the feed does not contain the key of the deleted document";
    let route = keyed(vec![keep("/region")]);
    assert_eq!(
        reason(&router(&[route], &["/region"]).route(delete(None, vec![]), &source)),
        expected
    );
    assert_eq!(reason(&event_router(identity()).route(delete(None, vec![]), &source)), expected);
}

/// Without a previous image, and to a sink that finds copies by their source document.
#[test]
fn what_the_feed_does_not_tell_is_found_by_the_source_document() {
    let current = || document(json!({"id": "1", "region": "north", "kind": "order", "city": "c"}));
    let replaced = || change(Event::Upsert { current: current(), previous: None, is_new: false });
    let created = || change(Event::Upsert { current: current(), previous: None, is_new: true });
    let deleted = || delete(None, vec![text("north")]);
    let with_image = || {
        let previous = Some(document(json!({"id": "1", "region": "north", "city": "old"})));
        change(Event::Upsert { current: current(), previous, is_new: false })
    };
    // The policy of the container leaves fields out.
    let with_part = || {
        let previous = Some(document(json!({"id": "1", "region": "north"})));
        change(Event::Upsert { current: current(), previous, is_new: false })
    };
    let deleted_with = |image: Value| delete(Some(image), vec![text("north")]);
    let part = || json!({"id": "1", "kind": "order"});
    let whole = || json!({"id": "1", "region": "north", "kind": "order", "city": "old"});
    let by_city = |moves| Route { moves, ..keyed(vec![from("/key", "/city")]) };
    let by_region = || Route { moves: true, ..keyed(vec![from("/key", "/region")]) };
    let only = |kind: &str, moves| Route {
        filter: Some(Filter::Equals(path("/kind"), json!(kind))),
        ..Route { moves, ..keyed(vec![from("/key", "/region")]) }
    };
    let jq = |moves| Route { jq: Some(".key = .region".to_owned()), moves, ..identity() };
    for (route, change, expected) in [
        (by_city(false), deleted(), "-1 [] then -anywhere"),
        (by_city(false), replaced(), "+1 [c]"),
        (by_city(true), replaced(), "+1 [c] then -anywhere"),
        (by_city(true), created(), "+1 [c]"),
        (by_city(true), with_image(), "+1 [c] then -1 [old]"),
        (by_city(true), with_part(), "+1 [c] then -anywhere"),
        (by_city(false), with_part(), "+1 [c]"),
        (by_city(false), deleted_with(part()), "-1 [] then -anywhere"),
        (by_city(false), deleted_with(whole()), "-1 [old]"),
        (only("order", false), deleted_with(whole()), "-1 [north]"),
        (only("order", false), deleted_with(json!({"id": "1"})), "-1 [] then -anywhere"),
        (by_region(), replaced(), "+1 [north]"),
        (by_region(), deleted(), "-1 [north]"),
        (only("order", true), replaced(), "+1 [north] then -anywhere"),
        (only("other", true), replaced(), "-1 [] then -anywhere"),
        (only("other", true), created(), ""),
        (only("other", false), replaced(), ""),
        (only("other", false), deleted(), "-1 [] then -anywhere"),
        (jq(true), replaced(), "+1 [north] then -anywhere"),
        (jq(false), deleted(), "-1 [] then -anywhere"),
    ] {
        let shown = format!("{route:?} {change:?}");
        let routed = recorded(route, &["/key"], change).unwrap();
        assert!(routed.rejected.is_empty(), "{shown}: {routed:?}");
        assert_eq!(summary(&routed.changes).join(", "), expected, "{shown}");
        assert_eq!(routed.filtered, usize::from(expected.is_empty()), "{shown}");
    }
    // Nothing identifies the document.
    let unknown = recorded(by_city(true), &["/key"], delete(None, vec![])).unwrap();
    assert_eq!(reason(&unknown), "the feed does not contain the key of the deleted document");
    let refused = recorded(by_city(true), &["/_source/key"], created()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "route 1 has a target whose partition key /_source/key lies in its own source_field"
    );
}

/// The policy of the container leaves fields out, and no sink finds copies: better a dead letter than a
/// delete at another place, or none.
#[test]
fn a_partial_image_is_not_taken_for_the_document() {
    let paid = Filter::Equals(path("/status"), json!("paid"));
    let route = || Route { filter: Some(paid.clone()), ..keyed(vec![from("/key", "/city")]) };
    let deleted = |image: Value| delete(Some(image), vec![text("north")]);
    let city = json!({"id": "1", "city": "c"});
    for (held, is_letter) in [(&["/city"][..], true), (&["/city", "/status"], false)] {
        let router = router(&[route()], &["/key"]);
        let router = router.with_images(|path| held.contains(&path.to_string().as_str()), false);
        let routed = router.route(deleted(city.clone()), &paths(&["/region"]));
        assert_eq!(routed.rejected.len(), usize::from(is_letter), "{held:?}");
        assert_eq!(routed.filtered, usize::from(!is_letter), "{held:?}");
        if is_letter {
            let expected = "the delete carries only a part of a previous image, and the route's filter \
                            needs /status; with source_field, the sink finds the copy";
            assert_eq!(routed.rejected[0].reason, expected);
        }
        let whole = json!({"id": "1", "city": "c", "status": "paid"});
        let routed = router.route(deleted(whole), &paths(&["/region"]));
        assert_eq!(summary(&routed.changes), ["-1 [c]"], "{held:?}");
    }
}
