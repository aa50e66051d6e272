//! Dead letters are written again by the current routes, and never over a newer version.

use std::time::Duration;

use cosmos_bridge_emulator::{Effect, FaultRule};
use tokio::time::Instant;

use crate::support::evidence::lines_at;
use crate::support::history::announce;
use crate::support::{Bridge, Pair, eventually};
use crate::{UNLIMITED, WRONG, buried, corrected, documents, output, replay};

/// Requests that write.
const WRITES: [&str; 6] = ["create", "upsert", "replace", "patch", "delete", "batch"];

/// The documents of a container whose route names a wrong field. tests/README.md has the command for
/// more.
#[allow(clippy::disallowed_methods, reason = "the size of a run by hand")]
fn count() -> u32 {
    let wanted = std::env::var("COSMOS_BRIDGE_LETTERS").ok();
    wanted.map_or(2000, |wanted| wanted.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_field_name_is_corrected_without_a_write_at_the_source() {
    let count = count();
    let pair = Pair::alike().await;
    pair.seed(&documents(0..count));
    let config = pair.configure("", UNLIMITED, "", WRONG);
    let started = Instant::now();
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    // A container of dead letters is not a log line each.
    let warnings = lines_at(&ended.log, "WARN").len();
    assert!((1..=3).contains(&warnings), "{}", ended.log);
    assert_eq!(ended.total("dead_letters_stored"), u64::from(count));
    let file = pair.folder.path().join("cosmos-bridge.db");
    let bytes = std::fs::metadata(file).unwrap().len();
    let buried = started.elapsed().as_secs_f64();
    announce(&format!("{count} letters: {buried:.1} s, {bytes} bytes, {warnings} warnings"));

    let causes = output(&config, &["dlq", "list", "--summary"], 0).await;
    assert!(causes.contains(&format!(" {count}  ")) && causes.contains("/nummer"), "{causes}");

    // The correction alone brings nothing back, and a restart does not forget what is missing.
    let config = corrected(&config);
    let ended = Bridge::command(&config, &["run", "--until-caught-up"]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let totals = ["read", "delivered", "dead_letters", "dead_letters_stored"];
    assert_eq!(totals.map(|name| ended.total(name)), [0, 0, 0, u64::from(count)]);
    assert_eq!(pair.count("target", "copies"), 0);

    let started = Instant::now();
    let ended = replay(&config, &[], 0).await;
    let replayed = started.elapsed().as_secs_f64();
    let lines = lines_at(&ended.log, "INFO").len() + lines_at(&ended.log, "WARN").len();
    announce(&format!("replayed in {replayed:.1} s with {lines} lines of INFO and WARN"));
    assert!(pair.is_equal(), "{}", ended.log);
    let said = ended.last_words();
    assert!(said.starts_with(&format!("{count} written, 0 superseded")), "{}", ended.log);
    assert_eq!(pair.letters(), []);
    assert_eq!(pair.requests("source", "orders", &WRITES), 0);
    assert_eq!(pair.requests("source", "orders", &["read"]), u64::from(count));
    let ended = Bridge::command(&config, &["run", "--until-caught-up"]).await;
    assert_eq!(totals.map(|name| ended.total(name)), [0; 4]);
}

/// As if letters had been stored some time ago.
fn age(pair: &Pair, id: &str) {
    let state = rusqlite::Connection::open(pair.folder.path().join("cosmos-bridge.db")).unwrap();
    let aged = "UPDATE dead_letters SET committed_at = committed_at - 3600 WHERE source_id = ?1";
    assert_eq!(state.execute(aged, [id]).unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_is_never_overwritten_and_a_deleted_document_not_brought_back() {
    let (pair, config) = buried(5).await;
    let newer = "{\"id\":\"d1\",\"number\":\"d1\",\"region\":\"r1\",\"n\":100}\n";
    pair.seed(newer);
    pair.delete("d2");
    age(&pair, "d2");
    // A moment after its change, a replica may not know the document.
    pair.delete("d3");
    let ended = replay(&config, &[], 4).await;
    insta::assert_snapshot!(ended.last_words(), @"
    2 written, 2 superseded by newer versions, 0 left out by the routes, 1 still stored
      1 kept: the source does not show this change yet: replay again in a minute
    ");
    assert_eq!(pair.copied_ids(), ["d0", "d4"]);
    let letters = pair.letters();
    assert_eq!(letters.iter().map(|letter| letter.source_id.as_str()).collect::<Vec<_>>(), ["d3"]);
    age(&pair, "d3");
    replay(&config, &[], 0).await;
    // The feed delivers the newer version itself.
    let ended = Bridge::command(&config, &["run", "--until-caught-up"]).await;
    assert_eq!(ended.total("delivered"), 1);
    assert!(pair.is_equal(), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_stays_with_the_reason() {
    let (pair, config) = buried(4).await;
    // Still wrong for one document, left out for another, and rejected by the target for a third.
    pair.seed("{\"id\":\"other\",\"region\":\"r0\"}\n");
    let route = "id = \"{/number}\"\nwhere = { path = \"/id\", not_equals = \"d3\" }";
    let config_text = std::fs::read_to_string(&config).unwrap();
    let config_text = config_text.replace("id = \"{/number}\"", route);
    // So that the third one is created by a request of its own.
    let sink = "[sinks.cosmos.archive]\n";
    assert!(config_text.contains(sink), "{config_text}");
    let config_text = config_text.replace(sink, &format!("{sink}bulk = false\n"));
    std::fs::write(&config, config_text).unwrap();
    let ended = Bridge::command(&config, &["run", "--until-caught-up"]).await;
    assert_eq!(ended.total("dead_letters"), 1, "{}", ended.log);
    let then = Effect { status: Some(413), ..Effect::default() };
    let (account, operation) = (Some("target".to_owned()), Some("create".to_owned()));
    let times = Some(1);
    pair.accounts.fault(FaultRule { account, operation, then, times, ..FaultRule::default() });
    let ended = replay(&config, &[], 4).await;
    let said = ended.last_words();
    assert!(said.starts_with("2 written, 0 superseded by newer versions, 1 left out"), "{said}");
    assert!(said.contains("2 still stored") && said.contains("413"), "{said}");
    assert!(said.contains("kept: field /number"), "{said}");
    let ended = replay(&config, &["--cause", "/nummer"], 0).await;
    assert!(ended.last_words().starts_with("1 written"), "{}", ended.log);
    assert_eq!(pair.letters().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_repeats_and_loses_nothing() {
    const COUNT: u32 = 1500;
    let (pair, config) = buried(COUNT).await;
    let then = Effect { delay_ms: Some(20), ..Effect::default() };
    for kind in ["batch", "create"] {
        let (account, operation) = (Some("target".to_owned()), Some(kind.to_owned()));
        let then = then.clone();
        pair.accounts.fault(FaultRule { account, operation, then, ..FaultRule::default() });
    }
    let mut kills = 0;
    for least in [100, 500, 900] {
        let mut bridge = Bridge::start(&config, &["dlq", "replay"]);
        eventually("some are copied", || {
            pair.count("target", "copies") >= least || !bridge.is_running()
        })
        .await;
        kills += usize::from(bridge.is_running());
        bridge.kill().await;
        let (copies, letters) = (pair.count("target", "copies"), pair.letters().len());
        assert!(copies + letters >= COUNT as usize, "{copies} copies and {letters} letters");
    }
    assert!(kills > 1, "the kills came too late to prove anything");
    pair.accounts.clear_faults();
    let ended = replay(&config, &[], 0).await;
    assert!(pair.is_equal(), "{}", ended.log);
    assert_eq!(pair.letters(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_keeps_what_is_not_written() {
    let (pair, config) = buried(600).await;
    let then = Effect { delay_ms: Some(30), ..Effect::default() };
    for kind in ["batch", "create"] {
        let (account, operation) = (Some("target".to_owned()), Some(kind.to_owned()));
        let then = then.clone();
        pair.accounts.fault(FaultRule { account, operation, then, ..FaultRule::default() });
    }
    Bridge::forget_log(&config);
    let bridge = Bridge::start(&config, &["dlq", "replay"]);
    eventually("some are copied", || pair.count("target", "copies") >= 50).await;
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(4), "{}", ended.log);
    let (copies, letters) = (pair.count("target", "copies"), pair.letters().len());
    assert_eq!(copies + letters, 600, "{}", ended.log);
    assert!(ended.last_words().contains(&format!("{letters} not reached")), "{}", ended.log);
    pair.accounts.clear_faults();
    replay(&config, &[], 0).await;
    assert!(pair.is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_a_replay_stay_within_the_budget_of_the_source() {
    const COUNT: u32 = 300;
    let (pair, config) = buried(COUNT).await;
    let text = std::fs::read_to_string(&config).unwrap();
    let source = "container = \"orders\"";
    let budget = format!("{source}\nbudget = \"100 RU/s\"");
    std::fs::write(&config, text.replacen(source, &budget, 1)).unwrap();
    let start = Instant::now();
    replay(&config, &[], 0).await;
    assert!(pair.is_equal());
    // A point read of a small document is 1 RU.
    assert!(start.elapsed() >= Duration::from_millis(1500), "{:?}", start.elapsed());
}
