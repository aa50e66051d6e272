//! Settings for a server of the test, and changes to write.

use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_event::{ContentMode, Data, Encoder, Format, Oversize};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_redis::{Expiry, Mode, RedisOptions, RedisSink, Settings, Stream, Ttl};
use cosmos_bridge_sink::{
    Change, ContainerName, KeyValue, Operation, Origin, Outcome, PartitionKey, Sink,
};
use serde_json::{Value, json};

/// The default.
pub(crate) const EXPIRY: Expiry =
    Expiry { ttl: Ttl::Document, default_ttl: None, tombstone_ttl: Duration::from_hours(24) };

/// The modes that a server without modules has.
pub(crate) const MODES: [Mode; 2] = [Mode::Set(EXPIRY), Mode::Hash(EXPIRY)];

pub(crate) fn stream() -> Mode {
    let format = Format { data: Data::Document, cloud_events: Some(ContentMode::Binary) };
    let encoder = Encoder::new(format, Oversize::DeadLetter);
    Mode::Stream(Stream { encoder, max_message: 1 << 20, max_length: None })
}

/// The default settings, with shorter timeouts.
pub(crate) fn settings(port: u16, key: &str, mode: Mode) -> Settings {
    let text = format!(
        "mode = \"set\"\nservers = [\"127.0.0.1:{port}\"]\nkey = {key:?}
        connect_timeout = \"2s\"\nrequest_timeout = \"5s\""
    );
    let options: RedisOptions = from_toml(&text).unwrap();
    Settings { mode, ..options.settings("cache") }
}

pub(crate) fn sink(settings: Settings) -> RedisSink {
    RedisSink::new("cache", settings)
}

/// An upsert of `shop/orders`, at a version that is its log sequence number.
pub(crate) fn upsert(id: &str, version: i64) -> Change {
    with(id, version, json!({"id": id, "version": version}))
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

pub(crate) fn with(id: &str, version: i64, document: Value) -> Change {
    let Value::Object(document) = document else { panic!("an object") };
    let key = PartitionKey(vec![KeyValue::String(id.to_owned())]);
    Change {
        id: id.to_owned(),
        partition_key: key.clone(),
        operation: Operation::Upsert { document: Arc::new(document.into()) },
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

pub(crate) fn delete(id: &str, version: i64) -> Change {
    Change { operation: Operation::Delete { expired: false }, ..upsert(id, version) }
}

/// The same change with another origin.
pub(crate) fn moved(change: Change, edit: impl FnOnce(&mut Origin)) -> Change {
    let mut origin = Origin::clone(&change.origin);
    edit(&mut origin);
    Change { origin: Arc::new(origin), ..change }
}

pub(crate) async fn deliver(sink: &RedisSink, changes: &[Change]) {
    let written = sink.write(changes).await;
    assert_eq!(written.outcomes, vec![Outcome::Delivered; changes.len()]);
    assert_eq!(written.wait, None);
}

pub(crate) fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Rejected { reason } | Outcome::Deferred { reason } => reason,
    }
}

/// Offers what is deferred again until everything is delivered.
pub(crate) async fn deliver_at_last(sink: &RedisSink, changes: &[Change]) {
    let mut left = changes.to_vec();
    let repeat = async {
        loop {
            let written = sink.write(&left).await;
            let mut outcomes = written.outcomes.iter();
            left.retain(|_| outcomes.next().is_some_and(|o| *o != Outcome::Delivered));
            if left.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), repeat).await.unwrap();
}
