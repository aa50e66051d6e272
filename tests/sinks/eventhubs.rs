//! Changes in a hub, by the real binary, read with the official Python client.

use std::collections::BTreeMap;
use std::time::Duration;

use cosmos_bridge_brokers::{Binding, cloud_events};
use cosmos_bridge_emulator::chance::Chance;
use cosmos_bridge_emulator::orders::Orders;
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_eventhubs_local::process::{Process, built};
use cosmos_bridge_eventhubs_local::{LocalHubs, Options, python};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::history::{Load, announce, remembering};
use crate::support::{Bridge, PATIENCE, Pair, eventually};

const HUB: &str = "orders";
const DOCUMENTS: usize = 10_000;
const KILLS: usize = 10;
const CHANGES: usize = DOCUMENTS * KILLS;
const SEED: u64 = 7;

/// Writes the connection string next to the configuration and returns the table of the sink.
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
        // All events of a key are in one partition.
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

/// The peak memory of the process.
fn peak_kib(bridge: &Bridge) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bridge.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The number of events in the hub, including repetitions.
async fn stored(hub: &Process) -> u64 {
    let status = hub.control(&json!({"status": {}})).await.unwrap();
    status["events"][HUB].as_u64().unwrap()
}

async fn until_stored(hub: &Process, goal: u64, bridge: &Bridge) {
    let deadline = Instant::now() + PATIENCE;
    while stored(hub).await < goal {
        assert!(Instant::now() < deadline, "stopped short of {goal}:\n{}", bridge.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The service is killed ten times amid 100,000 changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_killed_ten_times_has_every_change_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let hubs = format!("{HUB}=4");
    let mut hub = Process::start(&built().await.unwrap(), folder.path(), &[&hubs]).await.unwrap();
    let connection = hub.connection_string().to_owned();
    let settings = remembering(&["/orderId"], 2);
    let pair = Pair::start(&settings, &settings).await;
    let source = "mode = \"all-versions-and-deletes\"\nstart = \"now\"";
    let config = pair.configure_sinks(&sink(&pair, &connection, ""), "", source, "to = \"hub\"");
    let mut bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    let (mut load, mut chance) = (Load::new(DOCUMENTS, SEED), Chance::new(SEED));
    let started = Instant::now();
    for _ in 0..KILLS {
        let before = stored(&hub).await;
        load.write_all(&pair);
        // At a random time while changes are written.
        until_stored(&hub, before + 500 + chance.below(7_000), &bridge).await;
        hub.kill().await.unwrap();
        hub.restart().await.unwrap();
        assert!(bridge.is_running(), "{}", bridge.log());
    }
    until_stored(&hub, CHANGES as u64, &bridge).await;
    let peak = peak_kib(&bridge);
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let took = started.elapsed();
    assert!(ended.log.contains("failed writing to sink"), "{}", ended.log);
    assert_eq!(pair.letters().len(), 0);

    let options = ["--summary", "--key", "id", "--order", "sequence"];
    let summary: Value = python::read(&connection, HUB, &options).await.unwrap().remove(0);
    announce(&format!("{KILLS} kills in {took:.1?}: {summary}; peak memory {} MiB", peak / 1024));
    assert_eq!((&summary["distinct"], &summary["keys"]), (&json!(CHANGES), &json!(DOCUMENTS)));
    assert_eq!(
        (&summary["disorder"], &summary["stale"], &summary["gaps"]),
        (&json!(0), &json!(0), &json!(0)),
        "{summary}"
    );
    assert_eq!(summary["message_ids"], json!(CHANGES), "a repetition has the id of the original");
    // No more is sent again than can be in flight: eight writes of 1,000, ten times.
    assert!(summary["duplicates"].as_u64() <= Some(10 * 8 * 1_000), "{summary}");
    assert!(peak <= 200 * 1024, "{peak} KiB");
}
