//! Failures in the middle of the SDK's change feed lose no change.

use std::collections::HashMap;
use std::time::Duration;

use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::write::{Action, Conditions, Draft};
use cosmos_bridge_emulator::{DropWhen, Effect, FaultRule};
use tokio::time::Instant;

use crate::support::history::{Load, announce, by_document, remembering};
use crate::support::{Bridge, Pair, eventually};

const ROUTE: &str = "partition_key = [\"/customerId\"]";
const PAGES: &str = "page_size = 20\npoll_interval = \"50ms\"";

async fn pair() -> Pair {
    let source = remembering(&["/orderId"], 2);
    Pair::start(&source, &remembering(&["/customerId"], 2)).await
}

fn document(id: &str, customer: &str) -> String {
    format!("{{\"id\":\"{id}\",\"orderId\":\"{id}\",\"customerId\":\"{customer}\"}}\n")
}

/// A fault rule for requests to the source's feed.
fn on_feed(effect: &Effect) -> FaultRule {
    FaultRule {
        account: Some("source".to_owned()),
        operation: Some("feed".to_owned()),
        then: effect.clone(),
        ..FaultRule::default()
    }
}

fn status(status: u16, substatus: Option<u32>) -> Effect {
    Effect { status: Some(status), substatus, ..Effect::default() }
}

/// How often the active rules have fired.
fn fired(pair: &Pair) -> u64 {
    pair.accounts.world.faults.list().iter().map(|armed| armed.fired).sum()
}

async fn catch_up(config: &std::path::Path) {
    let ended = Bridge::catch_up(config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
}

/// The newest version of each document.
fn newest(documents: HashMap<String, Vec<u64>>) -> HashMap<String, u64> {
    let newest = |(id, sequences): (_, Vec<u64>)| (id, sequences.into_iter().max().unwrap());
    documents.into_iter().map(newest).collect()
}

/// The faults that an answer of the feed can have.
fn mishaps() -> Vec<(&'static str, Effect)> {
    let effect = Effect::default;
    vec![
        ("half of the answer", Effect { truncate: true, ..effect() }),
        ("no answer, unread", Effect { drop: Some(DropWhen::Before), ..effect() }),
        ("no answer, read", Effect { drop: Some(DropWhen::After), ..effect() }),
        ("throttled", Effect { retry_after_ms: Some(30), ..status(429, Some(3200)) }),
        ("throttled by a split", status(429, Some(3088))),
        ("unavailable", status(503, None)),
        ("range is moving", status(410, Some(1007))),
        ("broken", status(500, None)),
    ]
}

/// After an error the SDK's iterator cannot continue, and its token may be past a page that it did not return.
#[tokio::test(flavor = "multi_thread")]
async fn every_version_arrives_once_and_in_order_whatever_happens_to_the_answers() {
    for (name, effect) in mishaps() {
        let pair = pair().await;
        let source = format!("mode = \"all-versions-and-deletes\"\nstart = \"now\"\n{PAGES}");
        let config = pair.configure("", "", &source, ROUTE);
        let bridge = Bridge::start(&config, &["run"]);
        eventually("the bridge reads", || pair.is_reading()).await;
        bridge.terminate();
        assert_eq!(bridge.ended().await.code(), Some(0), "{name}");

        let mut load = Load::new(50, 10);
        load.write_all(&pair);
        load.write_some(&pair, 250);
        pair.accounts.fault(FaultRule { every: Some(4), ..on_feed(&effect) });
        catch_up(&config).await;
        assert!(fired(&pair) > 2, "{name} never happened");
        assert_eq!(by_document(pair.received()), load.versions(), "{name}");
    }
}

/// A plan that is made again must not use its start again: a second "now" would skip changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_began_now_is_resumed_where_it_was() {
    for (name, effect) in mishaps() {
        let pair = pair().await;
        pair.seed("{\"id\":\"old\",\"orderId\":\"old\",\"customerId\":\"c-1\",\"sequence\":1}\n");
        let config = pair.configure("", "", &format!("start = \"now\"\n{PAGES}"), ROUTE);
        let mut bridge = Bridge::start(&config, &["run"]);
        eventually("the bridge reads", || pair.is_reading()).await;
        // Every reader fails; the changes written meanwhile are after its position.
        let rule = FaultRule { times: Some(6), ..on_feed(&effect) };
        pair.accounts.fault(rule);
        let mut load = Load::new(100, 11);
        load.write_all(&pair);
        eventually("every fault has fired", || fired(&pair) == 6).await;
        load.write_all(&pair);
        eventually("all is copied", || {
            assert!(bridge.is_running(), "{name}: {}", bridge.log());
            newest(by_document(pair.received())) == newest(load.versions())
        })
        .await;
        bridge.kill().await;
    }
}

/// The token of a parent range resumes its children; a start time in addition would filter their changes.
#[tokio::test(flavor = "multi_thread")]
async fn ranges_split_while_nobody_reads_are_resumed_without_loss_or_repetition() {
    let pair = pair().await;
    let source = format!("mode = \"all-versions-and-deletes\"\nstart = \"now\"\n{PAGES}");
    let config = pair.configure("", "", &source, ROUTE);
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
    let mut load = Load::new(100, 12);
    for splits in 1..=3 {
        load.write_all(&pair);
        load.write_some(&pair, 100);
        for _ in 0..splits {
            pair.accounts.split("source", "shop", "orders").await.unwrap();
        }
        load.write_some(&pair, 100);
        catch_up(&config).await;
        assert_eq!(by_document(pair.received()), load.versions(), "after {splits} splits");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_at_a_time_survives_faults_without_a_gap() {
    let pair = pair().await;
    Load::new(100, 13).write_all(&pair);
    pair.accounts.advance_clock(1000);
    let since = i64::from(pair.accounts.world.clock.now());
    let since = jiff::Timestamp::from_second(since).unwrap();
    pair.accounts.advance_clock(1000);
    let new: Vec<String> = (0..300).map(|number| format!("n-{number:03}")).collect();
    pair.seed(&new.iter().map(|id| document(id, "c-1")).collect::<String>());
    let config = pair.configure("", "", &format!("start = {since}\n{PAGES}"), ROUTE);
    let truncate = Effect { truncate: true, ..Effect::default() };
    pair.accounts.fault(FaultRule { every: Some(3), ..on_feed(&truncate) });
    catch_up(&config).await;
    assert!(fired(&pair) > 2);
    assert_eq!(pair.copied_ids(), new);
}

/// A plan without a token reads any container with that name.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_recreated_before_anything_was_read_parks_the_bridge() {
    let settings = ContainerSettings::new(&["/orderId"], 2);
    let pair = Pair::start(&settings, &ContainerSettings::new(&["/customerId"], 2)).await;
    Load::new(100, 14).write_all(&pair);
    pair.accounts.fault(on_feed(&status(503, None)));
    let config = pair.configure("", "", PAGES, ROUTE);
    let bridge = Bridge::start(&config, &["run"]);
    eventually("every reader has failed", || {
        pair.stored_ranges().len() == 2 && pair.feed_errors() >= 4
    })
    .await;
    pair.accounts.world.delete_container("source", "shop", "orders").await.unwrap();
    pair.accounts.create_container("source", "shop", "orders", &settings).await.unwrap();
    pair.seed(&document("new", "c-1"));
    pair.accounts.clear_faults();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(65), "{}", ended.log);
    assert!(ended.log.contains("deleted and created again under the same name"), "{}", ended.log);
    assert_eq!(pair.count("target", "copies"), 0);
}

/// The SDK takes an item for an envelope by the names of its fields.
#[tokio::test(flavor = "multi_thread")]
async fn documents_that_look_like_the_feeds_own_envelope_survive() {
    for mode in ["latest-version", "all-versions-and-deletes"] {
        let pair = pair().await;
        let source = format!("mode = \"{mode}\"\nstart = \"now\"\n{PAGES}");
        let config = pair.configure("", "", &source, ROUTE);
        let bridge = Bridge::start(&config, &["run"]);
        eventually("the bridge reads", || pair.is_reading()).await;
        for (number, fields) in [
            "\"current\":{\"id\":\"x\"},\"previous\":{},\"metadata\":{\"lsn\":1}",
            "\"current\":null,\"metadata\":{\"operationType\":\"delete\"}",
            "\"metadata\":{\"operationType\":\"delete\",\"timeToLiveExpired\":true}",
        ]
        .iter()
        .enumerate()
        {
            let keys = format!("\"orderId\":\"{number}\",\"customerId\":\"c-1\"");
            pair.seed(&format!("{{\"id\":\"{number}\",{keys},{fields}}}\n"));
        }
        eventually(mode, || pair.is_equal()).await;
        bridge.kill().await;
    }
}

/// By default the SDK retries 18 times, for up to 270 s, inside one call.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_feed_is_asked_again_when_the_service_says() {
    let settings = ContainerSettings::new(&["/orderId"], 1);
    let pair = Pair::start(&settings, &ContainerSettings::new(&["/customerId"], 1)).await;
    Load::new(100, 15).write_all(&pair);
    let config = pair.configure("", "", "", ROUTE);
    let throttled = Effect { retry_after_ms: Some(700), ..status(429, Some(3200)) };
    pair.accounts.fault(FaultRule { times: Some(4), ..on_feed(&throttled) });
    let started = Instant::now();
    catch_up(&config).await;
    assert!(started.elapsed() >= Duration::from_millis(4 * 700), "{:?}", started.elapsed());
    assert!(pair.is_equal());
    let feed = pair.feed_counters();
    assert_eq!((feed.throttled, feed.documents), (4, 100), "each refusal and each document once");
    // Three pages, because throttling makes them smaller; then polls, while the target is written.
    let polled = started.elapsed().saturating_sub(Duration::from_millis(4 * 700));
    // Polls begin every 10 ms, and then cost at most twice the idle budget of 32 RU/s.
    let polls = 3 + polled.as_millis() / 15;
    let allowed = 4 + 3 + 1 + u64::try_from(polls).unwrap();
    assert!((6..=allowed).contains(&feed.requests), "{} requests", feed.requests);
}

/// Changes of one transaction share a position, so they are all on one page, which has no size limit.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_larger_than_page_and_window_arrive_whole() {
    let source = ContainerSettings::new(&["/customerId"], 2);
    let pair = Pair::start(&source, &ContainerSettings::new(&["/orderId"], 2)).await;
    for customer in 0..10 {
        let container = pair.source();
        let now = pair.accounts.world.clock.now();
        let mut store = container.store(now);
        let mut draft = Draft::new(&container, &mut store, now);
        for order in 0..60 {
            let id = format!("{customer}-{order}");
            let line = document(&id, &format!("c-{customer}"));
            let action = Action::Upsert { body: line.into_bytes().into() };
            draft.perform(action, &Conditions::default(), None).unwrap();
        }
        draft.commit();
    }
    let source = "page_size = 10\npoll_interval = \"50ms\"";
    let config = pair.configure("", "window = 10", source, "");
    let truncate = Effect { truncate: true, ..Effect::default() };
    pair.accounts.fault(FaultRule { every: Some(3), ..on_feed(&truncate) });
    catch_up(&config).await;
    assert!(fired(&pair) > 2);
    assert_eq!(pair.count("target", "copies"), 600);
    assert!(pair.is_equal());
}

/// The SDK retries a range that is being split without a pause, then gives up.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_being_split_is_not_hammered() {
    let settings = ContainerSettings::new(&["/orderId"], 1);
    let pair = Pair::start(&settings, &ContainerSettings::new(&["/customerId"], 1)).await;
    Load::new(10, 16).write_all(&pair);
    let config = pair.configure("", "", PAGES, ROUTE);
    let bridge = Bridge::start(&config, &["run"]);
    eventually("all is copied", || pair.is_equal()).await;
    pair.accounts.world.split("source", "shop", "orders", None, true).await.unwrap();
    pair.seed(&document("late", "c-1"));
    let before = pair.feed_errors();
    eventually("requests for the range fail", || pair.feed_errors() > before).await;
    let before = pair.feed_errors();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let asked = pair.feed_errors() - before;
    announce(&format!("asked {asked} times in 4 s"));
    assert!(asked <= 100, "asked {asked} times in 4 s");
    pair.accounts.world.complete("source", "shop", "orders").await.unwrap();
    eventually("the rest is copied", || pair.is_equal()).await;
    bridge.kill().await;
}
