//! Ids that a URL parser changes: each request reaches the document with its id and no other.

use cosmos_bridge_emulator::world::ContainerSettings;
use serde_json::json;

use crate::support::history::remembering;
use crate::support::{Bridge, Pair, eventually};

const ALL_VERSIONS: &str = "mode = \"all-versions-and-deletes\"\nstart = \"now\"";

/// In an order in which a request with a wrong path would hit a document that is still there.
const IDS: [&str; 14] = [
    "..", ".", "a\tb", "a\nb", "a\rb", "a/b", "a\\b", "a?b", "a#b", "%2e%2e", "\u{0}", "b", "a",
    "ab",
];

fn documents(version: u32) -> String {
    let line = |id: &&str| json!({"id": id, "pk": "k", "version": version}).to_string() + "\n";
    IDS.iter().map(line).collect()
}

/// Writes, replaces and deletes documents with all ids while a bridge with this sink runs.
async fn follows(sink: &str) {
    let pair = Pair::start(&remembering(&["/pk"], 1), &ContainerSettings::new(&["/pk"], 1)).await;
    let config = pair.configure(sink, "", ALL_VERSIONS, "");
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    if sink.contains("replace-if-present") {
        pair.accounts.seed("target", "shop", "copies", &documents(0)).unwrap();
    }
    for version in 1..=2 {
        pair.seed(&documents(version));
        eventually("all are copied", || pair.is_equal()).await;
    }
    for id in IDS {
        pair.delete(id);
        eventually(&format!("{id:?} is deleted"), || pair.is_equal()).await;
    }
    assert_eq!(pair.count("target", "copies"), 0);
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(ended.log.contains("dead_letters=0"), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_id_is_copied_replaced_and_deleted_in_batches() {
    follows("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_id_is_copied_replaced_and_deleted_in_single_writes() {
    follows("batch_changes = 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_id_is_replaced_if_present_and_deleted_in_single_writes() {
    follows("batch_changes = 1\nwrite = \"replace-if-present\"").await;
}
