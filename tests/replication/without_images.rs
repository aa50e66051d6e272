//! A source that sends no previous images, under a route whose key needs other fields than the source's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;

use cosmos_bridge_emulator::PreviousImages;
use cosmos_bridge_emulator::chance::Chance;
use cosmos_bridge_emulator::world::ContainerSettings;
use serde_json::{Value, json};

use crate::support::history::{announce, remembering};
use crate::support::{Bridge, Pair, eventually};

const ALL_VERSIONS: &str =
    "mode = \"all-versions-and-deletes\"\nstart = \"now\"\npoll_interval = \"50ms\"";
const BY_CITY: &str = "partition_key = [\"/city\"]";
const WITH_MOVES: &str = "partition_key = [\"/city\"]\nmoves = true";
const RECORDED: &str = "source_field = \"_source\"";
const SEED: u64 = 7;
const KILLS: u64 = 10;
/// Seconds.
const LIFETIME: u64 = 1000;

/// A source that sends these images.
async fn pair(images: PreviousImages) -> Pair {
    let source = ContainerSettings {
        default_ttl: Some(-1),
        previous_images: images,
        ..remembering(&["/orderId"], 2)
    };
    Pair::start(&source, &ContainerSettings::new(&["/city"], 2)).await
}

/// The documents of a container by their ids, without what the sink records.
fn contents(pair: &Pair, account: &str, container: &str) -> BTreeMap<String, Vec<Value>> {
    let mut contents: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in pair.accounts.documents(account, "shop", container).unwrap() {
        let mut document: serde_json::Map<String, Value> = serde_json::from_str(&line).unwrap();
        let recorded = document.remove("_source");
        assert!(account == "source" || recorded.is_none_or(|value| value["document"].is_string()));
        let id = document["id"].as_str().unwrap().to_owned();
        contents.entry(id).or_default().push(Value::Object(document));
    }
    contents
}

fn is_equal(pair: &Pair) -> bool {
    pair.count("source", "orders") == pair.count("target", "copies")
        && contents(pair, "source", "orders") == contents(pair, "target", "copies")
}

/// Starts a bridge, waits until it reads, and stops it.
async fn set_off(pair: &Pair, config: &Path) {
    let bridge = Bridge::start(config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
}

/// The history of a shop: documents are created, changed, moved to another city, deleted, created again,
/// and expire.
struct Shop {
    chance: Chance,
    documents: BTreeMap<u64, Value>,
    next: u64,
    /// How often each kind of change was made.
    changes: BTreeMap<&'static str, u64>,
}

impl Shop {
    fn new() -> Self {
        Self {
            chance: Chance::new(SEED),
            documents: BTreeMap::new(),
            next: 0,
            changes: BTreeMap::new(),
        }
    }

    fn city(&mut self) -> String {
        format!("city {}", self.chance.below(40))
    }

    /// Creates some documents, and changes as many of those that exist.
    fn go_on(&mut self, pair: &Pair, documents: u64) {
        let mut lines = String::new();
        for _ in 0..documents {
            let (number, city) = (self.next, self.city());
            self.next += 1;
            let id = format!("d{number}");
            let mut document = json!({"id": id, "orderId": id, "city": city, "n": 0});
            if self.chance.below(10) == 0 {
                document["ttl"] = LIFETIME.into();
            }
            lines.push_str(&document.to_string());
            lines.push('\n');
            self.documents.insert(number, document);
        }
        pair.seed(&lines);
        for _ in 0..documents {
            let number = self.chance.below(self.next);
            let city = self.city();
            let kind = match (self.documents.get_mut(&number), self.chance.below(4)) {
                (None, _) => {
                    let id = format!("d{number}");
                    let document = json!({"id": id, "orderId": id, "city": city, "again": true});
                    self.documents.insert(number, document);
                    "created again"
                }
                (Some(_), 0) => {
                    self.documents.remove(&number);
                    "deleted"
                }
                (Some(document), 1) => {
                    document["city"] = city.into();
                    "moved"
                }
                (Some(document), _) => {
                    document["n"] = document["n"].as_u64().map(|n| n + 1).into();
                    "changed"
                }
            };
            *self.changes.entry(kind).or_default() += 1;
            match self.documents.get(&number) {
                Some(document) => pair.seed(&document.to_string()),
                None => pair.delete(&format!("d{number}")),
            }
        }
    }

    /// Lets all documents with a time to live expire.
    fn expire(&mut self, pair: &Pair) {
        pair.accounts.advance_clock(LIFETIME + 100);
        let before = self.documents.len();
        self.documents.retain(|_, document| document.get("ttl").is_none());
        *self.changes.entry("expired").or_default() += (before - self.documents.len()) as u64;
    }
}

/// What the target charged.
fn units(pair: &Pair) -> f64 {
    let target = pair.target();
    let stats = target.stats.lock().unwrap_or_else(PoisonError::into_inner);
    stats.kinds.values().map(|counters| counters.request_units).sum()
}

/// Copies the history with kills, or without; returns what the target charged.
async fn copy(images: PreviousImages, documents: u64, kills: u64) -> f64 {
    let (sink, route) = match images {
        PreviousImages::All => ("", BY_CITY),
        _ => (RECORDED, WITH_MOVES),
    };
    let pair = pair(images).await;
    let source = format!("{ALL_VERSIONS}\npage_size = 100");
    let config = pair.configure(sink, "window = 500", &source, route);
    let quiet = std::fs::read_to_string(&config).unwrap() + "\n[log]\nlevel = \"info\"\n";
    std::fs::write(&config, quiet).unwrap();
    set_off(&pair, &config).await;
    let mut shop = Shop::new();
    let rounds = KILLS;
    for round in 0..rounds {
        let bridge = Bridge::start(&config, &["run"]);
        shop.go_on(&pair, documents / rounds);
        let goal = pair.written() + shop.chance.below(documents / rounds);
        if round < kills {
            // Somewhere in the middle, or when all of it is written.
            let is_there = || pair.written() >= goal || is_equal(&pair);
            eventually("some is written", is_there).await;
            bridge.kill().await;
        } else {
            eventually("all is written", || is_equal(&pair)).await;
            bridge.terminate();
            assert_eq!(bridge.ended().await.code(), Some(0));
        }
        if round % 3 == 2 {
            shop.expire(&pair);
        }
    }
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(pair.letters(), []);
    let (source, target) =
        (contents(&pair, "source", "orders"), contents(&pair, "target", "copies"));
    assert_eq!(source.len(), shop.documents.len());
    assert!(target.values().all(|copies| copies.len() == 1), "a document has two copies");
    assert!(source == target, "{} in the source, {} in the target", source.len(), target.len());
    assert!(shop.changes.values().all(|count| *count > 0) && shop.changes.len() == 5);
    announce(&format!("{images:?}, {kills} kills: {:?}, {:.0} RU", shop.changes, units(&pair)));
    units(&pair)
}

/// 20,000 with `COSMOS_BRIDGE_DOCUMENTS=20000`.
#[expect(clippy::disallowed_methods, reason = "the size of a test, not configuration")]
fn documents() -> u64 {
    let set = std::env::var("COSMOS_BRIDGE_DOCUMENTS").ok();
    set.map_or(3000, |count| count.parse().expect("a number of documents"))
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_leave_every_document_once_and_at_its_place() {
    announce(&format!("seed {SEED}"));
    copy(PreviousImages::None, documents(), KILLS).await;
}

/// What the search for copies costs: the same history with and without images.
#[tokio::test(flavor = "multi_thread")]
async fn finding_copies_costs_a_part_of_what_writing_costs() {
    let documents = documents() / 2;
    let without = copy(PreviousImages::None, documents, 0).await;
    let with = copy(PreviousImages::All, documents, 0).await;
    announce(&format!("without images {:.3} of the request units with them", without / with));
    assert!(without < 2.0 * with, "{without} RU without images, {with} RU with them");
}

/// Without the record, the copy cannot be found: the dead letter says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_cannot_be_placed_is_a_letter_with_a_remedy() {
    let pair = pair(PreviousImages::None).await;
    let config = pair.configure("", "", ALL_VERSIONS, BY_CITY);
    set_off(&pair, &config).await;
    pair.seed("{\"id\":\"1\",\"orderId\":\"1\",\"city\":\"Bergen\"}\n");
    pair.delete("1");
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let letters = pair.letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(
        letters[0].cause,
        "the delete carries no previous image, and the target's key needs /city; with source_field, \
         the sink finds the copy"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_check_says_what_the_source_does_not_send() {
    let rejected = "warning: pipeline `orders`, sink `archive`: deletes become dead letters, because \
                    they need /city,";
    let stays = "warning: pipeline `orders`, sink `archive`: if /city of a document changes, its old \
                 copy stays,";
    let searched = "note: pipeline `orders`, sink `archive`: copies are looked for where previous \
                    images lack /city:";
    let all = [rejected, stays, searched];
    for (images, paths, sink, route, expected) in [
        (PreviousImages::None, "", "", BY_CITY, vec![rejected, stays]),
        (PreviousImages::None, "", RECORDED, BY_CITY, vec![stays, searched]),
        (PreviousImages::None, "", RECORDED, WITH_MOVES, vec![searched]),
        (PreviousImages::Delete, "", "", BY_CITY, vec![stays]),
        (PreviousImages::All, "", "", BY_CITY, vec![]),
        (PreviousImages::All, "/city", "", BY_CITY, vec![]),
        (PreviousImages::All, "/n", "", BY_CITY, vec![rejected, stays]),
        (
            PreviousImages::None,
            "",
            "",
            "partition_key = [{ path = \"/city\", from = \"/orderId\" }]",
            vec![],
        ),
    ] {
        let paths = if paths.is_empty() { vec![] } else { vec![paths.to_owned()] };
        let source = ContainerSettings {
            previous_images: images,
            included_paths: paths,
            ..remembering(&["/orderId"], 1)
        };
        let pair = Pair::start(&source, &ContainerSettings::new(&["/city"], 1)).await;
        let config = pair.configure(sink, "", ALL_VERSIONS, route);
        let ended = Bridge::start(&config, &["check", "--live"]).ended().await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        for text in all {
            let is_expected = expected.contains(&text);
            assert_eq!(ended.log.contains(text), is_expected, "{images:?} {route}: {}", ended.log);
        }
    }
}
