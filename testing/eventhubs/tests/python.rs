//! The official Python client finds the stand-in to be what it expects of the service.

use std::collections::BTreeMap;
use std::path::Path;

use cosmos_bridge_eventhubs_local::process::Process;
use cosmos_bridge_eventhubs_local::{Fault, Injection, LocalHubs, Options, python};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_cosmos-bridge-eventhubs-local");

fn by_kind(events: &[Value]) -> BTreeMap<String, Vec<&Value>> {
    let mut kinds: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for event in events {
        let kind = event["properties"]["kind"].as_str().unwrap_or_default();
        kinds.entry(kind.to_owned()).or_default().push(event);
    }
    kinds
}

#[tokio::test]
async fn what_is_sent_in_every_way_is_read_back_in_order_and_whole() {
    let hubs = LocalHubs::start(Options::with_hub("orders", 4)).await.unwrap();
    let connection = hubs.connection_string(None);
    let said = python::run("send_hub.py", &[&connection, "orders", "10000"]).await.unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["name"], "orders");
    assert_eq!(said["partitions"], json!(["0", "1", "2", "3"]));

    let events = python::read(&connection, "orders", &[]).await.unwrap();
    let kinds = by_kind(&events);
    let counts: Vec<(&str, usize)> =
        kinds.iter().map(|(kind, events)| (kind.as_str(), events.len())).collect();
    assert_eq!(
        counts,
        [
            ("key 131", 5),
            ("key 7", 5),
            ("key FWfAT", 5),
            ("many", 10_000),
            ("partition", 5),
            ("single", 1)
        ]
    );
    // Where the service puts these keys among four partitions, by the vendor's own vectors.
    for (kind, key, partition) in
        [("key 7", "7", "3"), ("key 131", "131", "2"), ("key FWfAT", "FWfAT", "1")]
    {
        for event in &kinds[kind] {
            assert_eq!(
                (event["partition"].as_str(), event["partition_key"].as_str()),
                (Some(partition), Some(key))
            );
        }
    }
    for (kind, events) in &kinds {
        for (expected, event) in events.iter().enumerate() {
            let body = json!({"kind": kind, "number": expected}).to_string();
            let read: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
            assert_eq!(read.to_string(), body);
            assert_eq!(event["properties"]["number"], expected);
            assert_eq!(event["content_type"], "application/json");
            assert_eq!(event["message_id"], format!("{kind}-{expected}"));
        }
    }

    // Resuming after an offset gives what follows it, and nothing again.
    let many = &kinds["many"];
    let from = format!("3={}", many[9_989]["offset"].as_str().unwrap());
    let only_latest = ["--from", &from, "--from", "0=@latest", "--from", "1=@latest"];
    let options = [&only_latest[..], &["--from", "2=@latest", "--count", "10"]].concat();
    let rest = python::read(&connection, "orders", &options).await.unwrap();
    let numbers: Vec<_> = rest.iter().map(|event| event["properties"]["number"].clone()).collect();
    assert_eq!(numbers, (9_990..10_000).map(Value::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_killed_process_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut process =
        Process::start(Path::new(BINARY), folder.path(), &["orders=2"]).await.unwrap();
    let connection = process.connection_string().to_owned();
    for _ in 0..2 {
        python::run("send_hub.py", &[&connection, "orders", "1000"]).await.unwrap();
        process.restart().await.unwrap();
    }
    let status = process.control(&json!({"status": {}})).await.unwrap();
    assert_eq!(status["events"]["orders"], 2 * 1_021);
    let read = python::read(&connection, "orders", &["--summary"]).await.unwrap();
    assert_eq!((&read[0]["events"], &read[0]["gaps"]), (&json!(2_042), &json!(0)));
}

#[tokio::test]
async fn a_wrong_key_and_a_missing_hub_are_refused_as_the_service_does() {
    let hubs = LocalHubs::start(Options::with_hub("orders", 1)).await.unwrap();
    let right = hubs.connection_string(None);
    let wrong = right.replace("SharedAccessKey=", "SharedAccessKey=x");
    for (connection, hub, expected) in
        [(&wrong, "orders", "authentic"), (&right, "nothing", "status code: 404")]
    {
        let error = python::run("send_hub.py", &[connection, hub, "1"]).await.unwrap_err();
        let error = error.to_string().to_lowercase();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(hubs.count("orders"), 0);
}

#[tokio::test]
async fn the_client_survives_what_it_survives_of_the_service() {
    let hubs = LocalHubs::start(Options::with_hub("orders", 2)).await.unwrap();
    let connection = hubs.connection_string(None);
    hubs.inject(Injection::new(Fault::server_busy(), 1));
    hubs.inject(Injection::new(Fault::Cut, 1).stored().after(2));
    python::run("send_hub.py", &[&connection, "orders", "100"]).await.unwrap();
    // What was stored before the connection was cut is sent again.
    let read = python::read(&connection, "orders", &["--summary"]).await.unwrap();
    assert_eq!(read[0]["message_ids"], 121);
    assert!(hubs.count("orders") > 121, "{}", hubs.count("orders"));
}
