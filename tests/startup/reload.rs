//! Budgets follow the provisioned throughput and the file while the bridge runs.

#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]

use std::path::Path;
use std::time::Duration;

use cosmos_bridge_corpus::seeds;
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{Effect, FaultRule};
use tokio::time::Instant;

use crate::mutations::{Mutations, count};
use crate::support::evidence::lines_at;
use crate::support::{Bridge, Pair, eventually};

const RUN: &[&str] = &["run", "--until-caught-up"];
const CHECK_LIVE: &[&str] = &["check", "--live"];

/// The time within which a changed file must take effect.
const SOON: Duration = Duration::from_secs(2);

/// Source and target with 4000 RU/s each and a document.
async fn provisioned() -> Pair {
    let settings =
        ContainerSettings { throughput: Some(4000), ..ContainerSettings::new(&["/region"], 2) };
    let pair = Pair::start(&settings, &settings).await;
    pair.seed("{\"id\":\"1\",\"region\":\"r\"}\n");
    pair
}

/// The log lines about budgets, without times.
fn budgets(log: &str) -> Vec<&str> {
    let said = log.lines().filter_map(|line| line.split_once(" INFO budget "));
    said.map(|(_, said)| said).collect()
}

/// Sends a signal, and waits until the log has another line with this text.
async fn felt(bridge: &Bridge, signal: &str, what: &str) {
    let before = bridge.log().matches(what).count();
    let sent = Instant::now();
    bridge.signal(signal);
    eventually(what, || bridge.log().matches(what).count() > before).await;
    assert!(sent.elapsed() < SOON, "{:?}\n{}", sent.elapsed(), bridge.log());
}

fn edit(config: &Path, edits: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(config).unwrap();
    for (from, to) in edits {
        assert!(text.contains(from), "{from}\n{text}");
        text = text.replacen(from, to, 1);
    }
    std::fs::write(config, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_is_one_of_the_provisioned_throughput() {
    let pair = provisioned().await;
    let config =
        pair.configure("budget = \"25%\"\ngood_neighbour = true", "", "budget = \"10%\"", "");
    let ended = Bridge::command(&config, RUN).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(
        budgets(&ended.log),
        [
            "container=\"target/shop/copies\" direction=\"write\" rate=\"1000 RU/s\" provisioned=4000.0 \
         good_neighbour=true why=\"start\"",
            "container=\"source/shop/orders\" direction=\"read\" rate=\"400 RU/s\" provisioned=4000.0 \
         why=\"start\"",
        ]
    );
    let ended = Bridge::command(&config, CHECK_LIVE).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
}

/// The output of `run` and `check --live`, which must be the same. Neither may write a document.
async fn refusal(pair: &Pair, config: &Path, code: i32) -> String {
    let mut said = Vec::new();
    for arguments in [RUN, CHECK_LIVE] {
        let ended = Bridge::command(config, arguments).await;
        assert_eq!(ended.code(), Some(code), "{}", ended.log);
        said.push(pair.settled(&ended.last_words()));
    }
    assert_eq!(said[0], said[1]);
    assert_eq!(pair.writes(), 0);
    said.remove(0) + "\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_nothing_is_refused() {
    let pair = Pair::alike().await;
    let mut said = String::new();
    for (sink, source) in [("", "budget = \"30%\""), ("budget = \"12.5%\"", "")] {
        let config = pair.configure(sink, "", source, "");
        said += &refusal(&pair, &config, 78).await;
    }
    insta::assert_snapshot!(said);
}

/// A role for data only may read the container but not its offer.
#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_what_may_not_be_read_is_refused() {
    let pair = provisioned().await;
    let message = Some("this principal may not read offers".to_owned());
    pair.accounts.fault(FaultRule {
        operation: Some("offers".to_owned()),
        then: Effect { status: Some(403), message, ..Effect::default() },
        ..FaultRule::default()
    });
    let config = pair.configure("", "", "budget = \"30%\"", "");
    let said = refusal(&pair, &config, 77).await;
    insta::assert_snapshot!(said);

    let config = pair.configure("", "", "budget = \"400 RU/s\"", "");
    let ended = Bridge::command(&config, RUN).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(pair.is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_changes_budgets_and_nothing_else() {
    let pair = provisioned().await;
    let config = pair.configure("", "", "budget = \"100 RU/s\"", "");
    let mut bridge = Bridge::start(&config, &["run"]);
    eventually("the copy", || pair.is_equal()).await;

    // The target's throughput was never read.
    edit(
        &config,
        &[
            ("\"100 RU/s\"", "\"250 RU/s\""),
            ("container = \"copies\"", "container = \"copies\"\nbudget = \"50%\""),
        ],
    );
    felt(&bridge, "HUP", "rate=\"2000 RU/s\"").await;
    assert_eq!(
        budgets(&bridge.log()),
        [
            "container=\"source/shop/orders\" direction=\"read\" rate=\"100 RU/s\" why=\"start\"",
            "container=\"source/shop/orders\" direction=\"read\" rate=\"250 RU/s\" why=\"reload\"",
            "container=\"target/shop/copies\" direction=\"write\" rate=\"2000 RU/s\" provisioned=4000.0 \
         why=\"reload\"",
        ]
    );
    assert!(lines_at(&bridge.log(), "WARN").is_empty(), "{}", bridge.log());

    // Wrong in two places.
    edit(&config, &[("\"250 RU/s\"", "\"500 RU\""), ("to = \"archive\"", "to = \"arhcive\"")]);
    felt(&bridge, "HUP", "nothing was changed").await;
    let log = pair.settled(&bridge.log());
    let errors: Vec<_> =
        lines_at(&log, "ERROR").iter().filter_map(|l| Some(l.split_once(" ERROR ")?.1)).collect();
    insta::assert_snapshot!(errors.join("\n"));
    assert_eq!(budgets(&log).len(), 3, "{log}");

    // Valid again. Changes other than budgets wait for a restart, and each reload names them.
    edit(
        &config,
        &[
            ("\"500 RU\"", "\"500 RU/s\""),
            ("to = \"arhcive\"", "to = \"archive\"\nexclude = [\"/x\"]"),
            ("[pipelines.orders]", "[pipelines.orders]\nwindow = 2000"),
            ("[sinks", "http2 = false\n[sinks"),
        ],
    );
    for _ in 0..2 {
        felt(&bridge, "HUP", "needs a restart").await;
    }
    let log = bridge.log();
    let warnings: Vec<_> =
        lines_at(&log, "WARN").iter().filter_map(|l| Some(l.split_once(" WARN ")?.1)).collect();
    let named = "needs a restart: accounts.target.http2, pipelines.orders.routes, \
                 pipelines.orders.window";
    assert_eq!(warnings, [named; 2]);
    let expected =
        "container=\"source/shop/orders\" direction=\"read\" rate=\"500 RU/s\" why=\"reload\"";
    assert_eq!(budgets(&log)[3..], [expected]);

    // It is the same bridge, and it works.
    pair.seed("{\"id\":\"2\",\"region\":\"r\"}\n");
    eventually("another copy", || pair.is_equal()).await;
    bridge.signal("USR1");
    assert!(bridge.is_running());
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.total("delivered"), 2, "{}", ended.log);
}

/// A sink that now has another container keeps its budget until the restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_budget_for_another_container_is_not_taken_over() {
    let pair = provisioned().await;
    let config = pair.configure("", "", "budget = \"100 RU/s\"", "");
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the copy", || pair.is_equal()).await;
    edit(
        &config,
        &[("container = \"orders\"", "container = \"others\""), ("\"100 RU/s\"", "\"250 RU/s\"")],
    );
    felt(
        &bridge,
        "HUP",
        "needs a restart: pipelines.orders.source.container, pipelines.orders.source.budget",
    )
    .await;
    assert_eq!(budgets(&bridge.log()).len(), 1, "{}", bridge.log());
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
}

/// A file with random mistakes is refused, or taken over as far as that needs no restart.
#[tokio::test(flavor = "multi_thread")]
async fn no_mistake_in_the_file_ends_a_running_bridge() {
    let pair = provisioned().await;
    let config = pair.configure("", "", "budget = \"100 RU/s\"", "");
    let right = std::fs::read_to_string(&config).unwrap();
    let mut bridge = Bridge::start(&config, &["run"]);
    eventually("the copy", || pair.is_equal()).await;
    let answers = |log: &str| {
        log.matches("nothing was changed").count()
            + log.matches("the configuration was read again").count()
    };
    for seed in seeds(count() / 500) {
        std::fs::write(&config, Mutations::new(&seed).of(&right)).unwrap();
        let before = answers(&bridge.log());
        bridge.signal("HUP");
        eventually("the reload is answered", || answers(&bridge.log()) > before).await;
        assert!(bridge.is_running(), "{}", bridge.log());
    }
    std::fs::write(&config, right).unwrap();
    felt(&bridge, "HUP", "the configuration was read again").await;
    pair.seed("{\"id\":\"2\",\"region\":\"r\"}\n");
    eventually("another copy", || pair.is_equal()).await;
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
}
