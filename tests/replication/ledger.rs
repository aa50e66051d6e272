//! The conservation ledger of the real binary. Every other test of this folder checks that it balances after each run
//! (`tests/support/ledger.rs`); these check what it counts, and what happens if it does not balance.

use std::path::{Path, PathBuf};

use cosmos_bridge_emulator::fault::{Effect, FaultRule};
use cosmos_bridge_emulator::world::ContainerSettings;

use crate::support::ledger::{Row, of_sink};
use crate::support::{Bridge, Ended, Pair};

const DOCUMENTS: i64 = 200;

/// Two sinks: one gets every document, the other those of one of four cities, and by their names, which every tenth
/// lacks.
const ROUTES: &str = "to = \"lines\"\n[[pipelines.orders.routes]]\nto = \"some\"\n\
                      where = { path = \"/city\", equals = \"c2\" }\nid = \"{/name}\"\n";

/// Of one city, and of these without a name.
const OF_CITY: i64 = 50;
const NAMELESS: i64 = 10;

fn documents() -> String {
    let document = |n: i64| {
        let name = if n % 10 == 0 { String::new() } else { format!(",\"name\":\"n{n}\"") };
        format!("{{\"id\":\"{n}\",\"pk\":\"{n}\",\"city\":\"c{}\"{name}}}\n", n % 4)
    };
    (0..DOCUMENTS).map(document).collect()
}

async fn seeded() -> (Pair, PathBuf) {
    let settings = ContainerSettings::new(&["/pk"], 3);
    let pair = Pair::start(&settings, &settings).await;
    pair.seed(&documents());
    let sinks =
        "[sinks.file.lines]\npath = \"lines.jsonl\"\n[sinks.file.some]\npath = \"some.jsonl\"\n";
    let source = "mode = \"latest-version\"\nstart = \"beginning\"\n";
    let config = pair.configure_sinks(sinks, "", source, ROUTES);
    (pair, config)
}

fn row(sink: &str, [read, filtered, delivered, dead_letters]: [i64; 4]) -> Row {
    Row { sink: sink.to_owned(), read, filtered, delivered, superseded: 0, dead_letters }
}

/// A command while the ledger does not balance.
async fn unbalanced(config: &Path, arguments: &[&str]) -> Ended {
    Bridge::forget_log(config);
    Bridge::start(config, arguments).unbalanced().ended().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_is_filtered_delivered_or_a_dead_letter_over_all_runs() {
    let (pair, config) = seeded().await;
    for runs in 1..=2 {
        let ended = Bridge::catch_up(&config).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        let (all, city, letters) = (runs * DOCUMENTS, runs * OF_CITY, runs * NAMELESS);
        assert_eq!(of_sink(&config, "lines"), row("lines", [all, 0, all, 0]));
        let some = [all, all - city, city - letters, letters];
        assert_eq!(of_sink(&config, "some"), row("some", some));
        // Each is a new version.
        pair.seed(&documents());
    }
    let shown = Bridge::command(&config, &["ledger"]).await;
    assert_eq!(shown.code(), Some(0), "{}", shown.log);
    assert_eq!(shown.log.lines().count(), 3, "{}", shown.log);
}

/// One change of a page is lost on its way to the bridge: the page states one more than it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_gets_lost_ends_a_migration_with_a_code_of_its_own_until_it_is_accepted() {
    let (pair, config) = seeded().await;
    pair.accounts.fault(FaultRule {
        account: Some("source".to_owned()),
        operation: Some("feed".to_owned()),
        times: Some(1),
        then: Effect { miscount: true, ..Effect::default() },
        ..FaultRule::default()
    });
    let run = ["run", "--until-caught-up"];
    let ended = unbalanced(&config, &run).await;
    assert_eq!(ended.code(), Some(6), "{}", ended.log);
    let line = "changes were read, and nothing tells what became of them";
    assert!(ended.log.contains(line), "{}", ended.log);
    assert!(ended.last_words().contains("does not balance: 1 changes"), "{}", ended.log);
    for sink in ["lines", "some"] {
        assert_eq!(of_sink(&config, sink).read, DOCUMENTS + 1);
    }
    // Nothing new is lost, and what was is still missing.
    let ended = unbalanced(&config, &run).await;
    assert_eq!(ended.code(), Some(6), "{}", ended.log);
    assert!(ended.log.contains("in earlier runs changes were read"), "{}", ended.log);
    let shown = unbalanced(&config, &["ledger"]).await;
    assert_eq!(shown.code(), Some(6), "{}", shown.log);
    let unknown = unbalanced(&config, &["ledger", "--accept", "other"]).await;
    assert_eq!(unknown.code(), Some(2), "{}", unknown.log);
    let accepted = unbalanced(&config, &["ledger", "--accept", "lines", "--accept", "some"]).await;
    assert_eq!(accepted.code(), Some(0), "{}", accepted.log);
    assert!(accepted.log.contains("2 missing changes"), "{}", accepted.log);
    let ended = Bridge::command(&config, &run).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
}
