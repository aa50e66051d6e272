//! What exists is copied, and then every change since, deletes too, while the bridge is killed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use cosmos_bridge_emulator::PreviousImages;
use cosmos_bridge_emulator::chance::Chance;
use cosmos_bridge_emulator::container::Container;
use cosmos_bridge_emulator::document::Address;
use cosmos_bridge_emulator::store::KeyRange;
use cosmos_bridge_emulator::world::ContainerSettings;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::support::history::{announce, newest_versions, remembering};
use crate::support::{Bridge, PATIENCE, Pair, eventually};

const FULL_COPY: &str =
    "mode = \"all-versions-and-deletes\"\nstart = \"beginning\"\npoll_interval = \"50ms\"";
const SEED: u64 = 18;
const KILLS: u64 = 20;
/// Changes per second while the bridge copies, and how often some are made.
const RATE: u64 = 5000;
const TICK: Duration = Duration::from_millis(20);

/// A million with `COSMOS_BRIDGE_DOCUMENTS=1000000`.
#[expect(clippy::disallowed_methods, reason = "the size of a test, not configuration")]
fn documents() -> u64 {
    let set = std::env::var("COSMOS_BRIDGE_DOCUMENTS").ok();
    set.map_or(100_000, |count| count.parse().expect("a number of documents"))
}

/// The documents of a container that is in use.
struct Catalogue {
    chance: Chance,
    /// The number of writes of each document, deletes included.
    writes: Vec<u64>,
    addresses: HashMap<String, Address>,
    changes: u64,
    deletes: u64,
    created_again: u64,
}

impl Catalogue {
    /// Fills the source. Some documents are deleted again, before the bridge starts.
    fn fill(pair: &Pair, documents: u64) -> Self {
        announce(&format!("seed {SEED}"));
        let count = usize::try_from(documents).unwrap();
        let mut catalogue = Self {
            chance: Chance::new(SEED),
            writes: vec![0; count],
            addresses: HashMap::new(),
            changes: 0,
            deletes: 0,
            created_again: 0,
        };
        for first in (0..count).step_by(1000) {
            let numbers = first..(first + 1000).min(count);
            let lines: String = numbers.map(|number| catalogue.write(number)).collect();
            pair.seed(&lines);
        }
        let source = pair.source();
        let store = source.store(pair.accounts.world.clock.now());
        let all = KeyRange::all();
        catalogue.addresses = store
            .between(&all, None)
            .map(|(address, _)| (address.id.to_string(), Address::clone(address)))
            .collect();
        drop(store);
        catalogue.change(pair, documents / 20);
        catalogue
    }

    /// The next version of a document.
    fn write(&mut self, number: usize) -> String {
        self.writes[number] += 1;
        let (sequence, city) = (self.writes[number], self.chance.below(50));
        format!(
            "{{\"id\":\"d-{number}\",\"orderId\":\"d-{number}\",\"city\":\"c{city}\",\
             \"sequence\":{sequence},\"note\":\"{:x<200}\"}}\n",
            ""
        )
    }

    /// Makes some changes: half of them replace a document, or create it again if it was deleted.
    fn change(&mut self, pair: &Pair, count: u64) {
        let (now, source) = (pair.accounts.world.clock.now(), pair.source());
        for _ in 0..count {
            let number = self.chance.index(self.writes.len());
            let address = &self.addresses[&format!("d-{number}")];
            let exists = source.store(now).get(address).is_some();
            self.changes += 1;
            if exists && self.chance.below(2) == 0 {
                let mut store = source.store(now);
                store.begin();
                store.remove(address, false, now);
                self.writes[number] += 1;
                self.deletes += 1;
            } else {
                self.created_again += u64::from(!exists);
                let line = self.write(number);
                pair.accounts.seed("source", "shop", "orders", &line).unwrap();
            }
        }
    }

    /// Changes documents at the usual rate until the target has taken `goal` writes.
    async fn until_written(&mut self, pair: &Pair, goal: u64, bridge: &mut Bridge) {
        let deadline = Instant::now() + PATIENCE;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while pair.written() < goal {
            assert!(bridge.is_running(), "{}", bridge.log());
            assert!(Instant::now() < deadline, "no document is written:\n{}", bridge.log());
            ticks.tick().await;
            self.change(pair, RATE * u64::try_from(TICK.as_millis()).unwrap() / 1000);
        }
    }
}

async fn pair(images: PreviousImages, target: &str) -> Pair {
    let source = ContainerSettings { previous_images: images, ..remembering(&["/orderId"], 2) };
    Pair::start(&source, &ContainerSettings::new(&[target], 2)).await
}

fn configure(pair: &Pair, route: &str) -> std::path::PathBuf {
    let config =
        pair.configure("", "window = 400", &format!("{FULL_COPY}\npage_size = 200"), route);
    let quiet = std::fs::read_to_string(&config).unwrap() + "\n[log]\nlevel = \"info\"\n";
    std::fs::write(&config, quiet).unwrap();
    config
}

/// The target has each document of the source once, at its last version.
fn assert_equal(pair: &Pair) {
    let (source, target) =
        (newest_versions(pair, &pair.source()), newest_versions(pair, &pair.target()));
    let extra = target.keys().filter(|id| !source.contains_key(*id)).count();
    let missing = source.keys().filter(|id| !target.contains_key(*id)).count();
    let stale = source.iter().filter(|(id, n)| target.get(*id).is_some_and(|m| m != *n)).count();
    assert_eq!((missing, extra, stale), (0, 0, 0), "missing, extra and stale");
    assert_eq!(pair.count("target", "copies"), source.len(), "documents with two copies");
    assert_eq!(pair.letters(), []);
}

async fn catch_up(config: &Path) {
    let ended = Bridge::catch_up(config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
}

/// Copies a container in use, with kills at random moments.
async fn copy_with_kills(images: PreviousImages, target: &str, route: &str) {
    let documents = documents();
    let pair = pair(images, target).await;
    let mut catalogue = Catalogue::fill(&pair, documents);
    let config = configure(&pair, route);
    for _ in 0..KILLS {
        let mut bridge = Bridge::start(&config, &["run"]);
        let some = catalogue.chance.below(documents / KILLS);
        let goal = pair.written() + 1 + some;
        catalogue.until_written(&pair, goal, &mut bridge).await;
        bridge.kill().await;
    }
    catch_up(&config).await;
    assert_equal(&pair);
    let Catalogue { changes, deletes, created_again, .. } = catalogue;
    let read = pair.feed_counters().documents;
    announce(&format!(
        "{images:?}: {documents} documents, {changes} changes with {deletes} deletes and \
         {created_again} created again, {read} read"
    ));
    assert!(deletes > documents / 50 && created_again > documents / 1000);
    // Each kill repeats at most a hundredth.
    assert!(read <= documents + changes + KILLS * documents / 100, "{read} read");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_leave_what_the_source_has_without_previous_images() {
    copy_with_kills(PreviousImages::None, "/orderId", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_leave_what_the_source_has_under_another_key() {
    copy_with_kills(PreviousImages::All, "/city", "partition_key = [\"/city\"]").await;
}

/// A range is divided while what exists is read, and again while the changes are.
#[tokio::test(flavor = "multi_thread")]
async fn a_split_during_the_copy_loses_nothing() {
    let pair = pair(PreviousImages::None, "/orderId").await;
    let mut catalogue = Catalogue::fill(&pair, 10_000);
    let config = configure(&pair, "");
    let mut bridge = Bridge::start(&config, &["run"]);
    for goal in [1_000, 9_000] {
        catalogue.until_written(&pair, goal, &mut bridge).await;
        pair.accounts.split("source", "shop", "orders").await.unwrap();
    }
    catalogue.until_written(&pair, 15_000, &mut bridge).await;
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
    catch_up(&config).await;
    assert_equal(&pair);
    assert_eq!(pair.stored_ranges().len(), 4);
}

/// A sink that is added is filled, and a route without the snapshot gets the changes alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_sink_is_filled_and_a_route_may_leave_out_what_existed() {
    let pair = pair(PreviousImages::None, "/orderId").await;
    pair.seed("{\"id\":\"before\",\"orderId\":\"a\"}\n{\"id\":\"gone\",\"orderId\":\"a\"}\n");
    let file = |name: &str| {
        let path = pair.folder.path().join(name);
        format!(
            "[sinks.file.{name}]\npath = \"{}\"\nformat = \"envelope\"\ncloudevents = \"off\"\n",
            path.display()
        )
    };
    let sinks = file("all") + &file("changes");
    let routes = "to = \"changes\"\nsnapshot = false\n";
    let config = pair.configure_sinks(&sinks, "", FULL_COPY, routes);
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    pair.delete("gone");
    pair.seed("{\"id\":\"after\",\"orderId\":\"a\"}\n");
    let operations = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(pair.folder.path().join(name)).unwrap_or_default();
        let line = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let [operation, id] = ["operation", "id"].map(|name| event[name].as_str().unwrap());
            format!("{operation} {id}")
        };
        text.lines().map(line).collect()
    };
    eventually("the changes are published", || operations("changes").len() == 2).await;
    assert_eq!(operations("changes"), ["delete gone", "upsert after"]);
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));

    let both = format!("{routes}[[pipelines.orders.routes]]\nto = \"all\"\n");
    let config = pair.configure_sinks(&sinks, "", FULL_COPY, &both);
    catch_up(&config).await;
    assert_eq!(operations("all"), ["snapshot before", "snapshot after"]);
    pair.seed("{\"id\":\"last\",\"orderId\":\"a\"}\n");
    pair.delete("before");
    catch_up(&config).await;
    let all = ["snapshot before", "snapshot after", "upsert last", "delete before"];
    assert_eq!(operations("all"), all);
    assert_eq!(operations("changes")[2..], ["upsert last", "delete before"]);
}

/// An account without history is refused, as with `start = "now"`.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_history_is_refused_before_anything_is_copied() {
    let settings = ContainerSettings::new(&["/orderId"], 1);
    let pair = Pair::start(&settings, &settings).await;
    pair.seed("{\"id\":\"1\",\"orderId\":\"1\"}\n");
    let config = pair.configure("", "", FULL_COPY, "");
    let ended = Bridge::catch_up(&config).await;
    assert_ne!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(pair.written(), 0);
}

fn units(container: &Container) -> f64 {
    let stats = container.stats.lock().unwrap_or_else(PoisonError::into_inner);
    stats.kinds.values().map(|counters| counters.request_units).sum()
}

/// In request units; besides, each feed range is asked once for where it stands.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_copy_costs_what_a_copy_of_the_latest_versions_costs() {
    let mut costs = Vec::new();
    for source in ["", FULL_COPY] {
        let pair = pair(PreviousImages::None, "/orderId").await;
        Catalogue::fill(&pair, 20_000);
        let config = pair.configure("", "", source, "");
        let ended = Bridge::catch_up(&config).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        assert_equal(&pair);
        let copied = "what existed is copied; reading the changes since";
        let is_full = source == FULL_COPY;
        assert_eq!(ended.log.matches(copied).count(), usize::from(is_full) * 2, "{}", ended.log);
        let begun = ended.log.contains("copying what exists, and then every change since");
        assert_eq!(begun, is_full, "{}", ended.log);
        costs.push((units(&pair.source()), units(&pair.target())));
    }
    announce(&format!("request units of source and target, latest versions and full: {costs:?}"));
    let [(read, written), (all_read, all_written)] = costs[..] else { panic!("two copies") };
    assert!(all_read < read * 1.1 + 40.0, "{costs:?}");
    assert!(all_written < written * 1.02, "{costs:?}");
}
