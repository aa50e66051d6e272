//! Documents of different partition keys share requests.

use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{Effect, FaultRule};

use crate::support::history::{Load, out_of_order, remembering};
use crate::support::{Bridge, Pair, eventually};

/// By default 3,000 documents.
const DOCUMENTS_VARIABLE: &str = "COSMOS_BRIDGE_BULK_DOCUMENTS";

#[expect(clippy::disallowed_methods, reason = "the test command copies few documents")]
fn documents() -> u64 {
    std::env::var(DOCUMENTS_VARIABLE).map_or(3000, |text| text.parse().unwrap())
}

/// A document of 1 KiB.
fn document(n: u64) -> String {
    format!("{{\"id\":\"{n:016}\",\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(980))
}

/// The requests that the bridge sent to the target to write documents.
fn requests(pair: &Pair) -> u64 {
    let container = pair.accounts.world.container("target", "shop", "copies").unwrap();
    let stats = container.stats.lock().unwrap();
    let kinds = ["batch", "create", "upsert", "replace", "delete"];
    kinds.iter().filter_map(|kind| stats.kinds.get(*kind)).map(|kind| kind.requests).sum()
}

fn delay(account: &str, operation: &str, milliseconds: u64) -> FaultRule {
    FaultRule {
        account: Some(account.to_owned()),
        operation: Some(operation.to_owned()),
        then: Effect { delay_ms: Some(milliseconds), ..Effect::default() },
        ..FaultRule::default()
    }
}

#[expect(clippy::print_stdout, reason = "shown with --nocapture")]
#[tokio::test(flavor = "multi_thread")]
async fn documents_with_keys_of_their_own_are_a_fiftieth_as_many_requests() {
    let settings = ContainerSettings::new(&["/id"], 4);
    let pair = Pair::start(&settings, &settings).await;
    let count = documents();
    let lines: String = (0..count).map(document).collect();
    pair.accounts.seed("source", "shop", "orders", &lines).unwrap();
    pair.accounts.fault(delay("target", "documents", 80));
    let config = pair.configure("", "", "", "");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("[log]\nlevel = \"info\"\n{text}")).unwrap();
    let began = tokio::time::Instant::now();
    let ended = Bridge::catch_up(&config).await;
    let took = began.elapsed();
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(pair.is_equal(), "{}", ended.log);
    let requests = requests(&pair);
    println!("{count} documents in {requests} requests and {took:?}");
    assert!(requests * 50 <= count, "{requests} requests");
}

/// Splits and merges of the target, throttled operations and refused requests, with documents that change
/// all the time.
#[tokio::test(flavor = "multi_thread")]
async fn splits_and_refusals_of_the_target_lose_nothing_and_keep_each_documents_order() {
    let pair = Pair::start(&remembering(&["/orderId"], 2), &remembering(&["/orderId"], 2)).await;
    let mut load = Load::new(2000, 7);
    load.write_all(&pair);
    for (nth, (status, substatus)) in
        [(429, 3200), (410, 1002), (503, 0), (400, 0), (408, 0)].into_iter().enumerate()
    {
        let then = Effect { status: Some(status), substatus: Some(substatus), ..Effect::default() };
        let every = Some(11 + nth as u64);
        pair.accounts.fault(FaultRule { every, then, ..delay("target", "batch", 0) });
    }
    let config = pair.configure("", "", "page_size = 50", "");
    let bridge = Bridge::start(&config, &["run"]);
    for part in 1..=3 {
        let reached = || pair.count("target", "copies") >= 300 * part;
        load.until(&pair, "a part of the backlog is copied", reached).await;
        pair.accounts.split("target", "shop", "copies").await.unwrap();
    }
    let ranges = pair.accounts.state("target", "shop", "copies").unwrap().ranges;
    let ids = [ranges[0].id.as_str(), ranges[1].id.as_str()];
    pair.accounts.merge("target", "shop", "copies", ids).await.unwrap();
    load.write_some(&pair, 300);
    eventually("source and target are equal", || pair.is_equal()).await;
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(pair.is_equal());
    let wrong = out_of_order(pair.received());
    assert!(wrong.is_empty(), "older versions came after newer ones: {wrong:?}");
    assert!(!ended.log.contains("kept a dead letter"), "{}", ended.log);
}
