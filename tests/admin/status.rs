//! The status output, and how it reports what is slow.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cosmos_bridge_emulator::{Effect, FaultRule};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::support::evidence::is_rounded;
use crate::support::{Bridge, PATIENCE, Pair, eventually};
use crate::{documents, running, with_admin};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_slow_is_told_with_the_notes_of_the_client_library_and_no_document() {
    let pair = Pair::alike().await;
    pair.seed("{\"id\":\"marigold\",\"region\":\"r\",\"text\":\"planted chrysanthemum\"}\n");
    let config = pair.configure("", "", "", "");
    let (admin, _port) = with_admin(&config, "[log]\nslow = \"100ms\"\nlevel = \"debug\"");
    for (account, operation) in [("source", "feed"), ("target", "writes")] {
        pair.accounts.fault(FaultRule {
            account: Some(account.to_owned()),
            operation: Some(operation.to_owned()),
            then: Effect { delay_ms: Some(150), ..Effect::default() },
            ..FaultRule::default()
        });
    }
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/status", 200, "\"state\":\"caught up\"").await;
    let log = bridge.log();
    for what in ["reading was slow", "writing was slow"] {
        let line = log.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{log}"));
        for note in ["container=", "seconds=0.", "activity_id=", "requests=1", "initial in "] {
            assert!(line.contains(note), "{note}: {line}");
        }
    }
    let status = admin.get("/status", "").await.unwrap().body;
    let metrics = admin.get("/metrics", "").await.unwrap().body;
    for text in [log, status, metrics] {
        assert!(!text.contains("chrysanthemum") && !text.contains("marigold"), "{text}");
        assert!(!text.contains(&pair.accounts.key("source")), "{text}");
    }
    bridge.kill().await;
}

/// The configuration of a second bridge.
fn copy(pair: &Pair, config: &Path) -> PathBuf {
    let folder = pair.folder.path().join("second");
    std::fs::create_dir(&folder).unwrap();
    for file in ["source.key", "target.key"] {
        std::fs::copy(pair.folder.path().join(file), folder.join(file)).unwrap();
    }
    std::fs::copy(config, folder.join("config.toml")).unwrap();
    folder.join("config.toml")
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_shown_once_live_and_as_json() {
    let (pair, bridge, admin, _port) = running("").await;
    let config = pair.folder.path().join("config.toml");
    admin.until("/status", 200, "\"state\":\"caught up\"").await;
    let log = bridge.log();
    assert!(log.contains("the admin address is open"), "{log}");
    let shown = Bridge::command(&config, &["status"]).await;
    assert_eq!(shown.code(), Some(0), "{}", shown.log);
    for text in
        ["running for", "ready", "pipeline orders  5 read", "-> archive  caught up  lag 0 s"]
    {
        assert!(shown.log.contains(text), "{text}: {}", shown.log);
    }
    let json = Bridge::command(&config, &["status", "--json"]).await;
    let report: Value = serde_json::from_str(json.last_words().trim()).unwrap();
    assert_eq!(report["pipelines"][0]["sinks"][0]["lag_documents"], 0, "{report}");
    assert_eq!(report["pipelines"][0]["sinks"][0]["delivered"], 5, "{report}");
    assert_eq!(report["ready"], true, "{report}");
    let page = admin.get("/", "").await.unwrap();
    assert_eq!(page.status, 200);
    for text in ["<h2>pipeline orders</h2>", "<td>archive</td>", "caught up", "href=\"status\""] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    Bridge::forget_log(&config);
    let watch = Bridge::start(&config, &["status", "--watch"]);
    eventually("it is shown again", || watch.log().matches("pipeline orders").count() >= 2).await;
    // The bridge that is watched is restarted.
    bridge.kill().await;
    eventually("it is missed", || watch.log().contains("no bridge responds")).await;
    let shown = watch.log().matches("pipeline orders").count();
    let bridge = Bridge::start(&config, &["run"]);
    let is_back = || watch.log().matches("pipeline orders").count() > shown;
    eventually("it is shown again", is_back).await;
    watch.kill().await;

    // The address is taken.
    let second = Bridge::command(&copy(&pair, &config), &["run"]).await;
    assert_eq!(second.code(), Some(71), "{}", second.log);
    let said = pair.settled(&second.last_words()).replace(&admin.host(), "ADMIN");
    assert_eq!(
        said,
        "cannot listen on the admin address ADMIN: Address already in use (os error 98)\n\
         hint: Another process uses it, or it is not an address of this machine: change \
         admin.address, or stop the other process."
    );
    bridge.kill().await;
    let silent = Bridge::command(&config, &["status"]).await;
    assert_eq!(silent.code(), Some(69), "{}", silent.log);
    let without = pair.configure("", "", "", "");
    let without = Bridge::command(&without, &["status"]).await;
    assert_eq!(without.code(), Some(78), "{}", without.log);
}

/// All numbers in a value, as they are written.
fn numbers(value: &Value) -> Vec<String> {
    match value {
        Value::Number(number) => vec![number.to_string()],
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        Value::Object(fields) => fields.values().flat_map(numbers).collect(),
        Value::Null | Value::Bool(_) | Value::String(_) => Vec::new(),
    }
}

/// Rates and sums of request units are fractions, whose last digits are noise.
#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_of_the_status_have_one_decimal_at_most() {
    let pair = Pair::alike().await;
    let config = pair.configure("budget = \"1000.25 RU/s\"", "", "", "");
    let (admin, _port) = with_admin(&config, "");
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/ready", 200, "\"ready\":true").await;
    let deadline = Instant::now() + PATIENCE;
    let mut next = 0;
    // There are rates once the counters were sampled twice, some seconds after the start.
    loop {
        pair.seed(&documents(next..next + 7));
        next += 7;
        let text = admin.get("/status", "").await.unwrap().body;
        let report: Value = serde_json::from_str(&text).unwrap();
        assert!(numbers(&report).iter().all(|number| is_rounded(number)), "{text}");
        let (sink, budget) = (&report["pipelines"][0]["sinks"][0], &report["budgets"][0]);
        let rates = [&sink["per_second"], &budget["ru_per_second"], &budget["expected_to_charged"]];
        if rates.iter().all(|rate| rate.as_f64() > Some(0.0)) {
            break;
        }
        assert!(Instant::now() < deadline, "no rates: {text}");
        sleep(Duration::from_millis(100)).await;
    }
    bridge.kill().await;
}
