//! A start that cannot work ends with a message that says what to fix, and with the documented exit code. A stop is
//! orderly.

#![allow(clippy::format_collect, reason = "lines of JSON read best so")]
#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]

use std::path::Path;

use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{Effect, FaultRule};

use crate::support::evidence::{is_rounded, lines_at};
use crate::support::{Bridge, Ended, Pair, eventually};

const RUN: &[&str] = &["run", "--until-caught-up"];
const CHECK: &[&str] = &["check"];
const CHECK_LIVE: &[&str] = &["check", "--live"];

fn documents(ids: std::ops::Range<u32>) -> String {
    ids.map(|n| format!("{{\"id\":\"d{n}\",\"region\":\"r{}\"}}\n", n % 7)).collect()
}

/// A pair with a few documents, and a valid configuration.
async fn ready() -> (Pair, std::path::PathBuf) {
    let pair = Pair::alike().await;
    pair.seed(&documents(0..10));
    let config = pair.configure("", "", "", "");
    (pair, config)
}

/// Replaces a part of the configuration.
fn edit(config: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(config).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(config, text.replacen(from, to, 1)).unwrap();
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
    assert_eq!(pair.count("target", "copies"), 0);
    said.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_named() {
    let mut said = String::new();
    for account in ["source", "target"] {
        let (pair, config) = ready().await;
        let key = pair.accounts.key(if account == "source" { "target" } else { "source" });
        std::fs::write(pair.folder.path().join(format!("{account}.key")), key).unwrap();
        said += &refusal(&pair, &config, 77).await;
        said += "\n";
    }
    insta::assert_snapshot!(said, @r#"
    connecting to account `source` at http://source: the credential is refused (401): AccountProperties fetch from http://source/ returned HTTP 401
    hint: Check the account's key in the configuration: it is wrong, was regenerated, or key access is switched off for the account.
    connecting to account `target` at http://target: the credential is refused (401): AccountProperties fetch from http://target/ returned HTTP 401
    hint: Check the account's key in the configuration: it is wrong, was regenerated, or key access is switched off for the account.
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_account_is_named() {
    let mut said = String::new();
    for account in ["source", "target"] {
        let (mut pair, config) = ready().await;
        pair.accounts.stop_listener(account).await;
        said += &refusal(&pair, &config, 69).await;
        said += "\n";
    }
    insta::assert_snapshot!(said, @r#"
    connecting to account `source` at http://source: cannot be reached: Connection refused (os error 111)
    hint: Check the endpoint in the configuration, the network, and that the account is available.
    connecting to account `target` at http://target: cannot be reached: Connection refused (os error 111)
    hint: Check the endpoint in the configuration, the network, and that the account is available.
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_database_or_container_is_named() {
    let source = "database = \"shop\"\ncontainer = \"orders\"";
    let target = "database = \"shop\"\ncontainer = \"copies\"";
    let table = [
        (source, "database = \"shoq\"\ncontainer = \"orders\""),
        (source, "database = \"shop\"\ncontainer = \"ordres\""),
        (target, "database = \"shoq\"\ncontainer = \"copies\""),
        (target, "database = \"shop\"\ncontainer = \"copeis\""),
    ];
    let mut said = String::new();
    for (from, to) in table {
        let (pair, config) = ready().await;
        edit(&config, from, to);
        said += &refusal(&pair, &config, 66).await;
        said += "\n";
    }
    insta::assert_snapshot!(said, @r#"
    opening container `source/shoq/orders`: it does not exist (404): Database 'shoq' does not exist
    hint: Create the database and the container, or correct their names in the configuration.
    opening container `source/shop/ordres`: it does not exist (404): Container 'ordres' does not exist
    hint: Create the database and the container, or correct their names in the configuration.
    opening container `target/shoq/copies`: it does not exist (404): Database 'shoq' does not exist
    hint: Create the database and the container, or correct their names in the configuration.
    opening container `target/shop/copeis`: it does not exist (404): Container 'copeis' does not exist
    hint: Create the database and the container, or correct their names in the configuration.
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_another_key_path_is_refused() {
    let pair = Pair::alike().await;
    pair.seed(&documents(0..10));
    let config = pair.configure("", "", "", "partition_key = [\"/customerId\"]");
    insta::assert_snapshot!(refusal(&pair, &config, 78).await, @r#"
    pipeline `orders`: route 1 sets the partition key [/customerId], but the target's is [/region]
    hint: Make the route's partition_key name the target's key paths in their order, or create the target container with the paths of the route.
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_is_refused_without_any_request() {
    let (pair, config) = ready().await;
    edit(&config, "to = \"archive\"", "to = \"arhcive\"\nfrom = \"/id\"");
    insta::assert_snapshot!(refusal(&pair, &config, 78).await, @r#"
    FOLDER/config.toml: 2 problems

      line 24: pipelines.orders.routes[0].to = "arhcive"
        no sink is named `arhcive`
        hint: Did you mean `archive`?

      line 25: pipelines.orders.routes[0].from
        unknown key
        hint: The keys are `to`, `where`, `jq`, `include`, `exclude`, `rename`, `set`, `mask`, `partition_key`, `id`, `moves`, `soft_delete` and `snapshot`.
    "#);
    let ended = Bridge::command(&config, CHECK).await;
    assert_eq!(ended.code(), Some(78), "{}", ended.log);
    assert_eq!(pair.requests("source", "orders", &["metadata", "feed"]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_and_an_unknown_command_are_told_apart() {
    let (pair, config) = ready().await;
    let ended = Bridge::command(&config, &["walk"]).await;
    assert_eq!(ended.code(), Some(2), "{}", ended.log);
    assert!(ended.log.contains("unrecognized subcommand 'walk'"), "{}", ended.log);
    std::fs::remove_file(&config).unwrap();
    let ended = Bridge::command(&config, CHECK).await;
    assert_eq!(ended.code(), Some(78), "{}", ended.log);
    let said = pair.settled(&ended.log);
    assert!(said.contains("FOLDER/config.toml"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_bridge_keeps_off_the_state_of_the_first() {
    let (pair, config) = ready().await;
    let first = Bridge::start(&config, &["run"]);
    eventually("the first copies", || pair.is_equal()).await;
    let second = Bridge::command(&config, RUN).await;
    assert_eq!(second.code(), Some(73), "{}", second.log);
    insta::assert_snapshot!(pair.settled(&second.last_words()), @r#"
    another process uses the state file `FOLDER/cosmos-bridge.db`
    hint: Stop the other process, or configure a different state file.
    "#);
    first.terminate();
    assert_eq!(first.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_another_container_or_mode_are_not_used() {
    let (pair, config) = ready().await;
    let history = ContainerSettings {
        retention_seconds: Some(3600),
        ..ContainerSettings::new(&["/region"], 1)
    };
    pair.accounts.create_container("source", "shop", "others", &history).await.unwrap();
    assert_eq!(Bridge::command(&config, RUN).await.code(), Some(0));
    let writes = pair.writes();
    let modes = "mode = \"latest-version\"\nstart = \"beginning\"";
    let table = [
        ("container = \"orders\"", "container = \"others\""),
        (modes, "mode = \"all-versions-and-deletes\"\nstart = \"now\""),
    ];
    let mut said = String::new();
    for (from, to) in table {
        pair.configure("", "", "", "");
        edit(&config, from, to);
        let ended = Bridge::command(&config, RUN).await;
        assert_eq!(ended.code(), Some(78), "{}", ended.log);
        said += &pair.settled(&ended.last_words());
        said += "\n";
    }
    insta::assert_snapshot!(said, @r#"
    pipeline `orders`: positions are stored for `source/shop/orders` in mode latest-version, and the configuration says `source/shop/others` in mode latest-version
    hint: Give the pipeline a new name to start afresh, or restore what `orders` read.
    pipeline `orders`: positions are stored for `source/shop/orders` in mode latest-version, and the configuration says `source/shop/orders` in mode all-versions-and-deletes
    hint: Give the pipeline a new name to start afresh, or restore what `orders` read.
    "#);
    assert_eq!(pair.writes(), writes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_succeeds_writes_nothing() {
    let (mut pair, config) = ready().await;
    let ended = Bridge::command(&config, CHECK_LIVE).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.last_words(), "everything works; nothing was written");
    assert_eq!(pair.writes(), 0);
    assert_eq!(pair.count("target", "copies"), 0);
    let ended = Bridge::command(&config, RUN).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.total("delivered"), 10, "the check moved a position:\n{}", ended.log);

    pair.accounts.stop_listener("source").await;
    pair.accounts.stop_listener("target").await;
    let ended = Bridge::command(&config, CHECK).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.last_words(), "the configuration is valid");
}

/// Request units are sums of fractions, whose last digits are noise.
fn request_units_are_rounded(ended: &Ended) {
    for name in ["source_ru", "target_ru"] {
        let units = ended.stopped(name);
        assert!(is_rounded(units), "{name}={units}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_loses_nothing_and_a_restart_repeats_nothing() {
    const DOCUMENTS: u32 = 2000;
    for (signal, arguments, code) in
        [("TERM", &["run"][..], 0), ("INT", &["run"], 0), ("TERM", RUN, 5)]
    {
        let pair = Pair::alike().await;
        pair.seed(&documents(0..DOCUMENTS));
        // Slow enough to be stopped in the middle.
        let slow = Effect { delay_ms: Some(30), ..Effect::default() };
        let target = Some("target".to_owned());
        for kind in ["batch", "create"] {
            let operation = Some(kind.to_owned());
            let then = slow.clone();
            let account = target.clone();
            pair.accounts.fault(FaultRule { account, operation, then, ..FaultRule::default() });
        }
        let sink = "concurrency = 1\nbatch_changes = 10";
        let config = pair.configure(sink, "window = 300", "page_size = 100", "");
        let bridge = Bridge::start(&config, arguments);
        eventually("some are copied", || pair.count("target", "copies") >= 300).await;
        bridge.signal(signal);
        let ended = bridge.ended().await;
        assert_eq!(ended.code(), Some(code), "{}", ended.log);
        request_units_are_rounded(&ended);
        let there = pair.count("target", "copies");
        assert!(there < DOCUMENTS as usize, "the stop came too late to prove anything");

        let stored = pair.positions();
        let [stored] = stored[..] else { panic!("{stored:?}") };
        // Every change read before the stop is written, and the stored position covers exactly those.
        assert_eq!(stored, there as u64, "{}", ended.log);
        pair.accounts.clear_faults();
        let ended = Bridge::command(&config, RUN).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        assert!(pair.is_equal());
        // One document per log sequence number, so the position is a count.
        assert_eq!(ended.total("read"), u64::from(DOCUMENTS) - stored, "{}", ended.log);
        request_units_are_rounded(&ended);
    }
}

/// A bridge whose target does not answer.
async fn hanging(stop_within: &str) -> (Pair, Bridge) {
    let (pair, config) = ready().await;
    let then = Effect { delay_ms: Some(60_000), ..Effect::default() };
    for kind in ["batch", "create"] {
        let (account, operation) = (Some("target".to_owned()), Some(kind.to_owned()));
        let then = then.clone();
        pair.accounts.fault(FaultRule { account, operation, then, ..FaultRule::default() });
    }
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("stop_within = \"{stop_within}\"\n{text}")).unwrap();
    let bridge = Bridge::start(&config, &["run"]);
    let fired = || pair.accounts.world.faults.list().iter().any(|armed| armed.fired > 0);
    eventually("a write hangs", fired).await;
    (pair, bridge)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_takes_too_long_is_cut_short() {
    let (_pair, bridge) = hanging("1s").await;
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(75), "{}", ended.log);
    insta::assert_snapshot!(ended.last_words(), @"work in flight did not finish within 1 s; it is repeated at the next start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let (_pair, bridge) = hanging("60s").await;
    bridge.signal("INT");
    eventually("the bridge is stopping", || bridge.log().contains("stopping")).await;
    bridge.signal("INT");
    let started = tokio::time::Instant::now();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(75), "{}", ended.log);
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    assert_eq!(lines_at(&ended.log, "WARN").len(), 1, "{}", ended.log);
}

/// Runs the bridge without a configuration, and returns its output.
fn output(arguments: &[&str], folder: &Path) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cosmos-bridge"));
    command.args(arguments).current_dir(folder).output().unwrap()
}

#[test]
fn a_shell_completes_the_commands_and_man_has_a_page_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let made = output(&["completions", "bash"], folder.path());
    assert!(made.status.success());
    std::fs::write(folder.path().join("completions"), made.stdout).unwrap();
    for (words, expected) in
        [("sta", "status"), ("dlq rep", "replay"), ("run --until", "--until-caught-up")]
    {
        let words: Vec<_> = words.split(' ').collect();
        let (count, last) = (words.len(), words[words.len() - 1]);
        let script = format!(
            "source ./completions; \
             complete=$(complete -p cosmos-bridge | sed 's/.* -F \\([^ ]*\\).*/\\1/'); \
             COMP_WORDS=(cosmos-bridge {}); COMP_CWORD={count}; \
             $complete cosmos-bridge {last} x; echo \"${{COMPREPLY[@]}}\"",
            words.join(" ")
        );
        let mut bash = std::process::Command::new("bash");
        let completed = bash.args(["-c", &script]).current_dir(folder.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), expected, "{completed:?}");
    }
    for shell in ["zsh", "fish"] {
        let made = output(&["completions", shell], folder.path());
        assert!(String::from_utf8_lossy(&made.stdout).contains("until-caught-up"), "{shell}");
    }

    let made = output(&["man", "."], folder.path());
    assert!(made.status.success(), "{made:?}");
    for (page, text) in [
        ("cosmos-bridge.1", "Replicates Azure Cosmos DB"),
        ("cosmos-bridge-run.1", "until\\-caught\\-up"),
        ("cosmos-bridge-dlq-replay.1", "Write dead letters again"),
    ] {
        let path = folder.path().join(page);
        let found =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(found.contains(text), "{page}: {found}");
    }
    let made = output(&["man", "missing"], folder.path());
    assert_eq!(made.status.code(), Some(1), "{made:?}");
    let told = String::from_utf8_lossy(&made.stderr);
    assert!(told.contains("cannot write to missing") && told.contains("hint: "), "{told}");
}
