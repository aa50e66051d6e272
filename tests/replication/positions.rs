//! A stored position that the source cannot be read from parks, and is never taken for the end of the feed.

use std::path::Path;

use crate::support::history::remembering;
use crate::support::{Bridge, Pair, eventually};

const ROUTE: &str = "partition_key = [\"/customerId\"]";
const MODES: [&str; 2] = [
    "mode = \"latest-version\"\nstart = \"beginning\"",
    "mode = \"all-versions-and-deletes\"\nstart = \"now\"",
];

fn documents(ids: std::ops::Range<u32>) -> String {
    let document = |n| format!("{{\"id\":\"{n}\",\"orderId\":\"{n}\",\"customerId\":\"c\"}}\n");
    ids.map(document).collect()
}

/// A pair whose first documents are copied, and documents that came later.
async fn copied(mode: &str) -> (Pair, std::path::PathBuf) {
    let pair = Pair::start(&remembering(&["/orderId"], 1), &remembering(&["/customerId"], 1)).await;
    let config = pair.configure("", "", mode, ROUTE);
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    pair.seed(&documents(0..20));
    eventually("all is copied", || pair.is_equal()).await;
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
    pair.seed(&documents(20..30));
    (pair, config)
}

fn set_position(folder: &Path, etag: &str) {
    let state = rusqlite::Connection::open(folder.join("cosmos-bridge.db")).unwrap();
    let rows = state.execute("UPDATE positions SET etag = ?1", [etag]).unwrap();
    assert!(rows > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_ahead_of_the_feed_parks_with_a_remedy() {
    for mode in MODES {
        let (pair, config) = copied(mode).await;
        set_position(pair.folder.path(), "\"99999999\"");
        let ended = Bridge::catch_up(&config).await;
        assert_eq!(ended.code(), Some(65), "{mode}: {}", ended.log);
        let said = ended.last_words();
        assert!(said.contains("is ahead of the feed"), "{mode}: {said}");
        assert!(said.contains("give the pipeline or the sink a new name"), "{mode}: {said}");
        // Nothing was stored over it, and nothing was skipped.
        assert_eq!(pair.positions(), [99_999_999], "{mode}");
        assert_eq!(pair.count("target", "copies"), 20, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_the_account_refuses_parks_with_a_remedy() {
    for mode in MODES {
        for etag in ["nonsense", "\"-5\"", ""] {
            let (pair, config) = copied(mode).await;
            set_position(pair.folder.path(), etag);
            let ended = Bridge::catch_up(&config).await;
            assert_eq!(ended.code(), Some(65), "{mode} {etag:?}: {}", ended.log);
            let said = ended.last_words();
            assert!(said.contains("hint: "), "{mode} {etag:?}: {said}");
            assert_eq!(pair.count("target", "copies"), 20, "{mode} {etag:?}");
        }
    }
}
