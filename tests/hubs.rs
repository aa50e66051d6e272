//! Changes in a hub, by the real binary, read with the official Python client.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;

use cosmos_bridge_brokers::{Binding, cloud_events};
use cosmos_bridge_emulator::orders::Orders;
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_eventhubs_local::{LocalHubs, Options, python};
use serde_json::json;
use support::{Bridge, Pair};

const HUB: &str = "orders";

/// Writes the connection string beside the configuration, and tells of the sink.
fn sink(pair: &Pair, connection: &str, more: &str) -> String {
    std::fs::write(pair.folder.path().join("hub.connection"), connection).unwrap();
    format!(
        "[sinks.eventhubs.hub]\nconnection = {{ file = \"hub.connection\" }}\nhub = \"{HUB}\"\n{more}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_holds_every_document_as_a_cloud_event() {
    let hubs = LocalHubs::start(Options::with_hub(HUB, 4)).await.unwrap();
    let settings = ContainerSettings::new(&["/customerId"], 2);
    let pair = Pair::start(&settings, &settings).await;
    let orders = Orders::new(4);
    pair.seed(&(1..=500).map(|number| orders.text(number) + "\n").collect::<String>());
    let connection = hubs.connection_string(None);
    let sinks = sink(&pair, &connection, "headers = { origin = \"{database}.{container}\" }");
    let config = pair.configure_sinks(&sinks, "", "start = \"beginning\"", "to = \"hub\"");
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);

    let events = python::read(&connection, HUB, &[]).await.unwrap();
    let mut partitions: BTreeMap<&str, &str> = BTreeMap::new();
    let mut messages = Vec::new();
    for event in &events {
        assert_eq!(event["properties"]["origin"], "shop.orders");
        // All of a key lies in one partition.
        let (key, partition) = (&event["partition_key"], event["partition"].as_str().unwrap());
        let held = partitions.entry(key.as_str().unwrap()).or_insert(partition);
        assert_eq!(*held, partition, "{key}");
        messages.push(json!({
            "properties": {"content_type": event["content_type"]},
            "headers": event["properties"],
            "body": event["body"],
        }));
    }
    assert!(partitions.values().any(|partition| *partition != "0"));
    let read = cloud_events(Binding::Amqp, &messages).await.unwrap();
    let mut read: Vec<String> = read.iter().map(|event| event.data.to_string()).collect();
    let mut expected: Vec<String> =
        (1..=500).map(|number| orders.order(number).to_string()).collect();
    read.sort();
    expected.sort();
    assert_eq!(read, expected);
}
