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

/// Everything else was copied, and each of these is one dead letter, however often the feed is read.
fn is_complete(pair: &Pair) {
    assert_eq!(pair.count("target", "copies"), 15);
    let letters = pair.letters();
    assert_eq!(letters.len(), TEXTS.len());
    let mut places: Vec<_> = letters.iter().map(|letter| letter.lsn).collect();
    places.dedup();
    assert_eq!(places.len(), TEXTS.len(), "each has its own place");
    for Letter { stage, source, document, .. } in letters {
        assert_eq!((stage.as_str(), source.as_str()), ("read", "source/shop/orders"));
        assert_eq!(document, None);
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
