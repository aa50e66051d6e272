//! Feed ranges are split and merged, and containers recreated, while a bridge reads them.

use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{Effect, FaultRule};

use crate::support::history::{Load, by_document, out_of_order, remembering};
use crate::support::{Bridge, Ended, Pair, eventually};

const ROUTE: &str = "partition_key = [\"/customerId\"]";
/// Small pages and frequent polls, so that events fall between pages.
const SOURCE: &str = "page_size = 20\npoll_interval = \"100ms\"";

async fn pair(partitions: u32) -> Pair {
    let source = remembering(&["/orderId"], partitions);
    Pair::start(&source, &remembering(&["/customerId"], 2)).await
}

/// Delays every page of the feed, so that the backlog lasts.
fn slow_feed(pair: &Pair) {
    pair.accounts.fault(FaultRule {
        account: Some("source".to_owned()),
        operation: Some("feed".to_owned()),
        then: Effect { delay_ms: Some(20), ..Effect::default() },
        ..FaultRule::default()
    });
}

async fn split(pair: &Pair) {
    pair.accounts.split("source", "shop", "orders").await.unwrap();
}

/// Merges the first two ranges.
async fn merge(pair: &Pair) {
    let ranges = pair.accounts.state("source", "shop", "orders").unwrap().ranges;
    let ids = [ranges[0].id.as_str(), ranges[1].id.as_str()];
    pair.accounts.merge("source", "shop", "orders", ids).await.unwrap();
}

/// Waits until source and target are equal, then stops the bridge with SIGTERM.
async fn settle(pair: &Pair, bridge: Bridge) -> Ended {
    eventually("source and target are equal", || pair.is_equal()).await;
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(pair.is_equal());
    ended
}

fn assert_in_order(pair: &Pair) {
    let wrong = out_of_order(pair.received());
    assert!(wrong.is_empty(), "older versions came after newer ones: {wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_amid_a_backlog_lose_nothing_and_keep_each_documents_order() {
    let pair = pair(2).await;
    let mut load = Load::new(3000, 1);
    load.write_all(&pair);
    slow_feed(&pair);
    let config = pair.configure("", "", SOURCE, ROUTE);
    let bridge = Bridge::start(&config, &["run"]);
    for part in 1..=3 {
        let reached = || pair.count("target", "copies") >= 400 * part;
        load.until(&pair, "a part of the backlog is copied", reached).await;
        split(&pair).await;
        assert!(pair.count("target", "copies") < 3000, "the backlog is over before the split");
    }
    load.until(&pair, "the backlog is copied", || pair.count("target", "copies") == 3000).await;
    let ended = settle(&pair, bridge).await;
    assert_in_order(&pair);
    assert!(ended.log.contains("followed a split"), "{}", ended.log);
    assert_eq!(pair.stored_ranges().len(), 5, "two ranges, split three times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_that_takes_long_holds_up_its_own_range_only() {
    let pair = pair(2).await;
    let mut load = Load::new(400, 2);
    load.write_all(&pair);
    let config = pair.configure("", "", SOURCE, ROUTE);
    let bridge = Bridge::start(&config, &["run"]);
    eventually("all is copied", || pair.is_equal()).await;
    let world = &pair.accounts.world;
    world.split("source", "shop", "orders", None, true).await.unwrap();
    let (refused, written) = (pair.feed_errors(), pair.written());
    let held = || pair.feed_errors() >= refused + 3 && pair.written() >= written + 50;
    load.until(&pair, "one range is refused while the other goes on", held).await;
    assert!(!pair.is_equal(), "a range that is being split was read");
    world.complete("source", "shop", "orders").await.unwrap();
    load.write_some(&pair, 100);
    settle(&pair, bridge).await;
    assert_in_order(&pair);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_split_twice_between_two_polls_is_followed_to_its_leaves() {
    let pair = pair(1).await;
    let mut load = Load::new(1000, 3);
    load.write_all(&pair);
    slow_feed(&pair);
    let config = pair.configure("", "", SOURCE, ROUTE);
    let bridge = Bridge::start(&config, &["run"]);
    let reached = || pair.count("target", "copies") >= 200;
    load.until(&pair, "a part of the backlog is copied", reached).await;
    for _ in 0..3 {
        split(&pair).await;
    }
    load.write_some(&pair, 200);
    settle(&pair, bridge).await;
    assert_in_order(&pair);
    assert_eq!(pair.stored_ranges().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_lose_nothing_and_keep_each_documents_order() {
    let pair = pair(4).await;
    let mut load = Load::new(2000, 4);
    load.write_all(&pair);
    slow_feed(&pair);
    let config = pair.configure("", "", SOURCE, ROUTE);
    let bridge = Bridge::start(&config, &["run"]);
    for part in 1..=3 {
        let reached = || pair.count("target", "copies") >= 300 * part;
        load.until(&pair, "a part of the backlog is copied", reached).await;
        merge(&pair).await;
    }
    load.write_some(&pair, 100);
    split(&pair).await;
    load.write_some(&pair, 100);
    settle(&pair, bridge).await;
    assert_in_order(&pair);

    // The stored positions resume the merged range as well.
    load.write_some(&pair, 300);
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(pair.is_equal());
    assert_in_order(&pair);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_stops_or_is_killed_around_splits_goes_on_where_it_was() {
    let pair = pair(1).await;
    let mut load = Load::new(1500, 5);
    load.write_all(&pair);
    slow_feed(&pair);
    let config = pair.configure("", "", SOURCE, ROUTE);
    for life in 0..6 {
        let bridge = Bridge::start(&config, &["run"]);
        let goal = pair.written() + 100;
        load.until(&pair, "the bridge goes on", || pair.written() >= goal).await;
        if life < 4 {
            split(&pair).await;
        } else {
            merge(&pair).await;
        }
        if life % 2 == 0 {
            bridge.terminate();
            let ended = bridge.ended().await;
            assert_eq!(ended.code(), Some(0), "{}", ended.log);
            split(&pair).await; // A second split while no bridge runs.
        } else {
            bridge.kill().await;
        }
        load.write_some(&pair, 20);
    }
    pair.accounts.clear_faults();
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(pair.is_equal());
    assert_in_order(&pair);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_arrives_once_and_in_order_through_splits_and_merges() {
    let pair = pair(2).await;
    let source = format!("mode = \"all-versions-and-deletes\"\nstart = \"now\"\n{SOURCE}");
    let config = pair.configure("", "", &source, ROUTE);
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    let mut load = Load::new(100, 6);
    load.write_all(&pair);
    for round in 1..=4 {
        let goal = 300 * round;
        load.until(&pair, "versions arrive", || pair.written() >= goal).await;
        if round % 2 == 0 {
            merge(&pair).await;
        } else {
            split(&pair).await;
        }
    }
    load.write_some(&pair, 200);
    settle(&pair, bridge).await;
    let received = by_document(pair.received());
    for (id, written) in load.versions() {
        assert_eq!(received[&id], written, "versions of {id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_recreated_under_the_bridge_parks_it_and_is_never_read() {
    let settings = ContainerSettings::new(&["/orderId"], 2);
    let pair = Pair::start(&settings, &ContainerSettings::new(&["/customerId"], 2)).await;
    Load::new(300, 7).write_all(&pair);
    let config = pair.configure("", "", SOURCE, ROUTE);
    let bridge = Bridge::start(&config, &["run"]);
    eventually("all is copied", || pair.is_equal()).await;
    let copies = pair.copied_ids();
    pair.accounts.world.delete_container("source", "shop", "orders").await.unwrap();
    pair.accounts.create_container("source", "shop", "orders", &settings).await.unwrap();
    pair.seed("{\"id\":\"new\",\"orderId\":\"new\",\"customerId\":\"c-1\",\"sequence\":1}\n");

    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(65), "{}", ended.log);
    assert!(ended.log.contains("parked"), "{}", ended.log);
    assert!(ended.log.contains("deleted and created again under the same name"), "{}", ended.log);
    assert_eq!(pair.copied_ids(), copies);

    let again = Bridge::catch_up(&config).await;
    assert_eq!(again.code(), Some(65), "{}", again.log);
    let message = "container `source/shop/orders` was deleted and created again: its positions \
                   mean nothing any more";
    assert!(again.log.contains(message), "{}", again.log);
    assert!(again.log.contains("give pipeline `orders` a new name"), "{}", again.log);
    assert_eq!(pair.copied_ids(), copies);
}
