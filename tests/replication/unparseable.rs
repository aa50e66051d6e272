//! Documents that no JSON reader of the bridge accepts, though the service holds them: each is a dead
//! letter with its place in the feed, and all others are copied.

use cosmos_bridge_emulator::world::ContainerSettings;

use crate::support::evidence::Letter;
use crate::support::history::remembering;
use crate::support::{Bridge, Pair, eventually};

const TEXTS: [(&str, &[u8]); 4] = [
    ("half", br#"{"id":"half","region":"n","t":"smile \ud83d"}"#),
    ("huge", br#"{"id":"huge","region":"n","t":1e400}"#),
    ("control", b"{\"id\":\"control\",\"region\":\"n\",\"t\":\"a\x01b\"}"),
    ("bytes", b"{\"id\":\"bytes\",\"region\":\"n\",\"t\":\"a\xFFb\"}"),
];

fn documents(ids: std::ops::Range<u32>) -> String {
    let line = |id| format!("{{\"id\":\"{id}\",\"region\":\"n\"}}\n");
    ids.map(line).collect::<Vec<_>>().concat()
}

/// Three documents before each that cannot be parsed, and three after the last.
fn write(pair: &Pair) {
    for (at, (id, text)) in (0..).zip(TEXTS) {
        pair.seed(&documents(at * 3..at * 3 + 3));
        pair.accounts.hold("source", ["shop", "orders"], "[\"n\"]", id, text).unwrap();
    }
    pair.seed(&documents(12..15));
}

/// Everything else was copied, and each of these is one dead letter with its bytes, however often the
/// feed is read.
fn is_complete(pair: &Pair) {
    assert_eq!(pair.count("target", "copies"), 15);
    let letters = pair.letters();
    assert_eq!(letters.len(), TEXTS.len());
    for (letter, (id, text)) in letters.iter().zip(TEXTS) {
        let Letter { stage, source, source_id, source_key, document, unparsed, .. } = letter;
        assert_eq!((stage.as_str(), source.as_str()), ("read", "source/shop/orders"));
        assert_eq!((source_id.as_str(), source_key.as_str()), (id, "[\"n\"]"));
        assert_eq!(*document, None);
        // The service adds its own properties at the end.
        let unparsed = unparsed.as_deref().unwrap();
        assert!(unparsed.starts_with(&text[..text.len() - 1]), "{}", unparsed.escape_ascii());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_versions_that_cannot_be_parsed_stop_nothing() {
    let settings = ContainerSettings::new(&["/region"], 1);
    let pair = Pair::start(&settings, &settings).await;
    write(&pair);
    let config = pair.configure("", "", "page_size = 5", "");
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    is_complete(&pair);
    let writes = pair.writes();
    let again = Bridge::catch_up(&config).await;
    assert_eq!(again.code(), Some(0), "{}", again.log);
    assert_eq!(pair.writes(), writes, "nothing is repeated");
    is_complete(&pair);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_versions_that_cannot_be_parsed_stop_nothing() {
    let source = remembering(&["/region"], 1);
    let pair = Pair::start(&source, &ContainerSettings::new(&["/region"], 1)).await;
    let start = "mode = \"all-versions-and-deletes\"\nstart = \"now\"\npage_size = 5";
    let config = pair.configure("", "", start, "");
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    write(&pair);
    eventually("all others are copied", || pair.count("target", "copies") == 15).await;
    bridge.kill().await;
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    is_complete(&pair);
}

/// A letter stays for as long as the source holds what cannot be parsed, and goes once that has a newer
/// version, which the feed delivers.
#[tokio::test(flavor = "multi_thread")]
async fn letters_are_replayed_once_the_source_can_be_read() {
    let settings = ContainerSettings::new(&["/region"], 1);
    let pair = Pair::start(&settings, &settings).await;
    write(&pair);
    let config = pair.configure("", "", "page_size = 5", "");
    assert_eq!(Bridge::catch_up(&config).await.code(), Some(0));
    let kept = Bridge::command(&config, &["dlq", "replay"]).await;
    assert!(kept.log.contains("left=4") && kept.log.contains("kept: reading"), "{}", kept.log);
    is_complete(&pair);

    // Times in the feed are whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    for (id, _) in TEXTS {
        pair.seed(&format!("{{\"id\":\"{id}\",\"region\":\"n\"}}\n"));
    }
    assert_eq!(Bridge::catch_up(&config).await.code(), Some(0));
    assert_eq!(pair.count("target", "copies"), 15 + TEXTS.len());
    let replayed = Bridge::command(&config, &["dlq", "replay"]).await;
    assert_eq!(replayed.code(), Some(0), "{}", replayed.log);
    assert_eq!(pair.letters(), []);
}

/// The version after one that cannot be parsed is copied, although the feed sends both together.
#[tokio::test(flavor = "multi_thread")]
async fn the_version_after_one_that_cannot_be_parsed_is_copied() {
    let pair = Pair::start(&remembering(&["/region"], 1), &remembering(&["/region"], 1)).await;
    let start = "mode = \"all-versions-and-deletes\"\nstart = \"now\"";
    let config = pair.configure("", "", start, "");
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    write(&pair);
    for (id, _) in TEXTS {
        pair.seed(&format!("{{\"id\":\"{id}\",\"region\":\"n\"}}\n"));
    }
    let all = 15 + TEXTS.len();
    eventually("all are copied", || pair.count("target", "copies") == all).await;
    assert_eq!(pair.letters().len(), TEXTS.len());
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
}
