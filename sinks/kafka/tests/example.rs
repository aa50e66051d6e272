//! Runs the consumer of the README.

mod support;

use std::time::Duration;

use cosmos_bridge_brokers::{Kafka, script};
use cosmos_bridge_kafka::KafkaSink;
use cosmos_bridge_sink::{Outcome, Sink};
use serde_json::{Value, json};
use support::{change, delete, settings};

const README: &str = include_str!("../README.md");

#[tokio::test(flavor = "multi_thread")]
async fn the_consumer_of_the_readme_keeps_the_latest_state_of_every_document() {
    let kafka = Kafka::start().await.unwrap();
    kafka.create_topic("orders", 3, &[]).await.unwrap();
    for tombstones in [false, true] {
        let mut settings = settings(&kafka.bootstrap(), "orders");
        settings.options.tombstones = tombstones;
        settings.options.request_timeout = Duration::from_secs(10);
        let sink = KafkaSink::new("events", settings).unwrap();
        // After a crash the bridge offers the last changes again.
        let changes = [change("a", 1, 0), change("b", 1, 0), change("a", 2, 0), delete("b", 2)];
        let again = [change("a", 1, 0), change("a", 2, 0), change("c", 7, 3)];
        for write in [&changes[..], &again[..]] {
            let written = sink.write(write).await;
            assert_eq!(written.outcomes, vec![Outcome::Delivered; write.len()]);
        }
        sink.close().await.unwrap();
    }
    let values: Vec<Value> = kafka
        .read("orders", Some(14))
        .await
        .unwrap()
        .into_iter()
        .map(|m| m["value"].clone())
        .collect();
    let tombstones = values.iter().filter(|value| value.is_null()).count();
    let empty = values.iter().filter(|value| **value == "").count();
    assert_eq!((tombstones, empty), (1, 1));

    let (_, code) = README.split_once("```python\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("consumer.py");
    std::fs::write(&path, code).unwrap();
    let printed = script(&path, &[&kafka.bootstrap(), "orders", "15"], "").await.unwrap();
    let documents: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        documents,
        [
            json!({"id": "a", "pk": "p", "version": 2, "text": ""}),
            json!({"id": "c", "pk": "p", "version": 7, "text": "xxx"}),
        ]
    );
}
