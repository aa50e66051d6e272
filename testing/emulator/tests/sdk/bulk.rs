//! What the official bulk clients send: `bulk_requests.json`, which the bridge's own requests are compared with.

use std::collections::BTreeMap;

use cosmos_bridge_emulator::recorder::Recorded;
use cosmos_bridge_emulator::{ContainerSettings, LocalAccounts};
use serde_json::{Value, json};

use crate::process::{self, Clients};

/// The operations, and by client the request that it sends for them.
const RECORDED: &str = include_str!("../bulk_requests.json");

/// The headers that say how a request is treated; the others name the client, the time or its sender.
const HEADERS: [&str; 8] = [
    "content-type",
    "prefer",
    "x-ms-cosmos-batch-atomic",
    "x-ms-cosmos-batch-continue-on-error",
    "x-ms-cosmos-batch-ordered",
    "x-ms-cosmos-is-batch-request",
    "x-ms-documentdb-partitionkey",
    "x-ms-documentdb-partitionkeyrangeid",
];

/// What the requests of one client have in common, and the operations of all: Java divides them by time.
fn described(requests: &[Recorded]) -> Value {
    let (mut described, mut operations) = (Vec::new(), Vec::new());
    for Recorded { method, path, headers, body } in requests {
        let headers = headers.iter().filter(|(name, _)| HEADERS.contains(&name.as_str()));
        let headers: BTreeMap<_, _> = headers.collect();
        described.push(json!({"method": method, "path": path, "headers": headers}));
        operations.extend(serde_json::from_slice::<Vec<Value>>(body).unwrap());
    }
    described.dedup();
    let [described] = described.as_mut_slice() else { panic!("{described:?}") };
    operations.sort_by_key(|operation| operation["partitionKey"].to_string());
    described["body"] = operations.into();
    described.take()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_official_bulk_clients_send_what_is_recorded() {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let clients = Clients::find().await.unwrap();
    let mut sent = json!({"operations": recorded["operations"]});
    for (name, mut client) in
        [("JavaScript", clients.node("tests/sdk_bulk.mjs")), ("Java", clients.java("Bulk"))]
    {
        let accounts = LocalAccounts::start(&["source"]).await.unwrap();
        let settings = ContainerSettings::new(&["/k"], 1);
        accounts.create_container("source", "shop", "orders", &settings).await.unwrap();
        let account = accounts.world.account("source").unwrap();
        account.recorder.start("batch");
        let given = json!({
            "endpoint": accounts.endpoint("source"),
            "key": accounts.key("source"),
            "operations": recorded["operations"],
        });
        let (statuses, code) = process::run(&mut client, &given.to_string()).await.unwrap();
        assert_eq!((statuses, code), (json!([201, 201, 404, 404]), Some(0)), "{name}");
        sent[name] = described(&account.recorder.take());
    }
    let text = serde_json::to_string_pretty(&sent).unwrap();
    assert_eq!(sent, recorded, "now they send\n{text}");
}
