//! The events of every format.

use std::sync::Arc;

use cosmos_bridge_sink::{
    Change, ContainerName, Document, KeyValue, Operation, Origin, PartitionKey, Trace,
};
use serde_json::{Value, json};

use crate::{ContentMode, Data, Encoder, Event, Format, Identity, Oversize, SpanKey, TooLarge};

fn document(value: Value) -> Arc<Document> {
    let Value::Object(document) = value else { panic!("an object") };
    Arc::new(document.into())
}

fn change(operation: Operation, previous: Option<Value>) -> Change {
    let container = ContainerName {
        account: "source".to_owned(),
        database: "shop".to_owned(),
        container: "or ders".to_owned(),
        rid: "rid".to_owned(),
    };
    Change {
        id: "o-1".to_owned(),
        partition_key: PartitionKey(vec![
            KeyValue::String("nord".to_owned()),
            KeyValue::Number(7.0),
        ]),
        operation,
        previous: previous.map(document),
        origin: Arc::new(Origin {
            container: Arc::new(container),
            id: "1".to_owned(),
            partition_key: PartitionKey(vec![KeyValue::String("nord".to_owned())]),
            lsn: Some(42),
            committed_at: Some(1_769_817_600),
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    }
}

fn upsert() -> Change {
    let current = json!({"id": "o-1", "total": 3});
    change(
        Operation::Upsert { document: document(current) },
        Some(json!({"id": "o-1", "total": 2})),
    )
}

fn delete(expired: bool) -> Change {
    change(Operation::Delete { expired }, None)
}

fn encode(data: Data, cloud_events: Option<ContentMode>, change: &Change) -> Event {
    let encoder = Encoder::new(Format { data, cloud_events }, Oversize::DeadLetter);
    encoder.encode(change, usize::MAX).unwrap()
}

fn body(event: &Event) -> Value {
    event.body.as_deref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap())
}

fn names(event: &Event) -> Vec<&str> {
    event.attributes.iter().map(|(name, _)| *name).collect()
}

fn attribute<'e>(event: &'e Event, name: &str) -> &'e str {
    event.attributes.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

#[test]
fn a_plain_document_has_headers_that_state_the_operation() {
    let event = encode(Data::Document, None, &upsert());
    assert_eq!(body(&event), json!({"id": "o-1", "total": 3}));
    assert_eq!(names(&event), ["event-id", "operation", "traceparent"]);
    assert_eq!(event.content_type, "application/json");
    let gone = encode(Data::Document, None, &delete(true));
    assert_eq!((gone.body.as_deref(), attribute(&gone, "operation")), (None, "expire"));
}

/// Text that no parser of Rust accepts is JSON by its grammar, and is passed on as it was read.
#[test]
fn a_document_that_cannot_be_parsed_is_in_the_event_as_it_was_read() {
    let parsed = |text: &str| Arc::new(Document::parse(text.as_bytes()).unwrap());
    let document = r#"{"id":"o-1","total":3,"t":"\ud83d"}"#;
    let before = r#"{"id":"o-1","t":[1e400]}"#;
    let change = Change {
        operation: Operation::Upsert { document: parsed(document) },
        previous: Some(parsed(before)),
        ..upsert()
    };
    let body = |data, mode| String::from_utf8(encode(data, mode, &change).body.unwrap()).unwrap();
    assert_eq!(body(Data::Document, None), document);
    let structured = body(Data::Document, Some(ContentMode::Structured));
    assert!(structured.contains(&format!("\"data\":{document}")), "{structured}");
    let envelope = body(Data::Envelope, None);
    let images = format!("\"before\":{before},\"after\":{document},");
    assert!(envelope.contains(&images), "{envelope}");
}

#[test]
fn an_envelope_holds_before_after_and_origin() {
    let event = encode(Data::Envelope, None, &upsert());
    let expected = json!({
        "eventId": event.id,
        "operation": "upsert",
        "before": {"id": "o-1", "total": 2},
        "after": {"id": "o-1", "total": 3},
        "id": "o-1",
        "partitionKey": ["nord", 7],
        "source": {
            "account": "source", "database": "shop", "container": "or ders",
            "containerId": "rid", "id": "1", "partitionKey": ["nord"], "lsn": 42,
            "committedAt": "2026-01-31T00:00:00Z",
        },
    });
    assert_eq!(body(&event), expected);
    let gone = body(&encode(Data::Envelope, None, &delete(false)));
    assert_eq!((&gone["after"], gone.get("before")), (&Value::Null, None));
    assert!(gone.as_object().unwrap().contains_key("after"));
}

#[test]
fn a_cloud_event_is_the_same_in_both_modes() {
    let binary = encode(Data::Document, Some(ContentMode::Binary), &upsert());
    let structured = encode(Data::Document, Some(ContentMode::Structured), &upsert());
    let mut expected: serde_json::Map<String, Value> = binary
        .attributes
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
        .collect();
    expected.insert("datacontenttype".to_owned(), binary.content_type.into());
    expected.insert("data".to_owned(), body(&binary));
    assert_eq!(body(&structured), Value::Object(expected));
    assert_eq!(structured.content_type, "application/cloudevents+json; charset=utf-8");
    assert_eq!(names(&structured), ["traceparent"]);
    let expected = [
        ("specversion", "1.0"),
        ("id", binary.id.as_str()),
        ("source", "cosmosdb://source/shop/or%20ders"),
        ("type", "io.github.cosmos-bridge.document.upsert"),
        ("subject", "o-1"),
        ("time", "2026-01-31T00:00:00Z"),
        ("partitionkey", r#"["nord",7]"#),
        ("sequence", "00000000000000000042"),
        ("containerid", "rid"),
    ];
    for (name, value) in expected {
        assert_eq!(attribute(&binary, name), value);
    }
    let gone = encode(Data::Document, Some(ContentMode::Structured), &delete(false));
    assert!(body(&gone).get("data").is_none());
}

#[test]
fn attributes_hold_no_characters_that_cloud_events_forbid() {
    let key = |text: &str| PartitionKey(vec![KeyValue::String(text.to_owned())]);
    let two = PartitionKey(vec![KeyValue::String("a\tb\u{7f}%".to_owned()), KeyValue::Null]);
    let cases = [
        ("plain", key("100%"), "plain", "100%", ""),
        // What is allowed stays as it is, even if it looks encoded.
        ("a%09b ü😀", key("\u{fffd}"), "a%09b ü😀", "\u{fffd}", ""),
        ("a\tb", key("n"), "a%09b", "n", "subject"),
        ("a%09\tb", key("n"), "a%2509%09b", "n", "subject"),
        ("x", key("\u{0}\u{1f}\u{85}%"), "x", "%00%1F%C2%85%25", "partitionkey"),
        (
            "\u{fdd0}\u{fdef}\u{ffff}",
            key("\u{1fffe}ü\u{10ffff}"),
            "%EF%B7%90%EF%B7%AF%EF%BF%BF",
            "%F0%9F%BF%BEü%F4%8F%BF%BF",
            "subject,partitionkey",
        ),
        // JSON has escapes of its own for some of the characters.
        ("x", two, "x", "[\"a\\tb%7F%25\",null]", "partitionkey"),
    ];
    for (id, key, subject, partition_key, names) in cases {
        let change = Change { id: id.to_owned(), partition_key: key, ..upsert() };
        let binary = encode(Data::Document, Some(ContentMode::Binary), &change);
        let text = |name| attribute(&binary, name);
        let shown = (text("subject"), text("partitionkey"), text("percentencoded"));
        assert_eq!(shown, (subject, partition_key, names), "{id:?}");
        let structured = body(&encode(Data::Envelope, Some(ContentMode::Structured), &change));
        for (name, value) in [("subject", subject), ("partitionkey", partition_key)] {
            assert_eq!(structured[name], value, "{id:?}");
        }
        assert_eq!(structured.get("percentencoded").is_some(), !names.is_empty(), "{id:?}");
        // The data has the id itself.
        assert_eq!(structured["data"]["id"], id, "{id:?}");
    }
}

/// The ids are part of what consumers keep: this test fails when they change.
#[test]
fn an_id_is_stable_and_each_change_has_its_own() {
    let id = |change: &Change| encode(Data::Document, None, change).id;
    assert_eq!(id(&upsert()), "b37344bb6b61bb6e5a0a2fe0928376da");
    let mut all = vec![id(&upsert()), id(&delete(false)), id(&delete(true))];
    let mut other = upsert();
    other.id = "o-2".to_owned();
    all.push(id(&other));
    let mut later = upsert();
    later.origin = Arc::new(Origin { lsn: Some(43), ..Origin::clone(&later.origin) });
    all.push(id(&later));
    // A transaction that changes a document again gives both its number.
    let mut again = upsert();
    again.origin = Arc::new(Origin { nth: 1, ..Origin::clone(&again.origin) });
    all.push(id(&again));
    // The container was deleted and created again, and counts from 1.
    let mut recreated = upsert();
    let name = ContainerName { rid: "other".to_owned(), ..(*recreated.origin.container).clone() };
    let container = Arc::new(name);
    recreated.origin = Arc::new(Origin { container, ..Origin::clone(&recreated.origin) });
    all.push(id(&recreated));
    let sequence = |change: &Change| {
        let event = encode(Data::Document, Some(ContentMode::Binary), change);
        attribute(&event, "sequence").to_owned()
    };
    assert_eq!(sequence(&again), "00000000000000000042.0001");
    assert!(sequence(&upsert()) < sequence(&again) && sequence(&again) < sequence(&later));
    let mut unnumbered = upsert();
    unnumbered.origin = Arc::new(Origin { lsn: None, ..Origin::clone(&unnumbered.origin) });
    all.push(id(&unnumbered));
    unnumbered.operation = Operation::Upsert { document: document(json!({"id": "o-1"})) };
    all.push(id(&unnumbered));
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
}

/// Version, trace, parent and flags.
fn trace_parent(encoder: Encoder, change: &Change) -> [String; 4] {
    let event = encoder.encode(change, usize::MAX).unwrap();
    let parts: Vec<_> = attribute(&event, "traceparent").split('-').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

fn encoder_of(sink: &str) -> Encoder {
    let format = Format { data: Data::Document, cloud_events: None };
    Encoder::new(format, Oversize::DeadLetter).for_sink(sink)
}

#[test]
fn the_trace_of_a_change_is_that_of_the_change_as_it_was_read() {
    let mapped = upsert();
    let [version, trace, parent, flags] = trace_parent(encoder_of("a"), &mapped);
    assert_eq!((&*version, parent.len(), &*flags), ("00", 16, "00"));
    let mut plain = upsert();
    plain.id.clone_from(&plain.origin.id);
    plain.partition_key.clone_from(&plain.origin.partition_key);
    let id = encode(Data::Document, None, &plain).id;
    assert_eq!((&trace, &trace_parent(encoder_of("a"), &plain)[1]), (&id, &id));
    assert_eq!(Identity::as_read(&mapped.origin, "upsert").id(), id);
    assert_ne!(encode(Data::Document, None, &mapped).id, id);
}

#[test]
fn an_event_of_a_traced_change_names_the_span_of_its_sink() {
    let mut change = upsert();
    let trace = Trace { id: [0xab; 16], read: [0xcd; 8] };
    change.origin = Arc::new(Origin { trace: Some(trace), ..Origin::clone(&change.origin) });
    let [_, id, parent, flags] = trace_parent(encoder_of("a"), &change);
    assert_eq!((&*id, &*flags), (&*"ab".repeat(16), "01"));
    let span = Identity::of(&change).span(SpanKey::writing("a"));
    assert_eq!(u64::from_str_radix(&parent, 16).unwrap(), u64::from_be_bytes(span));
    // Another sink has another span, and so has another event of the same change.
    assert_ne!(trace_parent(encoder_of("b"), &change)[2], parent);
    change.id = "o-2".to_owned();
    assert_ne!(trace_parent(encoder_of("a"), &change)[2], parent);
    // A pipeline may have the name of a sink.
    assert_ne!(SpanKey::writing("a"), SpanKey::reading("a", None));
    assert_ne!(SpanKey::reading("a", None), SpanKey::reading("a", Some("a")));
}

#[test]
fn a_too_large_event_is_refused_or_only_refers_to_the_document() {
    let long = document(json!({"id": "o-1", "note": "n".repeat(5000)}));
    let change = change(Operation::Upsert { document: long }, Some(json!({"x": "y"})));
    let dataref = "cosmosdb://source/shop/or%20ders/%5B%22nord%22%5D/1";
    for data in [Data::Document, Data::Envelope] {
        for cloud_events in [None, Some(ContentMode::Binary), Some(ContentMode::Structured)] {
            let format = Format { data, cloud_events };
            let refused = Encoder::new(format, Oversize::DeadLetter).encode(&change, 1200);
            let Err(TooLarge { bytes, most: 1200 }) = refused else { panic!("{refused:?}") };
            assert!(bytes > 5000);
            let event = Encoder::new(format, Oversize::ClaimCheck).encode(&change, 1200).unwrap();
            assert!(event.bytes() <= 1200, "{format:?}");
            let named = match (attribute(&event, "dataref"), data) {
                ("", _) => body(&event)["dataref"].clone(),
                (attribute, _) => attribute.into(),
            };
            let named =
                if named.is_null() { body(&event)["data"]["dataref"].clone() } else { named };
            assert_eq!(named, dataref, "{format:?}");
            let text = String::from_utf8(event.body.unwrap_or_default()).unwrap();
            assert!(!text.contains("nnn") && !text.contains("\"x\""), "{text}");
            let smaller = Encoder::new(format, Oversize::ClaimCheck).encode(&change, 10);
            assert!(smaller.is_err(), "{format:?}");
        }
    }
    let message = TooLarge { bytes: 2_000_000, most: 1_048_576 }.to_string();
    assert_eq!(message, "the event has 2000000 bytes; the sink accepts 1048576");
}

#[test]
fn only_a_body_that_holds_everything_needs_no_attributes() {
    let cases = [
        (Data::Document, Some(ContentMode::Binary), true),
        (Data::Envelope, Some(ContentMode::Binary), true),
        (Data::Document, Some(ContentMode::Structured), false),
        (Data::Envelope, None, false),
        (Data::Document, None, true),
    ];
    for (data, cloud_events, needed) in cases {
        assert_eq!(Format { data, cloud_events }.needs_attributes(), needed);
    }
}

#[test]
fn a_body_that_is_appended_is_that_of_the_event() {
    let long = document(json!({"id": "o-1", "note": "n".repeat(5000)}));
    let long = change(Operation::Upsert { document: long }, None);
    for change in [upsert(), delete(true), long] {
        for data in [Data::Document, Data::Envelope] {
            for cloud_events in [None, Some(ContentMode::Structured)] {
                for oversize in [Oversize::DeadLetter, Oversize::ClaimCheck] {
                    let encoder = Encoder::new(Format { data, cloud_events }, oversize);
                    let mut text = b"before,".to_vec();
                    let appended = encoder.append_body(&change, 1200, &mut text);
                    let event = encoder.encode(&change, 1200);
                    assert_eq!(appended.is_ok(), event.is_ok(), "{encoder:?}");
                    let body = event.ok().and_then(|event| event.body).unwrap_or_default();
                    assert_eq!(text, [b"before,".as_slice(), &body].concat(), "{encoder:?}");
                }
            }
        }
    }
}
