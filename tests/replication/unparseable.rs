//! Documents that no JSON parser of Rust accepts, though the service holds them: a route that does not need
//! what cannot be parsed copies it as it was read. What the target refuses, or the route needs, is a dead
//! letter with its bytes.

use std::collections::BTreeSet;

use cosmos_bridge_emulator::world::ContainerSettings;

use crate::support::evidence::Letter;
use crate::support::history::remembering;
use crate::support::{Bridge, Pair, eventually};

/// JSON by its grammar, which every account stores.
const JSON: [(&str, &[u8]); 3] = [
    ("half", br#"{"id":"half","region":"n","t":"smile \ud83d"}"#),
    ("huge", br#"{"id":"huge","region":"n","t":1e400}"#),
    ("name", br#"{"id":"name","region":"n","\ud83d":[1]}"#),
];

/// No JSON. The target refuses it.
const NO_JSON: [(&str, &[u8]); 2] = [
    ("control", b"{\"id\":\"control\",\"region\":\"n\",\"t\":\"a\x01b\"}"),
    ("bytes", b"{\"id\":\"bytes\",\"region\":\"n\",\"t\":\"a\xFFb\"}"),
];

/// Two documents before each that cannot be parsed, and two after the last.
const PLAIN: u32 = 12;

fn documents(ids: std::ops::Range<u32>) -> String {
    let line = |id| format!("{{\"id\":\"{id}\",\"region\":\"n\"}}\n");
    ids.map(line).collect::<Vec<_>>().concat()
}

fn texts() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    JSON.into_iter().chain(NO_JSON)
}

fn write(pair: &Pair) {
    for (at, (id, text)) in (0..).zip(texts()) {
        pair.seed(&documents(at * 2..at * 2 + 2));
        pair.accounts.hold("source", ["shop", "orders"], "[\"n\"]", id, text).unwrap();
    }
    pair.seed(&documents(PLAIN - 2..PLAIN));
}

/// The document of the target with this id, as text.
fn copy_of(pair: &Pair, id: &str) -> String {
    let start = format!("{{\"id\":\"{id}\",");
    let documents = pair.accounts.documents("target", "shop", "copies").unwrap();
    documents.into_iter().find(|document| document.starts_with(&start)).unwrap_or_default()
}

/// Everything was copied that the target takes, and the others are one dead letter each, however often
/// the feed is read.
fn is_complete(pair: &Pair) {
    assert_eq!(pair.count("target", "copies"), PLAIN as usize + JSON.len());
    for (id, text) in JSON {
        assert_eq!(copy_of(pair, id), String::from_utf8_lossy(text));
    }
    are_letters(pair, "sink", &NO_JSON);
}

fn are_letters(pair: &Pair, stage: &str, texts: &[(&str, &[u8])]) {
    let letters = pair.letters();
    assert_eq!(letters.len(), texts.len(), "{letters:?}");
    for (letter, (id, text)) in letters.iter().zip(texts) {
        let Letter { source, source_id, source_key, document, unparsed, .. } = letter;
        assert_eq!((letter.stage.as_str(), source.as_str()), (stage, "source/shop/orders"));
        assert_eq!((source_id.as_str(), source_key.as_str()), (*id, "[\"n\"]"));
        assert_eq!(*document, None);
        // Without the properties that the service adds at the end.
        let unparsed = unparsed.as_deref().unwrap();
        assert!(unparsed.starts_with(&text[..text.len() - 1]), "{}", unparsed.escape_ascii());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_versions_that_cannot_be_parsed_are_copied_as_they_are() {
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
async fn all_versions_that_cannot_be_parsed_are_copied_as_they_are() {
    let source = remembering(&["/region"], 1);
    let pair = Pair::start(&source, &ContainerSettings::new(&["/region"], 1)).await;
    let start = "mode = \"all-versions-and-deletes\"\nstart = \"now\"\npage_size = 5";
    let config = pair.configure("", "", start, "");
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    write(&pair);
    let all = PLAIN as usize + JSON.len();
    eventually("all others are copied", || pair.count("target", "copies") == all).await;
    bridge.kill().await;
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    is_complete(&pair);
}

/// What cannot be identified is a dead letter of stage `read`, one for each change. Where the key is not
/// known, the feed range is part of its place: each range counts its changes by itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_identified_is_a_letter_with_its_place() {
    let source = ContainerSettings::new(&["/region"], 2);
    let pair = Pair::start(&source, &ContainerSettings::new(&["/region"], 1)).await;
    let regions: Vec<_> = (0..8).map(|number| format!("r{number}")).collect();
    for region in &regions {
        // The lifetime, the key, and the id.
        for (id, text) in [
            ("life", format!(r#"{{"id":"life","region":"{region}","ttl":1e400}}"#)),
            ("key", r#"{"id":"key","region":"\ud83d"}"#.to_owned()),
            ("id", format!(r#"{{"id":"\ud83d","region":"{region}"}}"#)),
        ] {
            let key = format!("[\"{region}\"]");
            pair.accounts.hold("source", ["shop", "orders"], &key, id, text.as_bytes()).unwrap();
        }
        pair.seed(&format!("{{\"id\":\"plain\",\"region\":\"{region}\"}}\n"));
    }
    let config = pair.configure("", "dead_letters = { limit = 100 }", "page_size = 3", "");
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(pair.count("target", "copies"), regions.len());
    let letters = pair.letters();
    assert_eq!(letters.len(), 3 * regions.len());
    let mut places = BTreeSet::new();
    for letter in &letters {
        assert_eq!((letter.stage.as_str(), &letter.document), ("read", &None));
        assert!(letter.unparsed.as_ref().is_some_and(|text| text.starts_with(b"{\"id\":")));
        match letter.source_id.as_str() {
            "life" => assert!(letter.source_key.starts_with("[\"r") && letter.range_min.is_empty()),
            "key" => {
                assert_eq!(letter.source_key, "[]");
                places.insert((letter.range_min.as_str(), letter.lsn));
            }
            id => assert!(id.is_empty() && letter.source_key.starts_with("[\"r"), "{id}"),
        }
    }
    assert_eq!(places.len(), regions.len());
    let ranges: BTreeSet<_> = places.iter().map(|(range, _)| *range).collect();
    assert_eq!(ranges.len(), 2, "a letter without a key has the range: {ranges:?}");
}

/// A copy that cannot be parsed moves and goes as any other does.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_cannot_be_parsed_is_moved_and_deleted() {
    let source = remembering(&["/region"], 1);
    let pair = Pair::start(&source, &ContainerSettings::new(&["/place"], 1)).await;
    let start = "mode = \"all-versions-and-deletes\"\nstart = \"now\"";
    let config = pair.configure("", "", start, "partition_key = [\"/place\"]");
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    let hold = |place: &str| {
        let text = format!(r#"{{"id":"half","region":"n","place":"{place}","t":"\ud83d"}}"#);
        pair.accounts
            .hold("source", ["shop", "orders"], "[\"n\"]", "half", text.as_bytes())
            .unwrap();
    };
    let places = || pair.accounts.documents("target", "shop", "copies").unwrap();
    hold("east");
    eventually("it is copied", || places().len() == 1).await;
    hold("west");
    eventually("it is moved", || {
        let places = places();
        places.len() == 1 && places[0].contains(r#""place":"west""#) && places[0].contains("ud83d")
    })
    .await;
    pair.delete("half");
    eventually("it is deleted", || places().is_empty()).await;
    assert_eq!(pair.letters(), []);
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
}

/// What the route needs is a dead letter. A route that does not need it copies it by `dlq replay`.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_route_needs_is_a_letter_until_the_route_is_changed() {
    let settings = ContainerSettings::new(&["/region"], 1);
    let pair = Pair::start(&settings, &settings).await;
    write(&pair);
    let config = pair.configure("", "", "", "jq = \".\"");
    assert_eq!(Bridge::catch_up(&config).await.code(), Some(0));
    assert_eq!(pair.count("target", "copies"), PLAIN as usize);
    are_letters(&pair, "route", &texts().collect::<Vec<_>>());
    assert!(pair.letters()[0].cause.contains("jq needs the whole document"));

    let config = pair.configure("", "", "", "");
    let replayed = Bridge::command(&config, &["dlq", "replay"]).await;
    assert!(replayed.log.contains("left=2"), "{}", replayed.log);
    is_complete_but_for_stages(&pair);

    // Times in the feed are whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    for (id, _) in NO_JSON {
        pair.seed(&format!("{{\"id\":\"{id}\",\"region\":\"n\"}}\n"));
    }
    assert_eq!(Bridge::catch_up(&config).await.code(), Some(0));
    assert_eq!(pair.count("target", "copies"), PLAIN as usize + JSON.len() + NO_JSON.len());
    let replayed = Bridge::command(&config, &["dlq", "replay"]).await;
    assert_eq!(replayed.code(), Some(0), "{}", replayed.log);
    assert_eq!(pair.letters(), []);
}

fn is_complete_but_for_stages(pair: &Pair) {
    for (id, text) in JSON {
        assert_eq!(copy_of(pair, id), String::from_utf8_lossy(text));
    }
    are_letters(pair, "route", &NO_JSON);
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
    for (id, _) in texts() {
        pair.seed(&format!("{{\"id\":\"{id}\",\"region\":\"n\",\"n\":2}}\n"));
    }
    let all = PLAIN as usize + texts().count();
    let is_new = |id: &str| copy_of(&pair, id).contains("\"n\":2");
    eventually("all are copied", || {
        pair.count("target", "copies") == all && texts().all(|(id, _)| is_new(id))
    })
    .await;
    // A letter is stored with the position, after the copies of its page.
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
    assert_eq!(pair.letters().len(), NO_JSON.len());
}
