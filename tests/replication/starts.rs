//! "Now" is the time of the first start, for every feed range, also if it does not answer then.

use cosmos_bridge_emulator::{Effect, FaultRule};

use crate::support::history::remembering;
use crate::support::{Bridge, Pair, eventually};

const ALL_VERSIONS: &str =
    "mode = \"all-versions-and-deletes\"\nstart = \"now\"\npoll_interval = \"50ms\"";
const ROUTE: &str = "partition_key = [\"/customerId\"]";

/// A source of two physical ranges, and as many documents for both.
async fn pair() -> Pair {
    let pair = Pair::start(&remembering(&["/orderId"], 2), &remembering(&["/customerId"], 2)).await;
    pair.seed(&documents("old"));
    pair
}

fn documents(name: &str) -> String {
    let document = |n| {
        format!("{{\"id\":\"{name}-{n}\",\"orderId\":\"{name}-{n}\",\"customerId\":\"c-1\"}}\n")
    };
    (0..20).map(document).collect()
}

fn second_range(pair: &Pair) -> String {
    pair.accounts.state("source", "shop", "orders").unwrap().ranges[1].id.clone()
}

/// The second range of the source does not answer, until the faults are cleared.
fn silence_the_second_range(pair: &Pair) -> u64 {
    silence(pair, second_range(pair))
}

/// A range of the source does not answer. Returns the id of the fault.
fn silence(pair: &Pair, range: String) -> u64 {
    pair.accounts.fault(FaultRule {
        account: Some("source".to_owned()),
        operation: Some("feed".to_owned()),
        range: Some(range),
        then: Effect { status: Some(503), ..Effect::default() },
        ..FaultRule::default()
    })
}

fn fired(pair: &Pair) -> u64 {
    pair.accounts.world.faults.list().iter().map(|armed| armed.fired).sum()
}

fn copied(pair: &Pair, name: &str) -> usize {
    pair.copied_ids().iter().filter(|id| id.starts_with(name)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_does_not_answer_at_the_start_begins_at_the_time_of_the_start() {
    for is_killed in [false, true] {
        let pair = pair().await;
        // So that nothing was written in the second of the start.
        let written = pair.accounts.world.clock.now();
        eventually("seconds have passed", || pair.accounts.world.clock.now() > written + 2).await;
        silence_the_second_range(&pair);
        let config = pair.configure("", "", "start = \"now\"\npoll_interval = \"50ms\"", ROUTE);
        let bridge = Bridge::start(&config, &["run"]);
        eventually("it reads", || fired(&pair) > 2 && pair.stored_ranges().len() == 2).await;
        pair.seed(&documents("new"));
        let bridge = if is_killed {
            bridge.kill().await;
            pair.seed(&documents("later"));
            Bridge::start(&config, &["run"])
        } else {
            bridge
        };
        eventually("the second range is asked again", || fired(&pair) > 5).await;
        pair.accounts.clear_faults();
        eventually("all that came after the start is copied", || copied(&pair, "new") == 20).await;
        if is_killed {
            eventually("the rest is copied", || copied(&pair, "later") == 20).await;
        }
        assert_eq!(copied(&pair, "old"), 0, "{}", bridge.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_versions_are_not_read_before_every_range_has_told_where_it_stands() {
    let pair = pair().await;
    silence_the_second_range(&pair);
    let config = pair.configure("", "", ALL_VERSIONS, ROUTE);
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the second range is asked", || fired(&pair) > 4).await;
    assert_eq!(pair.stored_ranges(), [], "{}", bridge.log());
    pair.accounts.clear_faults();
    eventually("it reads", || pair.is_reading()).await;
    pair.seed(&documents("new"));
    bridge.kill().await;
    let config = pair.configure("", "", ALL_VERSIONS, ROUTE);
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!((copied(&pair, "old"), copied(&pair, "new")), (0, 20));
}

/// A range that is divided before it has answered: its parts are asked, too, each until it answers.
#[tokio::test(flavor = "multi_thread")]
async fn all_versions_are_not_read_before_the_parts_of_a_range_have_told_where_they_stand() {
    let pair = pair().await;
    let fault = silence_the_second_range(&pair);
    let config = pair.configure("", "", ALL_VERSIONS, ROUTE);
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the second range is asked", || fired(&pair) > 4).await;
    assert_eq!(pair.stored_ranges(), [], "{}", bridge.log());
    let second = second_range(&pair);
    let world = &pair.accounts.world;
    let parts = world.split("source", "shop", "orders", Some(&second), false).await.unwrap();
    silence(&pair, parts[1].clone());
    // The range itself answers that it is gone, and its first part where it stands.
    assert!(world.faults.remove(fault));
    eventually("the second part is asked", || fired(&pair) > 4).await;
    assert_eq!(pair.stored_ranges(), [], "{}", bridge.log());
    pair.accounts.clear_faults();
    eventually("it reads", || pair.is_reading()).await;
    assert_eq!(pair.stored_ranges().len(), 3, "{}", bridge.log());
    pair.seed(&documents("new"));
    bridge.kill().await;
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!((copied(&pair, "old"), copied(&pair, "new")), (0, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_versions_of_an_account_without_history_are_refused_with_a_remedy() {
    let pair = Pair::alike().await;
    let source = "mode = \"all-versions-and-deletes\"\nstart = \"now\"";
    let config = pair.configure("", "", source, "");
    for command in [&["run"][..], &["check", "--live"]] {
        let refused = Bridge::command(&config, command).await;
        assert_eq!(refused.code(), Some(78), "{command:?}: {}", refused.log);
        let said = refused.last_words();
        assert!(said.contains("Switch on continuous backup"), "{command:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_before_a_start_in_the_future() {
    let pair = pair().await;
    let config =
        pair.configure("", "", "start = 2099-01-01T00:00:00Z\npoll_interval = \"50ms\"", ROUTE);
    let bridge = Bridge::start(&config, &["run"]);
    let feeds = || pair.requests("source", "orders", &["feed"]);
    eventually("it polls", || feeds() >= 6).await;
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(copied(&pair, "old"), 0);
    assert_eq!(ended.log.matches("start is in the future").count(), 1, "{}", ended.log);
}
