//! What the sink publishes, read with the vendor's Rust client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use azure_messaging_eventhubs::{EventDataBatchOptions, models::EventData};
use cosmos_bridge_conformance::{Harness, Received, conforms};
use cosmos_bridge_event::{ContentMode, Data, Encoder, Format, Oversize};
use cosmos_bridge_eventhubs::{
    Access, ConnectionString, EventHubsSink, Partitioning, Settings, partition_of,
};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{
    Change, ContainerName, KeyValue, Operation, Origin, Outcome, PartitionKey, Sink,
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::client::{Event, HUB, Hub, Reader};

const BINARY: Format = Format { data: Data::Document, cloud_events: Some(ContentMode::Binary) };

fn settings(hub: &Hub, format: Format) -> Settings {
    let connection = ConnectionString::read(&hub.local.connection_string(None)).unwrap();
    // The timeout is longer than an answer of the stand-in takes on a busy machine.
    let text = "connection = { env = \"CONNECTION\" }\nrequest_timeout = \"20s\"\n\
                headers = { origin = \"{database}.{container}\" }";
    Settings {
        options: from_toml(text).unwrap(),
        access: Access::ConnectionString(connection),
        hub: HUB.to_owned(),
        encoder: Encoder::new(format, Oversize::DeadLetter),
    }
}

async fn write(sink: &EventHubsSink, changes: &[Change]) {
    let written = sink.write(changes).await;
    let delivered = written.outcomes.iter().all(|outcome| *outcome == Outcome::Delivered);
    assert!(delivered && written.outcomes.len() == changes.len(), "{written:?}");
}

/// A version of a document with a text of `bytes` bytes; every fourth version deletes it.
fn change(key: &str, id: &str, version: i64, bytes: usize) -> Change {
    let partition_key = PartitionKey(vec![KeyValue::String(key.to_owned())]);
    let operation = if version % 4 == 0 {
        Operation::Delete { expired: false }
    } else {
        let document = document(id, version, bytes);
        Operation::Upsert { document: Arc::new(document.as_object().unwrap().clone().into()) }
    };
    let container = ContainerName {
        account: "source".to_owned(),
        database: "shop".to_owned(),
        container: "orders".to_owned(),
        rid: "rid".to_owned(),
    };
    Change {
        id: id.to_owned(),
        partition_key: partition_key.clone(),
        operation,
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(container),
            id: id.to_owned(),
            partition_key,
            lsn: Some(version),
            committed_at: Some(1_769_817_600 + version),
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    }
}

fn document(id: &str, version: i64, bytes: usize) -> Value {
    json!({"id": id, "version": version, "note": "ü".repeat(bytes / 2)})
}

/// The suite's target, and the reader.
struct Judged {
    hub: Hub,
    reader: Mutex<Reader>,
}

#[async_trait]
impl Harness for Judged {
    async fn open(&self) -> Arc<dyn Sink> {
        Arc::new(EventHubsSink::new("hub", settings(&self.hub, BINARY)))
    }

    /// What the hub has accepted can be read immediately.
    async fn received(&self, _at_least: usize) -> Vec<Received> {
        let events = self.reader.lock().await.read().await;
        events.iter().map(received).collect()
    }

    fn too_large(&self) -> Option<usize> {
        Some(2 * 1024 * 1024)
    }
}

fn received(event: &Event) -> Received {
    let texts = event.texts().into_iter();
    let attributes = texts.map(|(name, value)| {
        (name.strip_prefix("cloudEvents_").unwrap_or(name).to_owned(), value.to_owned())
    });
    let document = event.texts()["cloudEvents_subject"].to_owned();
    Received { document, body: Some(event.body().to_vec()), attributes: attributes.collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_conforms() {
    let hub = Hub::start(4).await;
    let reader = Mutex::new(hub.reader().await);
    conforms(&Judged { hub, reader }).await.unwrap();
}

const VERSIONS: i64 = 10;
const DOCUMENTS: usize = 300;

/// Keys with known partitions, and keys that the service would not take as they are.
fn keys() -> [String; 6] {
    ["7", "131", "FWfAT", "ü ß 漢字 🦀", "", &"k".repeat(200)].map(str::to_owned)
}

/// All versions of a document are in one partition, in order, and each once.
fn check_versions(events: &[Event]) {
    let mut versions: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        versions.entry(event.texts()["cloudEvents_subject"]).or_default().push(event);
    }
    assert_eq!(versions.len(), DOCUMENTS);
    for (id, events) in versions {
        assert_eq!(i64::try_from(events.len()), Ok(VERSIONS), "{id}");
        for (event, version) in events.iter().zip(1..) {
            assert_eq!(event.partition, events[0].partition, "{id}");
            check_event(event, id, version);
        }
    }
}

fn check_event(event: &Event, id: &str, version: i64) {
    let texts = event.texts();
    let data = event.received.event_data();
    assert_eq!(data.content_type(), Some("application/json"));
    assert_eq!(event.message_id(), texts["cloudEvents_id"]);
    assert_eq!(texts["cloudEvents_specversion"], "1.0");
    assert_eq!(texts["origin"], "shop.orders");
    let kind = texts["cloudEvents_type"];
    if version % 4 == 0 {
        assert!(kind.ends_with("delete") && event.body().is_empty(), "{kind}");
    } else {
        let body: Value = serde_json::from_slice(event.body()).unwrap();
        assert_eq!(body, document(id, version, 100));
        assert!(kind.ends_with("upsert"), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_read_once_in_order_and_in_the_partition_of_its_key() {
    let keys = keys();
    for partitioning in [Partitioning::Client, Partitioning::Service] {
        let hub = Hub::start(4).await;
        let mut settings = settings(&hub, BINARY);
        settings.options.partitioning = partitioning;
        let sink = EventHubsSink::new("hub", settings);
        let versions = (1..=VERSIONS).flat_map(|version| {
            let keys = keys.iter().cycle().take(DOCUMENTS).enumerate();
            keys.map(move |(number, key)| change(key, &format!("d-{number}"), version, 100))
        });
        let changes: Vec<Change> = versions.collect();
        for changes in changes.chunks(700) {
            write(&sink, changes).await;
        }
        sink.close().await.unwrap();

        let events = hub.read().await;
        check_versions(&events);
        let ids: BTreeSet<&str> = events.iter().map(Event::message_id).collect();
        assert_eq!(ids.len(), changes.len());
        check_keys(&hub, &events).await;
    }
}

/// The events of a key are where the service puts an event that the vendor's client sends with that key.
async fn check_keys(hub: &Hub, events: &[Event]) {
    let mut partitions: BTreeMap<&str, &str> = BTreeMap::new();
    for event in events {
        let held = partitions.entry(event.key().unwrap()).or_insert(&event.partition);
        assert_eq!(*held, event.partition, "{:?}", event.key());
    }
    assert_eq!(partitions.len(), keys().len());
    // By the vendor's vectors.
    for (key, partition) in [("7", "3"), ("131", "2"), ("FWfAT", "1")] {
        assert_eq!(partitions[key], partition);
        assert_eq!(partition_of(key, 4).to_string(), partition);
    }
    let mut reader = hub.reader().await;
    let before = reader.read().await.len();
    let producer = hub.producer().await;
    for key in partitions.keys() {
        let partition_key = Some((*key).to_owned());
        let options = EventDataBatchOptions { partition_key, ..EventDataBatchOptions::default() };
        let batch = producer.create_batch(Some(options)).await.unwrap();
        let event = EventData::builder().with_body(*key).with_message_id(*key).build();
        assert!(batch.try_add_event_data(event, None).unwrap());
        producer.send_batch(batch, None).await.unwrap();
    }
    let added = reader.read().await;
    assert_eq!((before, added.len()), (events.len(), partitions.len()));
    for event in added {
        assert_eq!(event.key(), Some(event.message_id()));
        assert_eq!(partitions[event.message_id()], event.partition, "{}", event.message_id());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_event_arrives_whole_in_every_format() {
    let hub = Hub::start(1).await;
    let mut reader = hub.reader().await;
    // Fourteen frames of the client's largest size.
    let large = change("a", "large", 1, 900_000);
    for (data, cloud_events, content_type) in [
        (Data::Document, Some(ContentMode::Binary), "application/json"),
        (Data::Document, Some(ContentMode::Structured), "application/cloudevents+json"),
        (Data::Envelope, Some(ContentMode::Structured), "application/cloudevents+json"),
        (Data::Envelope, None, "application/json"),
    ] {
        let sink = EventHubsSink::new("hub", settings(&hub, Format { data, cloud_events }));
        write(&sink, std::slice::from_ref(&large)).await;
        let [event] = reader.read().await.try_into().unwrap();
        let data_of = event.received.event_data();
        assert!(data_of.content_type().unwrap().starts_with(content_type), "{data_of:?}");
        let body: Value = serde_json::from_slice(event.body()).unwrap();
        let within = match cloud_events {
            Some(ContentMode::Structured) => {
                assert_eq!(body["id"], event.message_id());
                &body["data"]
            }
            _ => &body,
        };
        let within = if data == Data::Envelope { &within["after"] } else { within };
        assert_eq!(*within, document("large", 1, 900_000), "{data:?} {cloud_events:?}");
    }
}
