//! A bridge that is killed many times loses no change and repeats few.

use std::collections::HashMap;
use std::time::Duration;

use cosmos_bridge_emulator::chance::Chance;
use cosmos_bridge_emulator::orders::{self, Orders};
use cosmos_bridge_emulator::store::KeyRange;
use cosmos_bridge_emulator::world::ContainerSettings;
use serde_json::Value;
use tokio::time::Instant;

use crate::support::history::{Version, announce, newest_versions, remembering, versions_after};
use crate::support::{Bridge, PATIENCE, Pair};

const SEED: u64 = 50;
const DOCUMENTS: u64 = 100_000;
const KILLS: usize = 50;
const RANGES: u32 = 4;
const WINDOW: usize = 500;
/// The upper bound for the documents that a bridge writes before it is killed. 50 lives of half of that, minus
/// repetitions, cover the whole run.
const LIFE: u64 = 5000;

/// The source's documents, which change while they are copied.
struct Shop {
    orders: Orders,
    chance: Chance,
    /// The latest version of every order that was changed.
    changed: HashMap<u64, Value>,
}

impl Shop {
    fn open(pair: &Pair) -> Self {
        // Few customers with many orders each, so that batches are part of what is killed.
        let orders = Orders::new(SEED).with_count(DOCUMENTS / 10);
        for first in (1..=DOCUMENTS).step_by(1000) {
            let lines = (first..first + 1000).map(|number| orders.text(number) + "\n");
            pair.seed(&lines.collect::<String>());
        }
        Self { orders, chance: Chance::new(SEED), changed: HashMap::new() }
    }

    /// Updates a random order.
    fn change_one(&mut self, pair: &Pair) {
        let number = 1 + self.chance.below(DOCUMENTS);
        let order = self.changed.remove(&number).unwrap_or_else(|| self.orders.order(number));
        let order = orders::update(&order, &mut self.chance);
        pair.seed(&order.to_string());
        self.changed.insert(number, order);
    }

    /// Changes orders until the target has received `goal` documents in total.
    async fn until_written(&mut self, pair: &Pair, goal: u64, bridge: &mut Bridge) {
        let deadline = Instant::now() + PATIENCE;
        while pair.written() < goal {
            assert!(bridge.is_running(), "{}", bridge.log());
            assert!(Instant::now() < deadline, "no document is written:\n{}", bridge.log());
            self.change_one(pair);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Records repeated writes to the target.
struct Watch {
    /// The feed range of each document.
    ranges: HashMap<String, usize>,
    /// The newest version of each document that the target received.
    seen: HashMap<String, u64>,
    lsn: u64,
}

impl Watch {
    fn new(pair: &Pair) -> Self {
        let source = pair.source();
        let store = source.store(pair.accounts.world.clock.now());
        let mut ranges = HashMap::new();
        for (number, range) in source.ranges().iter().enumerate() {
            let keys: &KeyRange = &range.keys;
            let of_range = store.between(keys, None);
            ranges.extend(of_range.map(|(address, _)| (address.id.to_string(), number)));
        }
        Self { ranges, seen: HashMap::new(), lsn: 0 }
    }

    /// The number of repeated versions per feed range since the last call.
    fn repeated(&mut self, pair: &Pair) -> Vec<usize> {
        let (versions, lsn) = versions_after(pair, &pair.target(), self.lsn);
        self.lsn = lsn;
        let mut repeated = vec![0; RANGES as usize];
        for Version { id, sequence } in versions {
            let newest = self.seen.get(&id).copied().unwrap_or(0);
            if sequence <= newest {
                repeated[self.ranges[&id]] += 1;
            } else {
                self.seen.insert(id, sequence);
            }
        }
        repeated
    }
}

/// The numbers of documents that are missing and stale in the target.
fn behind(pair: &Pair) -> (usize, usize) {
    let copies = newest_versions(pair, &pair.target());
    let (mut missing, mut stale) = (0, 0);
    for (id, sequence) in newest_versions(pair, &pair.source()) {
        match copies.get(&id) {
            None => missing += 1,
            Some(copied) => stale += usize::from(*copied != sequence),
        }
    }
    (missing, stale)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_lose_nothing_and_repeat_no_more_than_the_window() {
    announce(&format!("seed {SEED}"));
    let source = ContainerSettings::new(&["/orderId"], RANGES);
    let target = remembering(&["/customer/region", "/customerId"], RANGES);
    let pair = Pair::start(&source, &target).await;
    let mut shop = Shop::open(&pair);
    let mut watch = Watch::new(&pair);
    // A position is stored only when the window is full or the feed ends, so only the window limits
    // repetitions.
    let config = pair.configure(
        "",
        &format!("window = {WINDOW}\ncheckpoint_interval = \"1h\""),
        "page_size = 100",
        "partition_key = [\"/customer/region\", \"/customerId\"]",
    );
    let mut chance = Chance::of(SEED, 1, 0);
    let mut repeats = Vec::new();
    for _ in 0..KILLS {
        let goal = pair.written() + chance.below(LIFE);
        let mut bridge = Bridge::start(&config, &["run"]);
        shop.until_written(&pair, goal, &mut bridge).await;
        bridge.kill().await;
        repeats.push(watch.repeated(&pair));
    }
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    repeats.push(watch.repeated(&pair));

    assert_eq!(behind(&pair), (0, 0), "documents missing and stale in the target");
    assert!(pair.is_equal());
    let most = repeats.iter().flatten().max().unwrap();
    let total: usize = repeats.iter().flatten().sum();
    announce(&format!("written again: {total} in all, at most {most} of a range after a kill"));
    assert!(*most <= WINDOW, "written again after each kill, by feed range: {repeats:?}");
    assert!(total > 0, "no kill came at a moment at which anything had to be repeated");
    assert!(shop.changed.len() > KILLS, "nothing changed while it was copied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_less_than_two_pages_does_not_wait_for_the_checkpoint_interval() {
    let settings = ContainerSettings::new(&["/orderId"], 1);
    let pair = Pair::start(&settings, &settings).await;
    let orders = Orders::new(SEED);
    pair.seed(&(1..=1000).map(|number| orders.text(number) + "\n").collect::<String>());
    for window in [100, 101, 199, 200] {
        let pipeline = format!("window = {window}\ncheckpoint_interval = \"1h\"");
        let config = pair.configure("", &pipeline, "page_size = 100", "");
        for file in ["cosmos-bridge.db", "cosmos-bridge.db-wal", "cosmos-bridge.db-shm"] {
            std::fs::remove_file(config.with_file_name(file)).ok();
        }
        let ended = Bridge::catch_up(&config).await;
        assert_eq!(ended.code(), Some(0), "window = {window}: {}", ended.log);
    }
    assert!(pair.is_equal());
}
