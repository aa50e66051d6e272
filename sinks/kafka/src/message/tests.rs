use std::sync::Arc;

use cosmos_bridge_event::{ContentMode, Data, Encoder, Format, Oversize};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{ContainerName, KeyValue, Origin, PartitionKey};

use super::*;
use crate::topic_name::LONGEST;

const BINARY: Format = Format { data: Data::Document, cloud_events: Some(ContentMode::Binary) };
const STRUCTURED: Format =
    Format { data: Data::Document, cloud_events: Some(ContentMode::Structured) };
const PLAIN: Format = Format { data: Data::Envelope, cloud_events: None };

fn settings(format: Format) -> Settings {
    let text = "servers = [\"localhost:9092\"]\ntopic = \"{database}.{container}\"
        headers = { tenant = \"{/tenant}\", missing = \"{/missing}\" }";
    let options = from_toml(text).unwrap();
    Settings { options, encoder: Encoder::new(format, Oversize::DeadLetter), sasl: None }
}

fn change(operation: Operation) -> Change {
    let key = PartitionKey(vec![KeyValue::String("north".to_owned())]);
    let name = |text: &str| text.to_owned();
    Change {
        id: name("7"),
        partition_key: key.clone(),
        operation,
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(ContainerName {
                account: name("source"),
                database: name("shop"),
                container: name("orders"),
                rid: "rid".to_owned(),
            }),
            id: name("7"),
            partition_key: key,
            lsn: Some(5),
            committed_at: Some(0),
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    }
}

fn upsert() -> Change {
    let mut document = cosmos_bridge_sink::Document::new();
    document.insert("tenant", "a");
    change(Operation::Upsert { document: Arc::new(document) })
}

fn names(message: &Message) -> Vec<&str> {
    message.headers.iter().map(|(name, _)| &**name).collect()
}

#[test]
fn an_event_is_a_message_of_the_binding() {
    let message = Message::of(&upsert(), &settings(BINARY), |_| 10_000).unwrap();
    assert_eq!((message.topic.as_str(), message.key.as_str()), ("shop.orders", "north/7"));
    assert_eq!(message.value.as_deref(), Some(&br#"{"tenant":"a"}"#[..]));
    let expected = [
        "tenant",
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_subject",
        "ce_time",
        "ce_partitionkey",
        "ce_sequence",
        "ce_containerid",
        "ce_traceparent",
        "traceparent",
        "content-type",
    ];
    assert_eq!(names(&message), expected);

    let message = Message::of(&upsert(), &settings(STRUCTURED), |_| 10_000).unwrap();
    assert_eq!(names(&message), ["tenant", "traceparent", "content-type"]);
    let message = Message::of(&upsert(), &settings(PLAIN), |_| 10_000).unwrap();
    let expected = ["tenant", "event-id", "operation", "traceparent", "content-type"];
    assert_eq!(names(&message), expected);
}

#[test]
fn a_delete_is_a_tombstone_only_if_configured() {
    let delete = change(Operation::Delete { expired: false });
    for format in [BINARY, STRUCTURED, PLAIN] {
        let mut settings = settings(format);
        assert!(Message::of(&delete, &settings, |_| 10_000).unwrap().value.is_some());
        settings.options.tombstones = true;
        assert_eq!(Message::of(&delete, &settings, |_| 10_000).unwrap().value, None);
        assert!(Message::of(&upsert(), &settings, |_| 10_000).unwrap().value.is_some());
    }
}

#[test]
fn a_tombstone_is_measured_without_its_value() {
    let mut before = cosmos_bridge_sink::Document::new();
    before.insert("text", "x".repeat(20_000));
    let delete = change(Operation::Delete { expired: false });
    let delete = Change { previous: Some(Arc::new(before)), ..delete };
    for (oversize, is_refused) in [(Oversize::DeadLetter, true), (Oversize::ClaimCheck, false)] {
        for cloud_events in [None, Some(ContentMode::Binary), Some(ContentMode::Structured)] {
            let mut settings = settings(Format { data: Data::Envelope, cloud_events });
            settings.encoder = Encoder::new(settings.encoder.format(), oversize);
            assert_eq!(Message::of(&delete, &settings, |_| 10_000).is_err(), is_refused);
            settings.options.tombstones = true;
            let tombstone = Message::of(&delete, &settings, |_| 10_000).unwrap();
            assert_eq!(tombstone.value, None);
            assert!(names(&tombstone).iter().all(|name| *name != "ce_dataref"), "{tombstone:?}");
            // Key and headers still count, and there is no smaller message to send.
            let refused = Message::of(&delete, &settings, |_| 100);
            assert!(matches!(refused, Err(MessageError::TooLarge(_))), "{refused:?}");
            assert_eq!(tombstone.instead(&delete, &settings), Err(MessageError::Refused));
        }
    }
}

#[test]
fn names_of_topics_are_checked_against_the_rules_of_kafka() {
    let long = "t".repeat(LONGEST);
    for (name, is_allowed) in [
        ("orders", true),
        ("a.b-c_D1", true),
        (long.as_str(), true),
        ("", false),
        (".", false),
        ("..", false),
        ("a b", false),
        ("ü", false),
        ("a/b", false),
    ] {
        assert_eq!(is_topic(name), is_allowed, "{name}");
    }
    assert!(!is_topic(&(long + "t")));
}

#[test]
fn the_limit_counts_key_and_headers() {
    let message = Message::of(&upsert(), &settings(BINARY), |_| 10_000).unwrap();
    let most = message.bytes() + 100;
    assert!(Message::of(&upsert(), &settings(BINARY), |_| most).is_ok());
    let refused = Message::of(&upsert(), &settings(BINARY), |_| message.bytes() - 200);
    assert!(matches!(refused, Err(MessageError::TooLarge(_))), "{refused:?}");
}

/// Otherwise the topic refuses what was measured as small enough, or what fits becomes a dead letter.
#[test]
fn each_byte_of_the_key_and_of_a_header_is_one_of_the_limit() {
    let least = |change: &Change, settings: &Settings| {
        (0..2000).find(|most| Message::of(change, settings, |_| *most).is_ok()).unwrap()
    };
    let with_header = settings(BINARY);
    let mut without = settings(BINARY);
    without.options.headers.clear();
    let header = "tenant".len() + "a".len();
    assert_eq!(least(&upsert(), &with_header), least(&upsert(), &without) + header);
    // A key that has nothing to do with the event.
    let keyed = |key: &str| {
        let text = format!("servers = [\"a:1\"]\ntopic = \"t\"\nkey = {key:?}");
        Settings { options: from_toml(&text).unwrap(), ..settings(BINARY) }
    };
    let (short, long) = (least(&upsert(), &keyed("k")), least(&upsert(), &keyed("kkkkkk")));
    assert_eq!(long, short + 5);
}

#[test]
fn a_digest_distinguishes_messages() {
    let of = |change: &Change| Message::of(change, &settings(BINARY), |_| 10_000).unwrap().digest();
    assert_eq!(of(&upsert()), of(&upsert()));
    assert_ne!(of(&upsert()), of(&change(Operation::Delete { expired: false })));
}
