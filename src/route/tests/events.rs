//! Routes to sinks that publish events, which have no key path.

use cosmos_bridge_sink::Change;
use serde_json::{Value, json};

use super::builders::*;
use crate::config::{Filter, Mask, Route};
use crate::model::Event;

fn run(route: Route, current: Option<Value>, previous: Option<Value>) -> Vec<Change> {
    let previous = previous.map(document);
    let event = match current {
        Some(current) => Event::Upsert { current: document(current), previous, is_new: false },
        None => Event::Delete { previous, expired: false },
    };
    let routed = event_router(route).route(change(event), &paths(&["/region"]));
    assert!(routed.rejected.is_empty(), "{:?}", routed.rejected);
    routed.changes.into_iter().map(|addressed| addressed.change).collect()
}

fn before(change: &Change) -> Option<Value> {
    change.previous.as_deref().map(|document| Value::Object(document.clone().into()))
}

#[test]
fn without_rules_the_key_is_the_source_s_even_if_its_field_changed() {
    let excluded = || Route { exclude: vec![path("/region")], ..identity() };
    for current in [json!({"id": "1", "region": "n"}), json!({"id": "1"})] {
        for route in [identity(), excluded()] {
            let [change] = run(route, Some(current.clone()), None).try_into().unwrap();
            assert_eq!(change.partition_key.text(), "north", "{current}");
        }
    }
    let deleted = run(excluded(), None, None);
    assert_eq!(deleted[0].partition_key.text(), "north");
}

#[test]
fn rules_make_the_key_without_a_target_that_asks_for_it() {
    let route = keyed(vec![composed("/pk", "{/region}-{/id}")]);
    let [change] = run(route, Some(json!({"id": "1", "region": "n"})), None).try_into().unwrap();
    assert_eq!(change.partition_key.text(), "n-1");
}

#[test]
fn the_previous_image_takes_the_route_too() {
    let route = || Route {
        exclude: vec![path("/secret")],
        mask: vec![(path("/mail"), Mask::Text("***".to_owned()))],
        ..identity()
    };
    let image = json!({"id": "1", "region": "n", "mail": "a@b", "secret": 1, "_ts": 1});
    let masked = json!({"id": "1", "region": "n", "mail": "***"});
    let current = json!({"id": "1", "region": "n", "mail": "c@d"});
    for current in [Some(current), None] {
        let [change] = run(route(), current, Some(image.clone())).try_into().unwrap();
        assert_eq!(before(&change), Some(masked.clone()));
    }
}

#[test]
fn a_move_deletes_with_the_image_and_a_document_that_leaves_the_filter_too() {
    let image = json!({"id": "1", "region": "n", "state": "paid"});
    let moved = Route { id: Some(template("{/state}")), ..identity() };
    let current = json!({"id": "1", "region": "n", "state": "sent"});
    let [old, new] = run(moved, Some(current.clone()), Some(image.clone())).try_into().unwrap();
    assert_eq!(before(&old), Some(json!({"id": "paid", "region": "n", "state": "paid"})));
    assert_eq!((old.id.as_str(), new.id.as_str(), before(&new)), ("paid", "sent", None));

    let paid = Filter::Equals(path("/state"), json!("paid"));
    let left = Route { filter: Some(paid), ..identity() };
    let [old] = run(left, Some(current), Some(image.clone())).try_into().unwrap();
    assert_eq!((old.operation.name(), before(&old)), ("delete", Some(image)));
}
