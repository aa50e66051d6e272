//! Documents that are marked as deleted, and documents that existed before the first start.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::builders::*;
use crate::config::{Filter, Route, SoftDelete, SoftDeleteThen};
use crate::model::{Event, SourceChange};
use crate::route::{Routed, TargetKey};

fn marked(then: SoftDeleteThen) -> SoftDelete {
    let filter = Filter::Equals(path("/deleted"), json!(true));
    let ttl = (then == SoftDeleteThen::Ttl).then_some(Duration::from_secs(90));
    SoftDelete { filter, then, ttl }
}

fn route(then: SoftDeleteThen) -> Route {
    Route { soft_delete: Some(marked(then)), ..keyed(vec![from("/pk", "/city")]) }
}

fn document_in(city: &str, deleted: bool) -> Value {
    json!({"id": "1", "region": "north", "city": city, "deleted": deleted})
}

fn changed(previous: Option<Value>, current: Value) -> SourceChange {
    let (current, previous) = (document(current), previous.map(document));
    change(Event::Upsert { current, previous, is_new: false })
}

fn existing(current: Value) -> SourceChange {
    let mut change = upsert(current);
    Arc::get_mut(&mut change.origin).unwrap().is_snapshot = true;
    change
}

#[test]
fn a_marked_document_is_deleted_where_it_was() {
    let (bergen, oslo) = (|deleted| document_in("b", deleted), |deleted| document_in("o", deleted));
    let none: &[&str] = &[];
    for (what, change, expected) in [
        ("marked", changed(None, bergen(true)), &["-1 [b]"][..]),
        ("marked, with an image", changed(Some(bergen(false)), bergen(true)), &["-1 [b]"]),
        ("marked and moved", changed(Some(oslo(false)), bergen(true)), &["-1 [o]"]),
        ("marked again", changed(Some(bergen(true)), bergen(true)), &["-1 [b]"]),
        ("not marked any more", changed(Some(bergen(true)), bergen(false)), &["+1 [b]"]),
        ("not marked", changed(None, bergen(false)), &["+1 [b]"]),
        ("marked before the start", existing(bergen(true)), none),
        ("before the start", existing(bergen(false)), &["+1 [b]"]),
    ] {
        let routed =
            router(&[route(SoftDeleteThen::Delete)], &["/pk"]).route(change, &paths(&["/region"]));
        assert_eq!(summary(&routed.changes), expected, "{what}");
        assert_eq!(routed.filtered, usize::from(expected.is_empty()), "{what}");
    }
}

/// Where the history is lost, what exists is copied over what was written before.
#[test]
fn a_copy_that_is_made_again_deletes_what_is_marked_and_looks_for_old_copies() {
    for (what, change, expected) in [
        ("marked", existing(document_in("b", true)), &["-1 [b]"][..]),
        ("not marked", existing(document_in("b", false)), &["+1 [b]"]),
    ] {
        let router = router(&[route(SoftDeleteThen::Delete)], &["/pk"]).copying_again(true);
        let routed = router.route(change, &paths(&["/region"]));
        assert_eq!(summary(&routed.changes), expected, "{what}");
    }
    let filtered = || Route {
        filter: Some(Filter::Equals(path("/city"), json!("c"))),
        ..route(SoftDeleteThen::Delete)
    };
    for (what, route, is_again, expected) in [
        ("the first copy", route(SoftDeleteThen::Delete), false, &["+1 [b]"][..]),
        ("the key has changed", route(SoftDeleteThen::Delete), true, &["+1 [b] then -anywhere"]),
        ("it does not pass any more", filtered(), true, &["-1 [] then -anywhere"]),
        ("it does not pass, in the first copy", filtered(), false, &[]),
    ] {
        let key = TargetKey::Paths(paths(&["/pk"]));
        let router = try_router_to(&[route], key, Some("_source")).unwrap().copying_again(is_again);
        let routed = router.route(existing(document_in("b", false)), &paths(&["/region"]));
        assert_eq!(summary(&routed.changes), expected, "{what}");
    }
}

#[test]
fn a_marked_document_expires_in_the_target() {
    let routed = |current: Value| routed(route(SoftDeleteThen::Ttl), &["/pk"], current);
    let mut expected = document_in("b", true);
    expected["pk"] = json!("b");
    let unmarked = sent(&routed(document_in("b", false)));
    assert_eq!(unmarked.get("ttl"), None);
    expected["ttl"] = json!(90);
    assert_eq!(sent(&routed(document_in("b", true))), expected);
}

#[test]
fn what_was_marked_before_the_start_is_not_copied() {
    for then in [SoftDeleteThen::Delete, SoftDeleteThen::Ttl] {
        let router = router(&[route(then)], &["/pk"]);
        let routed = router.route(existing(document_in("b", true)), &paths(&["/region"]));
        assert_eq!((routed.changes.len(), routed.filtered), (0, 1), "{then:?}");
    }
}

#[test]
fn events_of_marked_documents_are_deletes() {
    for then in [SoftDeleteThen::Delete, SoftDeleteThen::Ttl] {
        let route = Route { soft_delete: Some(marked(then)), ..identity() };
        let change = changed(Some(document_in("b", false)), document_in("b", true));
        let routed = event_router(route).route(change, &paths(&["/region"]));
        let [addressed] = routed.changes.as_slice() else { panic!("{routed:?}") };
        assert_eq!(addressed.change.operation.name(), "delete");
        assert!(addressed.change.previous.is_some());
    }
}

/// Without previous images, the copy may be anywhere.
#[test]
fn a_sink_that_finds_copies_looks_for_that_of_a_marked_document() {
    for moves in [false, true] {
        let route = Route { moves, ..route(SoftDeleteThen::Delete) };
        let routed = recorded(route, &["/pk"], changed(None, document_in("b", true))).unwrap();
        assert_eq!(summary(&routed.changes), ["-1 [] then -anywhere"], "{moves}");
    }
}

#[test]
fn a_route_may_leave_out_what_existed() {
    let count = |snapshot, change: SourceChange| {
        let route = Route { snapshot, ..identity() };
        let Routed { changes, filtered, .. } =
            router(&[route], &["/region"]).route(change, &paths(&["/region"]));
        (changes.len(), filtered)
    };
    let current = || document_in("b", false);
    assert_eq!(count(true, existing(current())), (1, 0));
    assert_eq!(count(false, existing(current())), (0, 1));
    assert_eq!(count(false, upsert(current())), (1, 0));
}
