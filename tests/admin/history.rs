//! The time until a position leaves the history of the source.

use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{Effect, FaultRule};
use rusqlite::Connection;
use serde_json::Value;

use crate::support::admin::AdminAddress;
use crate::support::{Bridge, Pair, eventually};
use crate::{documents, with_admin};

/// Of the one sink.
async fn left(admin: AdminAddress) -> u64 {
    let answer = admin.get("/status", "").await.unwrap();
    let report: Value = serde_json::from_str(&answer.body).unwrap();
    let sink = &report["pipelines"][0]["sinks"][0];
    assert_eq!(sink["history_left_range"], "[,FF)", "{}", answer.body);
    sink["history_left_seconds"].as_u64().unwrap()
}

/// Nothing can be read after an outage: what is left of the history is known from what was stored before.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_after_an_outage_tells_what_is_left_of_the_history_before_anything_is_read() {
    let mut source = ContainerSettings::new(&["/region"], 1);
    source.retention_seconds = Some(3_600);
    let pair = Pair::start(&source, &ContainerSettings::new(&["/region"], 1)).await;
    pair.seed(&documents(0..5));
    let mode = "mode = \"all-versions-and-deletes\"\nhistory = \"1h\"";
    let config = pair.configure("", "", mode, "");
    let (admin, _port) = with_admin(&config, "");
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/status", 200, "\"state\":\"caught up\"").await;
    assert!((3_480..=3_600).contains(&left(admin).await));
    let file = pair.folder.path().join("cosmos-bridge.db");
    let stored = || {
        let state = Connection::open(&file).ok()?;
        state.query_row("SELECT current_at FROM history", [], |row| row.get::<_, i64>(0)).ok()
    };
    eventually("it is stored", || stored().is_some()).await;
    bridge.kill().await;

    // As if the bridge had been down for fifty minutes.
    let state = Connection::open(&file).unwrap();
    state.execute("UPDATE history SET current_at = current_at - 3000", []).unwrap();
    drop(state);
    let then = Effect { status: Some(503), ..Effect::default() };
    let (account, operation) = (Some("source".to_owned()), Some("feed".to_owned()));
    pair.accounts.fault(FaultRule { account, operation, then, ..FaultRule::default() });
    let bridge = Bridge::start(&config, &["run"]);
    let soon = "the source's history ends soon; then deletes are missed";
    eventually("the log tells it", || bridge.log().contains(soon)).await;
    let few = left(admin).await;
    assert!((420..=600).contains(&few), "{few}");
    let text = Bridge::command(&config, &["status"]).await.log;
    let is_told = |left: &str| text.contains(&format!("the history of the source has {left}"));
    assert!(is_told("9m") || is_told("10m 0s"), "{text}");

    pair.accounts.clear_faults();
    admin.until("/status", 200, "\"state\":\"caught up\"").await;
    let again = "more than half of the source's history is left again";
    eventually("the log tells that too", || bridge.log().contains(again)).await;
    assert!((3_480..=3_600).contains(&left(admin).await));
    bridge.kill().await;
}
