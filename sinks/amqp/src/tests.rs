//! The messages and the meaning of results, without a broker.

use std::sync::Arc;

use cosmos_bridge_event::{ContentMode, Data, Encoder, Format, Oversize};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{
    Answers, Cause, Change, Class, ContainerName, EARLIER_CHANGE, KeyValue, Operation, Origin,
    Outcome, PartitionKey, Sink as _, Template,
};
use serde_json::{Value, json};

use crate::classify::Failure;
use crate::message::{Message, SizeLimits, message};
use crate::publish::{PublishResult, rounds, settle};
use crate::{AmqpSink, Broker, Settings, Tls, Unroutable};

const LIMITS: SizeLimits = SizeLimits { message: 10_000, frame: 4096 };

fn settings(cloud_events: Option<ContentMode>) -> Settings {
    let text = "uri = { env = \"URI\" }\nexchange = \"changes\"\nmax_message = \"10 KB\"
        headers = { tenant = \"t-{/tenant}\" }";
    Settings {
        options: from_toml(text).unwrap(),
        broker: Broker::new("amqp://localhost", &Tls::default()).unwrap(),
        encoder: Encoder::new(Format { data: Data::Document, cloud_events }, Oversize::DeadLetter),
    }
}

fn upsert(id: &str, document: Value) -> Change {
    let Value::Object(document) = document else { panic!("an object") };
    let key = PartitionKey(vec![KeyValue::String("k".to_owned())]);
    Change {
        id: id.to_owned(),
        partition_key: key.clone(),
        operation: Operation::Upsert { document: Arc::new(document.into()) },
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(ContainerName {
                account: "source".to_owned(),
                database: "shop".to_owned(),
                container: "orders".to_owned(),
                rid: "rid".to_owned(),
            }),
            id: id.to_owned(),
            partition_key: key,
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

fn change(id: &str) -> Change {
    upsert(id, json!({"id": id, "tenant": 7}))
}

fn header(message: &Message, name: &str) -> Option<String> {
    let headers = message.properties.headers().as_ref()?;
    headers.inner().get(name)?.as_long_string().map(ToString::to_string)
}

#[tokio::test]
async fn a_change_without_a_field_of_a_template_is_refused_without_the_broker() {
    let sink = AmqpSink::new("changes", settings(None));
    assert_eq!(sink.name(), "changes");
    assert_eq!(sink.refusal(&change("o-1")).await, None);
    let refused = sink.refusal(&upsert("o-2", json!({"id": "o-2"}))).await.unwrap();
    assert!(refused.contains("field /tenant is missing"), "{refused}");
}

#[test]
fn a_message_in_binary_mode_follows_the_convention() {
    let message = message(&settings(Some(ContentMode::Binary)), LIMITS, &change("o-1")).unwrap();
    assert_eq!(message.exchange.as_str(), "changes");
    assert_eq!(message.routing_key.as_str(), "shop.orders.upsert");
    assert_eq!(message.body, br#"{"id":"o-1","tenant":7}"#);
    let table = [
        ("ce-specversion", Some("1.0")),
        ("ce-id", Some(message.id.as_str())),
        ("ce-source", Some("cosmosdb://source/shop/orders")),
        ("ce-type", Some("io.github.cosmos-bridge.document.upsert")),
        ("ce-subject", Some("o-1")),
        ("ce-time", Some("2026-01-31T00:00:00Z")),
        ("ce-partitionkey", Some("k")),
        ("ce-sequence", Some("00000000000000000042")),
        ("ce-containerid", Some("rid")),
        ("ce-datacontenttype", None),
        ("tenant", Some("t-7")),
    ];
    for (name, value) in table {
        assert_eq!(header(&message, name).as_deref(), value, "{name}");
    }
    let properties = &message.properties;
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().unwrap().to_string();
    assert_eq!(text(properties.message_id()), message.id);
    assert_eq!(text(properties.content_type()), "application/json");
    assert_eq!(text(properties.kind()), "io.github.cosmos-bridge.document.upsert");
    assert_eq!(text(properties.app_id()), "cosmos-bridge");
    assert_eq!(*properties.timestamp(), Some(1_769_817_600));
    assert_eq!(*properties.delivery_mode(), Some(2));
}

#[test]
fn other_formats_have_other_headers() {
    let structured =
        message(&settings(Some(ContentMode::Structured)), LIMITS, &change("o-1")).unwrap();
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().unwrap().to_string();
    let content_type = text(structured.properties.content_type());
    assert_eq!(content_type, "application/cloudevents+json; charset=utf-8");
    assert_eq!(header(&structured, "ce-id"), None);
    assert!(header(&structured, "traceparent").is_some());
    let mut settings = settings(None);
    settings.options.persistent = false;
    settings.options.headers.clear();
    let gone = Change { operation: Operation::Delete { expired: true }, ..change("o-1") };
    let plain = message(&settings, LIMITS, &gone).unwrap();
    assert_eq!(header(&plain, "operation").as_deref(), Some("expire"));
    assert_eq!(header(&plain, "event-id"), Some(plain.id.clone()));
    assert_eq!(text(plain.properties.kind()), "expire");
    assert_eq!((plain.body.len(), plain.properties.content_type()), (0, &None));
    assert_eq!(*plain.properties.delivery_mode(), Some(1));
}

#[test]
fn a_change_without_a_message_has_a_reason() {
    let mut settings = settings(Some(ContentMode::Binary));
    let mut refused = |key: &str, document: Value| {
        settings.options.routing_key = Template::parse(key).unwrap();
        message(&settings, LIMITS, &upsert("o-1", document)).unwrap_err().to_string()
    };
    let table = [
        ("{/key}", json!({"tenant": 1}), "no routing key: field /key is missing"),
        (
            "{/key}",
            json!({"tenant": 1, "key": []}),
            "no routing key: field /key is an array, which cannot be part of a text",
        ),
        ("k", json!({"id": 1}), "no header tenant: field /tenant is missing"),
    ];
    for (key, document, reason) in table {
        assert_eq!(refused(key, document), reason);
    }
    let long = |bytes: usize| "ü".repeat(bytes / 2);
    let reason = refused("{/key}", json!({"tenant": 1, "key": long(256)}));
    assert_eq!(reason, "the routing key has 256 bytes; AMQP allows 255");
    let reason = refused("k", json!({"tenant": long(4000)}));
    assert!(
        reason.starts_with("the headers have 4")
            && reason.ends_with("a frame of the broker holds 4096")
    );
    let reason = refused("k", json!({"tenant": 1, "note": long(12_000)}));
    assert!(reason.starts_with("the event has 12") && reason.ends_with("the sink accepts 10000"));
}

#[test]
fn the_second_change_of_a_document_is_published_after_the_first() {
    let table: [(&[&str], &[&[usize]]); 5] = [
        (&[], &[]),
        (&["a"], &[&[0]]),
        (&["a", "b", "c"], &[&[0, 1, 2]]),
        (&["a", "b", "a", "c", "a", "b"], &[&[0, 1, 3], &[2, 5], &[4]]),
        (&["a", "a", "a"], &[&[0], &[1], &[2]]),
    ];
    for (ids, expected) in table {
        let changes: Vec<Change> = ids.iter().map(|id| change(id)).collect();
        assert_eq!(rounds(&changes), expected, "{ids:?}");
    }
    // The same id in another partition is another document.
    let other = Change { partition_key: PartitionKey(vec![KeyValue::Null]), ..change("a") };
    assert_eq!(rounds(&[change("a"), other]), [[0, 1]]);
}

#[test]
fn an_answer_has_an_outcome_for_each_change_in_order() {
    let refused = Failure { class: Class::FAULT, ..Failure::busy("refused") };
    let table = [
        (Unroutable::DeadLetter, PublishResult::Nacked),
        (Unroutable::DeadLetter, PublishResult::Returned("back".to_owned())),
        (Unroutable::Wait, PublishResult::Returned("back".to_owned())),
        (Unroutable::Wait, PublishResult::Lost(refused)),
        (Unroutable::Wait, PublishResult::Lost(Failure::busy("gone"))),
        (Unroutable::Wait, PublishResult::Confirmed),
    ];
    for (unroutable, result) in table {
        // The first of `a` has this result, `b` is confirmed; the second of `a` and `c` were not sent.
        let changes = [change("a"), change("b"), change("a"), change("c")];
        let mut answers = Answers::new(&changes);
        settle(&mut answers, 0, result.clone(), unroutable);
        settle(&mut answers, 1, PublishResult::Confirmed, unroutable);
        let waits = !matches!((&result, unroutable), (PublishResult::Confirmed, _))
            && !matches!(
                (&result, unroutable),
                (PublishResult::Returned(_), Unroutable::DeadLetter)
            );
        assert_eq!(answers.is_open(2), !waits, "{result:?}");
        answers.defer_rest("stopped", Cause::Busy);
        let written = answers.finish();
        let kinds: Vec<&str> = written
            .outcomes
            .iter()
            .map(|outcome| match outcome {
                Outcome::Delivered => "+",
                Outcome::Rejected { .. } => "R",
                Outcome::Deferred { reason } => reason,
            })
            .collect();
        let first = match (&result, unroutable) {
            (PublishResult::Confirmed, _) => "+",
            (PublishResult::Nacked, _) => {
                "the broker did not accept the message: a queue is full or has failed"
            }
            (PublishResult::Returned(_), Unroutable::DeadLetter) => "R",
            (PublishResult::Returned(reason), Unroutable::Wait) => reason,
            (PublishResult::Lost(failure), _) => &failure.reason,
        };
        let second = if waits { EARLIER_CHANGE } else { "stopped" };
        assert_eq!(kinds, [first, "+", second, "stopped"], "{result:?}");
        assert_eq!(written.wait, Some(Cause::Busy.into()));
    }
}

#[test]
fn nothing_waits_if_every_change_has_an_outcome() {
    let changes = [change("a"), change("b")];
    let mut answers = Answers::new(&changes);
    settle(&mut answers, 0, PublishResult::Confirmed, Unroutable::Wait);
    answers.reject(1, "too large");
    assert!(!answers.is_open(0) && !answers.is_open(1));
    answers.defer_rest("stopped", Cause::Busy);
    let written = answers.finish();
    let rejected = Outcome::Rejected { reason: "too large".to_owned() };
    assert_eq!((written.outcomes, written.wait), (vec![Outcome::Delivered, rejected], None));
    // A single fault waits by itself.
    let mut answers = Answers::new(&changes);
    settle(&mut answers, 0, PublishResult::Nacked, Unroutable::Wait);
    settle(&mut answers, 1, PublishResult::Confirmed, Unroutable::Wait);
    answers.defer_rest("stopped", Cause::Busy);
    assert_eq!(answers.finish().wait, Some(Cause::Fault.into()));
}
