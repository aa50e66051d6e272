//! Shared code of the tests of the Kafka sink.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::Arc;

use cosmos_bridge_event::{ContentMode, Data, Format};
use cosmos_bridge_kafka::{KafkaOptions, Mechanism, Sasl, Settings};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{
    Cause, Change, ContainerName, KeyValue, Operation, Origin, Outcome, PartitionKey, Secret,
    Written,
};
use serde_json::{Value, json};

pub(crate) const BINARY: Format =
    Format { data: Data::Document, cloud_events: Some(ContentMode::Binary) };

/// Settings for the topic of a template, with the default key and short timeouts.
pub(crate) fn settings(servers: &str, topic: &str) -> Settings {
    let text = format!("servers = [{servers:?}]\ntopic = {topic:?}\nrequest_timeout = \"5s\"");
    let options: KafkaOptions = from_toml(&text).expect("options");
    Settings { encoder: options.events.encoder(""), options, sasl: None }
}

/// A version of a document of the key `p`, with a text of `bytes` bytes.
pub(crate) fn change(id: &str, version: i64, bytes: usize) -> Change {
    upsert(id, version, &"x".repeat(bytes))
}

/// Like [`change`], but with a text that no compression makes smaller than three quarters.
pub(crate) fn incompressible(id: &str, version: i64, bytes: usize) -> Change {
    const LETTERS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-";
    // Knuth's generator; its upper bits are random enough.
    let states = std::iter::successors(Some(1_u64), |state| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    });
    let letters = states.skip(1).map(|state| char::from(LETTERS[(state >> 58) as usize]));
    upsert(id, version, &letters.take(bytes).collect::<String>())
}

fn upsert(id: &str, version: i64, text: &str) -> Change {
    let document = json!({"id": id, "pk": "p", "version": version, "text": text});
    let Value::Object(document) = document else { panic!("an object") };
    with(id, version, Operation::Upsert { document: Arc::new(document.into()) })
}

pub(crate) fn delete(id: &str, version: i64) -> Change {
    with(id, version, Operation::Delete { expired: false })
}

/// A container of the database `shop`.
pub(crate) fn container(name: &str) -> ContainerName {
    ContainerName {
        account: "source".to_owned(),
        database: "shop".to_owned(),
        container: name.to_owned(),
        rid: "rid".to_owned(),
    }
}

fn with(id: &str, version: i64, operation: Operation) -> Change {
    let key = PartitionKey(vec![KeyValue::String("p".to_owned())]);
    Change {
        id: id.to_owned(),
        partition_key: key.clone(),
        operation,
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(container("orders")),
            id: id.to_owned(),
            partition_key: key,
            lsn: Some(version),
            committed_at: Some(1_769_817_600),
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    }
}

/// The outcome of the only change, and why it waits.
pub(crate) fn only(written: &Written) -> (&Outcome, Option<Cause>) {
    assert_eq!(written.outcomes.len(), 1, "{written:?}");
    (&written.outcomes[0], written.wait.map(|wait| wait.cause))
}

pub(crate) fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Rejected { reason } | Outcome::Deferred { reason } => reason,
    }
}

/// The credentials of the user `writer`.
pub(crate) fn password() -> Sasl {
    let (mechanism, password) = (Mechanism::Plain, Secret::new("secret"));
    Sasl::Password { mechanism, username: "writer".to_owned(), password }
}
