//! What holds for every document.

use cosmos_bridge_sink::Operation;
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::builders::*;
use crate::config::{Filter, LocalSecret, Mask, Route, SecretRef};
use crate::model::Event;

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]", "[a-z_]{1,4}", any::<String>()]
}

fn any_document() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(prop_oneof![Just("id".to_owned()), name()], value(), 0..6)
        .prop_map(|fields| fields.into_iter().collect())
}

fn user_document() -> impl Strategy<Value = Map<String, Value>> {
    any_document().prop_map(|mut document| {
        for name in ["_rid", "_self", "_etag", "_attachments", "_ts"] {
            document.remove(name);
        }
        document.insert("id".to_owned(), "1".into());
        document.insert("region".to_owned(), "north".into());
        document
    })
}

/// One route of each kind, at paths that the documents above often have.
fn awkward_routes() -> Vec<Route> {
    let filter = |filter| Route { filter: Some(filter), ..identity() };
    let jq = |text: &str| Route { jq: Some(text.to_owned()), ..identity() };
    let salt = SecretRef::Local(LocalSecret::Env("SALT".to_owned()));
    vec![
        identity(),
        filter(Filter::StartsWith(path("/a"), "a".to_owned())),
        filter(Filter::Jq(".a.b".to_owned())),
        jq(".a |= .b"),
        jq(".[]?"),
        jq("walk(if type == \"number\" then . * 3 else . end)"),
        Route { include: paths(&["/a/b", "/a", "/b/a"]), ..identity() },
        Route { exclude: paths(&["/a/b", "/id"]), ..identity() },
        Route { rename: vec![(path("/a"), path("/b/a"))], ..identity() },
        Route { rename: vec![(path("/a"), path("/b")), (path("/b"), path("/a"))], ..identity() },
        Route { rename: vec![(path("/a"), path("/b")), (path("/b"), path("/c"))], ..identity() },
        Route { set: vec![(path("/a/b/a"), Value::Null)], ..identity() },
        Route { mask: vec![(path("/a/b"), Mask::Sha256 { salt })], ..identity() },
        Route { id: Some(template("{/a}{/b}")), ..identity() },
    ]
}

fn keyed_routes() -> Vec<Route> {
    let rules = [
        from("/region", "/a"),
        composed("/region", "{/a}-{/b}"),
        bucketed(from("/region", "/a"), 7, "/b"),
    ];
    awkward_routes()
        .into_iter()
        .zip(rules.into_iter().cycle())
        .map(|(route, rule)| Route { partition_key: vec![rule], ..route })
        .collect()
}

proptest! {
    #[test]
    fn what_the_user_wrote_is_not_changed(document in user_document()) {
        let current = Value::Object(document);
        for route in [identity(), Route { jq: Some(".".to_owned()), ..identity() }] {
            let written = sent(&routed(route, &["/region"], current.clone()));
            prop_assert_eq!(written.to_string(), current.to_string());
        }
    }

    #[test]
    fn every_route_ends_once_and_none_panics(current in any_document(), previous in any_document()) {
        let routes: Vec<Route> = awkward_routes().into_iter().chain(keyed_routes()).collect();
        let router = router(&routes, &["/region"]);
        let [current, previous] = [current, previous].map(cosmos_bridge_sink::Document::from);
        let events = [
            Event::Upsert { current: current.clone(), previous: None, is_new: false },
            Event::Upsert { current: current.clone(), previous: Some(previous.clone()), is_new: false },
            Event::Delete { previous: Some(previous), expired: true },
            Event::Delete { previous: None, expired: false },
        ];
        for event in events {
            let moves = matches!(event, Event::Upsert { previous: Some(_), .. });
            let routed = router.route(change(event.clone()), &paths(&["/a"]));
            let ends = routed.changes.len() + routed.rejected.len() + routed.filtered;
            prop_assert!(ends == routes.len() || (moves && ends >= routes.len()));
            // What the ledger expects is what each sink gets.
            let owed: usize = routed.owed.iter().map(|owed| owed.changes).sum();
            prop_assert_eq!(owed, routed.changes.len() + routed.rejected.len());
            let left_out = routed.owed.iter().filter(|owed| owed.changes == 0).count();
            prop_assert_eq!((routed.owed.len(), left_out), (routes.len(), routed.filtered));
            for addressed in &routed.changes {
                let Operation::Upsert { document } = &addressed.change.operation else { continue };
                let id = document.get("id");
                prop_assert_eq!(id, Some(Value::from(addressed.change.id.as_str())));
                let key = cosmos_bridge_sink::KeyValue::from_json(document.get("region").as_ref());
                prop_assert_eq!(key.as_slice(), addressed.change.partition_key.0.as_slice());
            }
            prop_assert_eq!(router.route(change(event), &paths(&["/a"])), routed);
        }
    }

    #[test]
    fn a_delete_without_image_goes_where_the_document_went(current in any_document()) {
        let routes: Vec<Route> = awkward_routes().into_iter().chain(keyed_routes()).collect();
        let mut current = current;
        current.insert("id".to_owned(), "1".into());
        let Some(key) = cosmos_bridge_sink::KeyValue::from_json(current.get("a")) else {
            return Ok(());
        };
        for route in routes {
            let router = router(&[route], &["/region"]);
            let delete = |previous| {
                let event = Event::Delete { previous, expired: false };
                router.route(keyed_change(event, vec![key.clone()]), &paths(&["/a"]))
            };
            let (bare, whole) = (delete(None), delete(Some(current.clone().into())));
            if bare.rejected.is_empty() {
                prop_assert_eq!(bare, whole);
            }
        }
    }
}
