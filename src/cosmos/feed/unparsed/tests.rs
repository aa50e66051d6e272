use std::sync::Arc;

use cosmos_bridge_sink::{ContainerName, KeyValue, PartitionKey};
use proptest::prelude::*;

use super::{Unreadable, elements, items_of, members, value_at};
use crate::config::Path;
use crate::cosmos::feed::item::{Item, changes_of};
use crate::model::Event;

fn container() -> Arc<ContainerName> {
    let part = |text: &str| text.to_owned();
    Arc::new(ContainerName {
        account: part("a"),
        database: part("d"),
        container: part("c"),
        rid: part("rid"),
    })
}

fn taken_apart(items: &str) -> (Vec<Item>, Vec<Unreadable>) {
    let page = format!("{{\"_rid\":\"r\", \"Documents\" :[ {items} ],\"_count\":1}}");
    items_of(page.as_bytes(), &container(), &[Path::parse("/k").unwrap()]).unwrap()
}

const HALF: &str = r#""\ud83d""#;

#[test]
fn what_is_known_of_a_change_that_cannot_be_parsed() {
    let text = |text: &str| vec![KeyValue::String(text.to_owned())];
    for (item, id, key, lsn, operation, document) in [
        (r#"{"id":"1","k":"x","_lsn":7,"t":H}"#, "1", text("x"), 7, "upsert", "whole"),
        (r#"{"id":"1","_lsn":7,"t":H}"#, "1", vec![KeyValue::Undefined], 7, "upsert", "whole"),
        // The last of several members with one name counts; names may be escaped.
        (
            r#"{"i\u0064":"1","id":"2","k":"x","k":1,"_lsn":7,"t":H}"#,
            "2",
            vec![KeyValue::Number(1.0)],
            7,
            "upsert",
            "whole",
        ),
        // A key or an id that cannot be parsed is unknown, not another one.
        (r#"{"id":"1","k":H,"_lsn":7}"#, "1", vec![], 7, "upsert", "whole"),
        (r#"{"id":H,"k":"x","_lsn":7}"#, "", text("x"), 7, "upsert", "whole"),
        (
            r#"{"current":{"id":"1","k":"x","t":H},"metadata":{"lsn":8,"operationType":"create"}}"#,
            "1",
            text("x"),
            8,
            "upsert",
            r#"{"id":"1","k":"x","t":H}"#,
        ),
        // An own property `metadata` makes no envelope.
        (
            r#"{"id":"1","k":"x","_lsn":7,"metadata":{"lsn":1},"t":H}"#,
            "1",
            text("x"),
            7,
            "upsert",
            "whole",
        ),
        (
            r#"{"previous":{"t":H},"metadata":{"lsn":8,"operationType":"delete","id":"1","partitionKey":["x"]}}"#,
            "1",
            text("x"),
            8,
            "delete",
            "",
        ),
    ] {
        let item = item.replace('H', HALF);
        let (items, unreadable) = taken_apart(&item);
        if document.is_empty() {
            // The metadata is enough for a delete.
            assert_eq!((items.len(), unreadable.len()), (1, 0), "{item}");
            continue;
        }
        let [found] = unreadable.as_slice() else { panic!("{item}: {unreadable:?}") };
        assert!(items.is_empty(), "{item}");
        let origin = &found.origin;
        let place = (origin.id.as_str(), &origin.partition_key, origin.lsn, found.operation);
        assert_eq!(place, (id, &PartitionKey(key), Some(lsn), operation), "{item}");
        let document = if document == "whole" { item } else { document.replace('H', HALF) };
        assert_eq!(found.document, document.as_bytes());
    }
}

/// A change needs the document after it. The one before it, and what a delete has of the document, may
/// be missing.
#[test]
fn a_change_is_read_without_the_parts_that_it_does_not_need() {
    let metadata = |operation| {
        format!(
            r#""metadata":{{"lsn":8,"operationType":"{operation}","id":"1","partitionKey":["x"]}}"#
        )
    };
    let good = r#"{"id":"1","k":"x"}"#;
    let bad = r#"{"id":"1","k":"x","t":H}"#;
    for (current, previous, operation, has_current, has_previous) in [
        (good, bad, "replace", true, false),
        (bad, good, "delete", false, true),
        (bad, bad, "delete", false, false),
    ] {
        let metadata = metadata(operation);
        let item = format!(r#"{{"current":{current},"previous":{previous},{metadata}}}"#);
        let (items, unreadable) = taken_apart(&item.replace('H', HALF));
        assert!(unreadable.is_empty(), "{item}: {unreadable:?}");
        let key_paths = [Path::parse("/k").unwrap()];
        let changes = changes_of(items, &container(), &key_paths, None);
        let [change] = changes.as_slice() else { panic!("{item}") };
        assert_eq!((change.origin.id.as_str(), change.origin.lsn), ("1", Some(8)), "{item}");
        let found = match &change.event {
            Event::Upsert { previous, .. } => (true, previous.is_some()),
            Event::Delete { previous, .. } => (false, previous.is_some()),
        };
        assert_eq!(found, (has_current, has_previous), "{item}");
    }
}

#[test]
fn several_of_a_page_are_told_apart_and_the_others_are_read() {
    let unknown = r#"{"id":H,"k":H}"#;
    let items = [r#"{"id":"1","k":"x"}"#, unknown, r#"{"id":"2","k":"x"}"#, unknown, "1e999"];
    let (items, unreadable) = taken_apart(&items.join(" , ").replace('H', HALF));
    assert_eq!(items.len(), 2);
    assert_eq!(unreadable.iter().map(|one| one.origin.nth).collect::<Vec<_>>(), [0, 1, 0]);
}

#[test]
fn a_page_that_breaks_off_is_not_taken_apart() {
    let page =
        br#"{"_rid":"r","Documents":[{"id":"\ud83d","a":[1,{"b":"]}\""}]},{"id":"2"}],"_count":2}"#;
    let parts = |page: &[u8]| items_of(page, &container(), &[]);
    assert_eq!(
        parts(page).map(|(items, unreadable)| (items.len(), unreadable.len())),
        Some((1, 1))
    );
    for end in 1..page.len() {
        assert!(parts(&page[..end]).is_none(), "{end}");
    }
    // 304: no body.
    assert!(
        parts(b"").is_some_and(|(items, unreadable)| items.is_empty() && unreadable.is_empty())
    );
    assert!(parts(b"<html>502 Bad Gateway</html>").is_none());
    assert!(parts(br#"{"Documents":[1}"#).is_none());
}

proptest! {
    /// Of JSON that can be parsed, the parts are those that the parser finds.
    #[test]
    fn parts_are_those_of_the_parser(value in json()) {
        let text = value.to_string();
        let parsed = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
        match &value {
            serde_json::Value::Array(values) => {
                let found = elements(text.as_bytes()).unwrap();
                prop_assert_eq!(&found.into_iter().map(parsed).collect::<Vec<_>>(), values);
            }
            serde_json::Value::Object(fields) => {
                prop_assert_eq!(members(text.as_bytes()).unwrap().len(), fields.len());
                for (name, value) in fields {
                    prop_assert_eq!(&parsed(value_at(text.as_bytes(), &[name]).unwrap()), value);
                }
            }
            _ => {}
        }
    }

    /// Bytes of any kind end in an answer, not in a panic.
    #[test]
    fn no_text_panics(bytes in proptest::collection::vec(prop_oneof![
        proptest::sample::select(br#"{}[]":,\ 1e"#.to_vec()), any::<u8>()], 0..60)) {
        let page = [br#"{"Documents":["#, &bytes[..], b"]}"].concat();
        items_of(&page, &container(), &[Path::parse("/k").unwrap()]);
        items_of(&bytes, &container(), &[]);
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".{0,6}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::btree_map("[a-z\"\\\\{}]{0,4}", inner, 0..5)
                .prop_map(|fields| { serde_json::Value::Object(fields.into_iter().collect()) }),
        ]
    })
}
