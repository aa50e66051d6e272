//! What the vendor's Rust client sends and expects, against the stand-in.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use azure_messaging_eventhubs::models::EventData;
use azure_messaging_eventhubs::{
    EventDataBatchOptions, ProducerClient, SendEventOptions, StartLocation, StartPosition,
};
use cosmos_bridge_eventhubs_local::{Fault, Injection, python};
use futures::StreamExt as _;
use serde_json::json;
use tokio::time::timeout;

use crate::client::{APP, Event, HUB, Hub, PATIENCE, receive};

/// More than fit into one batch.
const MANY: usize = 4_000;

fn event(kind: &str, number: usize) -> EventData {
    let number_of = i64::try_from(number).unwrap();
    EventData::builder()
        .with_body(body(kind, number))
        .with_content_type("application/json".to_owned())
        .with_message_id(format!("{kind}-{number}"))
        .add_property("kind".to_owned(), kind)
        .add_property("number".to_owned(), number_of)
        .add_property("even".to_owned(), number.is_multiple_of(2))
        .add_property("half".to_owned(), f64::from(u32::try_from(number).unwrap()) / 2.0)
        .build()
}

fn body(kind: &str, number: usize) -> String {
    json!({"kind": kind, "number": number, "note": "ü".repeat(100)}).to_string()
}

/// Sends `count` events in as few batches as they fit into, and returns the number of batches.
async fn send(
    producer: &ProducerClient,
    kind: &str,
    count: usize,
    options: impl Fn() -> EventDataBatchOptions,
) -> usize {
    let (mut number, mut batches) = (0, 0);
    while number < count {
        let batch = producer.create_batch(Some(options())).await.unwrap();
        while number < count && batch.try_add_event_data(event(kind, number), None).unwrap() {
            number += 1;
        }
        producer.send_batch(batch, None).await.unwrap();
        batches += 1;
    }
    batches
}

fn by_key(key: &str) -> impl Fn() -> EventDataBatchOptions {
    move || EventDataBatchOptions { partition_key: Some(key.to_owned()), ..Default::default() }
}

fn to_partition(partition: &str) -> impl Fn() -> EventDataBatchOptions {
    move || EventDataBatchOptions { partition_id: Some(partition.to_owned()), ..Default::default() }
}

/// The events of one kind.
struct Sent {
    count: usize,
    key: Option<&'static str>,
    /// `None` if the service chooses it without a key.
    partition: Option<&'static str>,
}

/// Sends in every way that the client offers, and returns what is expected of each kind.
async fn send_in_every_way(hub: &Hub) -> BTreeMap<&'static str, Sent> {
    let producer = hub.producer().await;
    // Where the service puts these keys among four partitions, by the vendor's own vectors.
    for (kind, key) in [("key 7", "7"), ("key 131", "131"), ("key FWfAT", "FWfAT")] {
        assert_eq!(send(&producer, kind, 5, by_key(key)).await, 1);
    }
    assert_eq!(send(&producer, "any", 5, EventDataBatchOptions::default).await, 1);
    assert!(send(&producer, "many", MANY, to_partition("3")).await > 1);
    producer.send_event(event("single", 0), None).await.unwrap();
    let options = SendEventOptions { partition_id: Some("1".to_owned()) };
    producer.send_event(event("placed", 0), Some(options)).await.unwrap();
    producer.close().await.unwrap();
    BTreeMap::from([
        ("key 7", Sent { count: 5, key: Some("7"), partition: Some("3") }),
        ("key 131", Sent { count: 5, key: Some("131"), partition: Some("2") }),
        ("key FWfAT", Sent { count: 5, key: Some("FWfAT"), partition: Some("1") }),
        ("any", Sent { count: 5, key: None, partition: None }),
        ("many", Sent { count: MANY, key: None, partition: Some("3") }),
        ("single", Sent { count: 1, key: None, partition: None }),
        ("placed", Sent { count: 1, key: None, partition: Some("1") }),
    ])
}

fn kind(event: &Event) -> String {
    event.property("kind").unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_in_every_way_is_read_back_in_order_and_whole() {
    let hub = Hub::start(4).await;
    let expected = send_in_every_way(&hub).await;
    let mut kinds: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for event in hub.read().await {
        kinds.entry(kind(&event)).or_default().push(event);
    }
    assert_eq!(kinds.len(), expected.len());
    for (kind, events) in &kinds {
        let sent = &expected[kind.as_str()];
        assert_eq!(events.len(), sent.count, "{kind}");
        for (number, read) in events.iter().enumerate() {
            assert_eq!(*read.received.event_data(), event(kind, number));
            assert_eq!(read.key(), sent.key);
            assert_eq!(read.partition, sent.partition.unwrap_or(&events[0].partition));
        }
    }
    check_with_python(&hub, &expected).await;
}

/// The Python client reads the same.
async fn check_with_python(hub: &Hub, expected: &BTreeMap<&str, Sent>) {
    let read = python::read(&hub.local.connection_string(None), HUB, &[]).await.unwrap();
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &read {
        let kind = event["properties"]["kind"].as_str().unwrap();
        let next = numbers.entry(kind).or_default();
        let Sent { key, partition, .. } = &expected[kind];
        assert_eq!(event["body"], body(kind, *next));
        assert_eq!(event["message_id"], format!("{kind}-{next}"));
        assert_eq!(event["properties"]["number"], *next);
        assert_eq!(event["properties"]["even"], next.is_multiple_of(2));
        assert_eq!(event["partition_key"], json!(key));
        assert!(partition.is_none_or(|partition| event["partition"] == *partition), "{event}");
        *next += 1;
    }
    let counts = expected.iter().map(|(kind, sent)| (*kind, sent.count));
    assert_eq!(numbers, counts.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_starts_at_the_given_position() {
    let hub = Hub::start(2).await;
    let producer = hub.producer().await;
    send(&producer, "early", 10, to_partition("1")).await;
    let between = SystemTime::now() + Duration::from_millis(5);
    // Times are in whole milliseconds.
    tokio::time::sleep(Duration::from_millis(10)).await;
    send(&producer, "late", 10, to_partition("1")).await;

    let consumer = hub.consumer().await;
    let all = hub.read().await;
    let offset = |number: usize| all[number].received.offset().clone().unwrap();
    for (location, inclusive, first) in [
        (StartLocation::Earliest, false, 0),
        (StartLocation::SequenceNumber(3), false, 4),
        (StartLocation::SequenceNumber(3), true, 3),
        (StartLocation::Offset(offset(3)), false, 4),
        (StartLocation::Offset(offset(3)), true, 3),
        (StartLocation::EnqueuedTime(between), false, 10),
    ] {
        let start = StartPosition { location, inclusive };
        let events = receive(&consumer, "1", start.clone(), all.len() - first).await;
        let numbers: Vec<i64> =
            events.iter().map(|event| event.received.sequence_number().unwrap()).collect();
        assert_eq!(numbers, (i64::try_from(first).unwrap()..20).collect::<Vec<_>>(), "{start:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_at_the_end_gets_only_what_comes_later() {
    let hub = Hub::start(1).await;
    let producer = hub.producer().await;
    send(&producer, "early", 10, to_partition("0")).await;
    let consumer = hub.consumer().await;
    // The end is the client's default.
    let receiver = consumer.open_receiver_on_partition("0".to_owned(), None).await.unwrap();
    let mut events = receiver.stream_events();
    // The client does not say when its link is open, so events are sent until one arrives.
    let first = async {
        loop {
            tokio::select! {
                event = events.next() => return event.unwrap().unwrap(),
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    send(&producer, "late", 1, to_partition("0")).await;
                }
            }
        }
    };
    let first = timeout(PATIENCE, first).await.unwrap();
    assert_eq!(*first.event_data(), event("late", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_and_its_partitions_are_described() {
    let hub = Hub::start(2).await;
    let before = SystemTime::now() - Duration::from_millis(1);
    let producer = hub.producer().await;
    send(&producer, "event", 3, to_partition("1")).await;
    let described = producer.get_eventhub_properties().await.unwrap();
    assert_eq!((described.name.as_str(), described.partition_ids.len()), (HUB, 2));
    assert!(described.created_on.is_some());
    let empty = producer.get_partition_properties("0").await.unwrap();
    assert!(empty.is_empty && empty.last_enqueued_sequence_number == -1, "{empty:?}");
    let filled = producer.get_partition_properties("1").await.unwrap();
    let last = hub.read().await.pop().unwrap().received;
    assert!(!filled.is_empty && filled.beginning_sequence_number == 0, "{filled:?}");
    assert_eq!(Some(filled.last_enqueued_sequence_number), last.sequence_number());
    assert_eq!(Some(&filled.last_enqueued_offset), last.offset().as_ref());
    assert_eq!(filled.last_enqueued_time_utc, last.enqueued_time());
    assert!(last.enqueued_time().unwrap() >= before);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_reach_the_client_with_their_reason() {
    let hub = Hub::start(1).await;
    for (app, name, says) in [(APP, "nothing", "NotFound"), ("another", HUB, "Unauthorized")] {
        let producer = hub.producer_of(app, name).await;
        let error = producer.create_batch(None).await.err().unwrap();
        assert!(error.to_string().contains(says), "{error}");
    }
    let producer = hub.producer().await;
    let options = by_key(&"k".repeat(129))();
    let batch = producer.create_batch(Some(options)).await.unwrap();
    assert!(batch.try_add_event_data("x", None).unwrap());
    let error = producer.send_batch(batch, None).await.unwrap_err();
    assert!(error.to_string().contains("128 characters"), "{error}");
    assert_eq!(hub.local.count(HUB), 0);
}

/// A reason for the sink's own client.
#[tokio::test(flavor = "multi_thread")]
async fn the_client_takes_released_and_modified_for_success() {
    let hub = Hub::start(1).await;
    let producer = hub.producer().await;
    for fault in [Fault::Release, Fault::Modify] {
        hub.local.inject(Injection::new(fault, 1));
        producer.send_event("lost", None).await.unwrap();
    }
    assert_eq!(hub.local.count(HUB), 0);
    hub.local.inject(Injection::new(Fault::server_busy(), 1));
    let error = producer.send_event("refused", None).await.unwrap_err();
    assert!(error.to_string().contains("ServerBusy"), "{error}");
}
