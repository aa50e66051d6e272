use std::sync::Arc;

use cosmos_bridge_corpus::Corpus;
use cosmos_bridge_sink::{ContainerName, Document, KeyValue, PartitionKey, elements, elements_of};
use proptest::prelude::*;

use super::{PageParts, members, parts_of, stated_count, value_at};
use crate::config::Path;
use crate::cosmos::feed::item::changes_of;
use crate::model::{Event, SourceChange};

fn container() -> Arc<ContainerName> {
    let part = |text: &str| text.to_owned();
    Arc::new(ContainerName {
        account: part("a"),
        database: part("d"),
        container: part("c"),
        rid: part("rid"),
    })
}

fn key_paths() -> [Path; 1] {
    [Path::parse("/k").unwrap()]
}

fn taken_apart(items: &str) -> PageParts {
    let page = format!("{{\"_rid\":\"r\", \"Documents\" :[ {items} ],\"_count\":1}}");
    parts_of(page.as_bytes(), &container(), &key_paths()).unwrap()
}

/// The changes of a page, all of which can be used.
fn changes(items: &str) -> Vec<SourceChange> {
    let PageParts { items, unreadable, .. } = taken_apart(items);
    assert!(unreadable.is_empty(), "{unreadable:?}");
    changes_of(items, &container(), &key_paths(), None)
}

fn text_of(document: &Document) -> String {
    String::from_utf8(document.text()).unwrap()
}

const HALF: &str = r#""\ud83d""#;

/// The members that cannot be parsed stay as they were read; the change is found by the others.
#[test]
fn a_document_is_read_with_members_that_cannot_be_parsed() {
    let key = |text: &str| PartitionKey(vec![KeyValue::String(text.to_owned())]);
    for (item, id, key, lsn, document) in [
        (
            r#"{"id":"1","k":"x","_lsn":7,"_ts":5,"t":H}"#,
            "1",
            key("x"),
            7,
            r#"{"id":"1","k":"x","_lsn":7,"_ts":5,"t":H}"#,
        ),
        (
            r#"{"id":"1","_lsn":7,"t":H}"#,
            "1",
            PartitionKey(vec![KeyValue::Undefined]),
            7,
            r#"{"id":"1","_lsn":7,"t":H}"#,
        ),
        // The last of several members with one name counts; names may be escaped.
        (
            r#"{"i\u0064":"1","id":"2","k":"x","k":1,"_lsn":7,"t":H}"#,
            "2",
            PartitionKey(vec![KeyValue::Number(1.0)]),
            7,
            r#"{"id":"2","k":1,"_lsn":7,"t":H}"#,
        ),
        (
            r#"{"current":{"id":"1","k":"x","t":H},"metadata":{"lsn":8,"operationType":"create"}}"#,
            "1",
            key("x"),
            8,
            r#"{"id":"1","k":"x","t":H}"#,
        ),
        // An own property `metadata` makes no envelope.
        (
            r#"{"id":"1","k":"x","_lsn":7,"metadata":{"lsn":1},"t":H}"#,
            "1",
            key("x"),
            7,
            r#"{"id":"1","k":"x","_lsn":7,"metadata":{"lsn":1},"t":H}"#,
        ),
    ] {
        let changes = changes(&item.replace('H', HALF));
        let [SourceChange { origin, event }] = changes.as_slice() else { panic!("{item}") };
        let found = (origin.id.as_str(), &origin.partition_key, origin.lsn);
        assert_eq!(found, (id, &key, Some(lsn)), "{item}");
        let Event::Upsert { current, .. } = event else { panic!("{item}") };
        assert_eq!(text_of(current), document.replace('H', HALF));
    }
}

/// A change is unreadable if what identifies it cannot be parsed, or its lifetime.
#[test]
fn what_is_known_of_a_change_that_cannot_be_identified() {
    let text = |text: &str| vec![KeyValue::String(text.to_owned())];
    let none = || vec![KeyValue::Undefined];
    for (item, id, key, lsn, operation, document) in [
        (r#"{"id":"1","k":H,"_lsn":7}"#, "1", vec![], Some(7), "upsert", "whole"),
        (r#"{"id":H,"k":"x","_lsn":7}"#, "", text("x"), Some(7), "upsert", "whole"),
        (r#"{"id":"1","k":"x","_lsn":1e999}"#, "1", text("x"), None, "upsert", "whole"),
        // An object or array is no key, whatever it holds.
        (r#"{"id":"1","k":{"a":H},"_lsn":1e999}"#, "1", none(), None, "upsert", "whole"),
        (r#"{"id":"1","k":[H],"_lsn":1e999}"#, "1", none(), None, "upsert", "whole"),
        (r#"{"id":"1","k":"x","_lsn":7,"ttl":1e999}"#, "1", text("x"), Some(7), "upsert", "whole"),
        (
            r#"{"current":{"id":H,"k":"x"},"metadata":{"lsn":8,"operationType":"create"}}"#,
            "",
            text("x"),
            Some(8),
            "upsert",
            r#"{"id":H,"k":"x"}"#,
        ),
        // Without metadata that can be parsed, nothing says what the change is.
        (
            r#"{"current":{"id":"1","k":"x"},"metadata":{"lsn":8,"operationType":H}}"#,
            "1",
            text("x"),
            None,
            "upsert",
            r#"{"id":"1","k":"x"}"#,
        ),
    ] {
        let item = item.replace('H', HALF);
        let PageParts { items, unreadable, .. } = taken_apart(&item);
        let [found] = unreadable.as_slice() else { panic!("{item}: {unreadable:?}") };
        assert!(items.is_empty(), "{item}");
        let origin = &found.origin;
        let place = (origin.id.as_str(), &origin.partition_key, origin.lsn, found.operation);
        assert_eq!(place, (id, &PartitionKey(key), lsn, operation), "{item}");
        let document = if document == "whole" { item } else { document.replace('H', HALF) };
        assert_eq!(found.document, document.as_bytes());
    }
}

/// A change needs the document after it. The one before it may be missing.
#[test]
fn a_change_is_read_with_the_images_that_can_be_used() {
    let good = r#"{"id":"1","k":"x"}"#;
    let half = r#"{"id":"1","k":"x","t":"\ud83d"}"#;
    let control = "{\"id\":\"1\",\"k\":\"x\",\"t\":\"a\u{1}b\"}";
    let unknown = r#"{"id":1e999,"k":"x"}"#;
    for (current, previous, operation, written, before) in [
        (good, half, "replace", Some(good), Some(half)),
        (half, good, "replace", Some(half), Some(good)),
        (half, half, "replace", Some(half), Some(half)),
        (control, control, "replace", Some(control), Some(control)),
        (good, unknown, "replace", Some(good), None),
        (half, good, "delete", None, Some(good)),
        (unknown, half, "delete", None, Some(half)),
        (half, unknown, "delete", None, None),
    ] {
        let item = format!(
            r#"{{"current":{current},"previous":{previous},"metadata":{{"lsn":8,
            "operationType":"{operation}","id":"1","partitionKey":["x"]}}}}"#
        );
        let changes = changes(&item);
        let [change] = changes.as_slice() else { panic!("{item}") };
        assert_eq!((change.origin.id.as_str(), change.origin.lsn), ("1", Some(8)), "{item}");
        let (after, found) = match &change.event {
            Event::Upsert { current, previous, .. } => (Some(text_of(current)), previous),
            Event::Delete { previous, .. } => (None, previous),
        };
        assert_eq!(after.as_deref(), written, "{item}");
        assert_eq!(found.as_ref().map(text_of).as_deref(), before, "{item}");
    }
}

#[test]
fn several_of_a_page_are_told_apart_and_the_others_are_read() {
    let unknown = r#"{"id":H,"k":H}"#;
    let items = [r#"{"id":"1","k":"x"}"#, unknown, r#"{"id":"2","k":"x"}"#, unknown, "1e999"];
    let PageParts { items, unreadable, .. } = taken_apart(&items.join(" , ").replace('H', HALF));
    assert_eq!(items.len(), 2);
    assert_eq!(unreadable.iter().map(|one| one.origin.nth).collect::<Vec<_>>(), [0, 1, 0]);
}

#[test]
fn a_page_that_breaks_off_is_not_taken_apart() {
    let page =
        br#"{"_rid":"r","Documents":[{"id":"\ud83d","a":[1,{"b":"]}\""}]},{"id":"2"}],"_count":2}"#;
    let parts = |page: &[u8]| parts_of(page, &container(), &[]);
    let of_all = parts(page).unwrap();
    assert_eq!((of_all.items.len(), of_all.unreadable.len()), (1, 1));
    for end in 1..page.len() {
        assert!(parts(&page[..end]).is_none(), "{end}");
    }
    assert!(parts(b"").is_none());
    assert!(parts(br#"{"Documents":[],"_count":0}"#).is_some_and(|parts| parts.items.is_empty()));
    assert!(parts(b"<html>502 Bad Gateway</html>").is_none());
    assert!(parts(br#"{"Documents":[1}"#).is_none());
    assert!(parts(br#"{"Documents":[],"Documents":[{"id":"1"}]}"#).is_none());
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
        parts_of(&page, &container(), &[Path::parse("/k").unwrap()]);
        parts_of(&bytes, &container(), &[]);
    }
}

/// Pages that were kept, and pages like them: every item is read or kept as it is.
#[test]
fn each_item_of_a_page_is_accounted_for() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/corpus/feed_pages");
    for input in Corpus::read(folder.as_ref()).inputs(5_000) {
        let all = elements_of(&input.bytes, "Documents").map(|all| all.len());
        let Some(parts) = parts_of(&input.bytes, &container(), &key_paths()) else {
            assert_eq!(all, None);
            continue;
        };
        let PageParts { items, unreadable, .. } = parts;
        assert_eq!(items.len() + unreadable.len(), all.unwrap_or_default());
        let read = items.len();
        let changes = changes_of(items, &container(), &key_paths(), None);
        assert_eq!(changes.len(), read);
    }
}

#[test]
fn the_count_that_ends_a_page_is_what_the_service_states() {
    let cases: [(&[u8], Option<usize>); 10] = [
        (br#"{"_rid":"r","Documents":[],"_count":0}"#, Some(0)),
        (br#"{"_rid":"r","Documents":[{"_count":7}],"_count":12}"#, Some(12)),
        (b"{\"Documents\":[],\"_count\" : 3 \r\n}\n", Some(3)),
        (br#"{"_count":3,"Documents":[{"_count":7}]}"#, None),
        (br#"{"Documents":[]}"#, None),
        (br#"{"Documents":[],"_count":-1}"#, None),
        (br#"{"Documents":[],"_count":}"#, None),
        (br#"{"Documents":[],"my_count":3}"#, None),
        (br#"{"Documents":[],"_count":99999999999999999999999}"#, None),
        (b"", None),
    ];
    for (page, count) in cases {
        assert_eq!(stated_count(page), count, "{}", String::from_utf8_lossy(page));
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
