//! Faults of accounts and of the connection to them: transient faults are retried until they pass, a permanent
//! fault of a document makes it a dead letter, and nothing else is lost.

#![allow(clippy::format_collect, reason = "lines of JSON read best so")]
#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]

use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{DropWhen, Effect, FaultRule};

use crate::support::evidence::{field, is_rounded, lines_at, sorted};
use crate::support::{Bridge, Pair, eventually};

const DOCUMENTS: u32 = 300;

fn documents(ids: std::ops::Range<u32>) -> String {
    ids.map(|n| format!("{{\"id\":\"d{n}\",\"region\":\"r{}\",\"n\":{n}}}\n", n % 5)).collect()
}

fn status(status: u16, substatus: u32) -> Effect {
    let substatus = (substatus > 0).then_some(substatus);
    Effect { status: Some(status), substatus, ..Effect::default() }
}

/// Transient faults, by name.
fn passing() -> Vec<(&'static str, Effect)> {
    let throttled = Effect { retry_after_ms: Some(20), ..status(429, 3200) };
    vec![
        ("429/3200 with a wait", throttled),
        ("429/3200 without", status(429, 3200)),
        ("449", status(449, 0)),
        ("503", status(503, 0)),
        ("408", status(408, 0)),
        ("500", status(500, 0)),
        ("410/1002", status(410, 1002)),
        ("410/1007", status(410, 1007)),
        ("dropped before", Effect { drop: Some(DropWhen::Before), ..Effect::default() }),
        ("dropped after", Effect { drop: Some(DropWhen::After), ..Effect::default() }),
        ("truncated", Effect { truncate: true, ..Effect::default() }),
        ("delayed", Effect { delay_ms: Some(300), ..Effect::default() }),
    ]
}

/// A rule: every second request of a kind gets the fault, three times in all.
fn rule(account: &str, operation: &str, then: Effect) -> FaultRule {
    FaultRule {
        account: Some(account.to_owned()),
        operation: Some(operation.to_owned()),
        every: Some(2),
        times: Some(3),
        then,
        ..FaultRule::default()
    }
}

/// Runs a bridge with an active fault; every document arrives.
async fn waited_out(name: &str, rule: FaultRule, sink: &str) {
    let pair = Pair::alike().await;
    pair.seed(&documents(0..DOCUMENTS));
    pair.accounts.fault(rule);
    let config = pair.configure(sink, "", "page_size = 40", "");
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{name}: {}", ended.log);
    assert!(pair.is_equal(), "{name}: {}", ended.log);
    assert_eq!(pair.letters(), [], "{name}");
    assert_eq!(pair.accounts.world.faults.list()[0].fired, 3, "{name}: {}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_target_are_waited_out_in_batches() {
    for (name, then) in passing() {
        for bulk in [true, false] {
            let sink = format!("batch_changes = 10\nbulk = {bulk}");
            waited_out(name, rule("target", "batch", then.clone()), &sink).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_target_are_waited_out_in_single_writes() {
    for (name, then) in passing() {
        waited_out(name, rule("target", "create", then), "batch_changes = 1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_source_are_waited_out() {
    for (name, then) in passing() {
        waited_out(name, rule("source", "feed", then), "").await;
    }
}

/// An account is unavailable in the middle of a run, long enough for a log line.
async fn outage(account: &str, failing: &str) {
    let mut pair = Pair::alike().await;
    pair.seed(&documents(0..DOCUMENTS));
    let config = pair.configure("", "", "poll_interval = \"100ms\"", "");
    let mut bridge = Bridge::start(&config, &["run"]);
    eventually("the first half arrives", || pair.is_equal()).await;
    pair.accounts.stop_listener(account).await;
    pair.seed(&documents(DOCUMENTS..2 * DOCUMENTS));
    eventually("the outage is logged", || bridge.log().contains(failing)).await;
    assert!(bridge.is_running());
    pair.accounts.restart_listener(account).await.unwrap();
    eventually("the second half arrives", || pair.is_equal()).await;
    eventually("the recovery is logged", || bridge.log().contains("works again")).await;
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let warnings = lines_at(&ended.log, "WARN");
    assert!(warnings.len() <= 2, "{}", ended.log);
    // A refused connection and one that is reset during a request are retried alike.
    let says = |text: &str| warnings[0].contains(text);
    assert!(says("retrying until it succeeds"), "{warnings:?}");
    assert!(says("no answer from the target") || says("cannot be reached"), "{warnings:?}");
    assert_eq!(lines_at(&ended.log, "ERROR"), [""; 0], "{}", ended.log);
    for line in ended.log.lines().filter(|line| line.contains("works again")) {
        assert!(field(line, "after_seconds").is_some_and(is_rounded), "{line}");
    }
    assert_eq!(pair.letters(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_goes_away_is_waited_for() {
    outage("target", "failed writing to sink `archive`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_goes_away_is_waited_for() {
    outage("source", "failed reading pipeline `orders`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_fails_and_works_by_turns_does_not_fill_the_log() {
    let pair = Pair::alike().await;
    pair.seed(&documents(0..DOCUMENTS));
    // Some writes fail more often than the SDK retries.
    let by_turns = FaultRule {
        every: None,
        times: Some(400),
        probability: Some(0.8),
        seed: Some(7),
        ..rule("target", "create", status(503, 0))
    };
    pair.accounts.fault(by_turns);
    let config = pair.configure("batch_changes = 1", "", "", "");
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(pair.is_equal(), "{}", ended.log);
    assert_eq!(pair.accounts.world.faults.list()[0].fired, 400);
    assert_eq!(lines_at(&ended.log, "WARN").len(), 1, "{}", ended.log);
}

/// Runs a bridge until it has caught up; there is exactly one dead letter, for this document.
async fn one_letter(pair: &Pair, config: &std::path::Path, id: &str, cause: &str) {
    let ended = Bridge::catch_up(config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let letters = pair.letters();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.stage.as_str(), letter.operation.as_str()), ("sink", "upsert"));
    assert!(letter.cause.contains(cause), "{}", letter.cause);
    assert_eq!(letter.source, "source/shop/orders");
    assert_eq!(letter.source_id, id);
    assert!(letter.lsn > 0);
    let sources = sorted(&pair.accounts.documents("source", "shop", "orders").unwrap());
    let source = sources.iter().find(|document| document["id"] == id).unwrap();
    assert_eq!(letter.source_key, serde_json::json!([source["region"]]).to_string());
    let kept: serde_json::Value = serde_json::from_str(letter.document.as_ref().unwrap()).unwrap();
    for (name, value) in source.as_object().unwrap() {
        assert!(kept[name] == *value, "the letter's `{name}` differs");
    }
    let rest: Vec<_> = sources.iter().filter(|document| document["id"] != id).collect();
    let copies = pair.copies();
    assert_eq!(copies.len(), rest.len());
    assert!(copies.iter().zip(rest).all(|(copy, source)| copy["id"] == source["id"]));
    // The log names the document by a hash, which leads to the letter.
    let warnings = lines_at(&ended.log, "WARN");
    let hash = warnings.iter().find_map(|line| line.split_once("document=\"")?.1.split_once('"'));
    let (hash, _) = hash.unwrap_or_else(|| panic!("{}", ended.log));
    let shown = Bridge::command(config, &["dlq", "show", hash]).await;
    assert!(shown.log.contains(&format!("\"source_id\": \"{id}\"")), "{}", shown.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_refused_for_good_becomes_a_dead_letter() {
    for code in [400, 413] {
        let pair = Pair::alike().await;
        pair.seed(&documents(0..20));
        let once =
            FaultRule { every: None, times: Some(1), ..rule("target", "create", status(code, 0)) };
        pair.accounts.fault(once);
        // One write at a time, so that the document that gets the fault is known.
        let config = pair.configure("batch_changes = 1\nconcurrency = 1", "", "", "");
        one_letter(&pair, &config, "d0", &code.to_string()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_as_a_whole_is_written_one_by_one() {
    for (code, bulk) in [(400, true), (400, false), (413, true), (413, false)] {
        let pair = Pair::alike().await;
        pair.seed(&documents(0..100));
        let once =
            FaultRule { every: None, times: Some(1), ..rule("target", "batch", status(code, 0)) };
        pair.accounts.fault(once);
        let config = pair.configure(&format!("bulk = {bulk}"), "", "", "");
        let ended = Bridge::catch_up(&config).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        assert!(pair.is_equal(), "{}", ended.log);
        assert_eq!(pair.letters(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_becomes_too_large_does_not_hold_up_the_others() {
    for sink in ["", "batch_changes = 1"] {
        let pair = Pair::alike().await;
        let large = "x".repeat(2_050_000);
        pair.seed(&format!(
            "{}{{\"id\":\"poison\",\"region\":\"r1\",\"text\":\"{large}\"}}\n{}",
            documents(0..30),
            documents(30..60)
        ));
        // 2,050,000 bytes are within the 2 MiB of a document, with 60,000 more they are not.
        let route = format!("set = {{ \"/note\" = \"{}\" }}", "y".repeat(60_000));
        let config = pair.configure(sink, "", "", &route);
        one_letter(&pair, &config, "poison", "413").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_that_is_taken_does_not_hold_up_the_others() {
    for write in ["upsert", "insert-if-absent"] {
        for batch in [100, 1] {
            let source = ContainerSettings::new(&["/region"], 1);
            let unique_keys = vec![vec!["/email".to_owned()]];
            let target = ContainerSettings { unique_keys, ..source.clone() };
            let pair = Pair::start(&source, &target).await;
            let line = |id: &str, email: &str| {
                format!("{{\"id\":\"{id}\",\"region\":\"r0\",\"email\":\"{email}\"}}\n")
            };
            let mut lines = line("first", "a@example.org");
            lines +=
                &(0..20).map(|n| line(&format!("d{n}"), &format!("{n}@x"))).collect::<String>();
            lines += &line("second", "a@example.org");
            lines += &line("third", "c@example.org");
            pair.seed(&lines);
            let sink = format!("write = \"{write}\"\nbatch_changes = {batch}\nconcurrency = 1");
            let config = pair.configure(&sink, "", "", "");
            one_letter(&pair, &config, "second", "409").await;
        }
    }
}
