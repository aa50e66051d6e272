//! The name of a sink refers to one target: positions are never used for another one.

use std::path::Path;

use cosmos_bridge_emulator::world::ContainerSettings;

use crate::support::{Bridge, Ended, Pair};

const RUN: [&str; 2] = ["run", "--until-caught-up"];

fn documents(count: u32) -> String {
    (0..count).fold(String::new(), |lines, n| {
        lines + &format!("{{\"id\":\"d{n}\",\"region\":\"r{}\"}}\n", n % 7)
    })
}

/// A pair with documents that are all copied.
async fn copied() -> (Pair, std::path::PathBuf) {
    let pair = Pair::alike().await;
    pair.seed(&documents(200));
    let config = pair.configure("", "", "", "");
    let first = Bridge::catch_up(&config).await;
    assert_eq!(first.code(), Some(0), "{}", first.log);
    assert!(pair.is_equal());
    (pair, config)
}

async fn run_with(config: &Path, flags: &[&str]) -> Ended {
    Bridge::command(config, &[&RUN, flags].concat()).await
}

async fn recreate_target(pair: &Pair) {
    pair.accounts.world.delete_container("target", "shop", "copies").await.unwrap();
    let settings = ContainerSettings::new(&["/region"], 1);
    pair.accounts.create_container("target", "shop", "copies", &settings).await.unwrap();
}

fn edit(config: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(config).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(config, text.replacen(from, to, 1)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_target_is_refused_until_the_operator_chooses() {
    let (pair, config) = copied().await;
    recreate_target(&pair).await;
    for command in [&RUN[..], &["run"], &["check", "--live"]] {
        let refused = Bridge::command(&config, command).await;
        assert_eq!(refused.code(), Some(65), "{command:?}: {}", refused.log);
        let said = refused.last_words();
        assert!(said.contains("sink `archive` of pipeline `orders` refers to another"), "{said}");
        assert!(said.contains("`run --start-over archive`"), "{said}");
        assert!(said.contains("`run --adopt archive`"), "{said}");
    }
    assert_eq!(pair.count("target", "copies"), 0);

    let over = run_with(&config, &["--start-over", "archive"]).await;
    assert_eq!(over.code(), Some(0), "{}", over.log);
    assert!(over.log.contains("starts over: its positions are forgotten"), "{}", over.log);
    assert!(pair.is_equal());

    // The flag may stay on the command line.
    let writes = pair.writes();
    let again = run_with(&config, &["--start-over", "archive"]).await;
    assert_eq!(again.code(), Some(0), "{}", again.log);
    assert!(again.log.contains("not needed: the sink has no positions"), "{}", again.log);
    assert_eq!(pair.writes(), writes);
    let check = Bridge::command(&config, &["check", "--live"]).await;
    assert_eq!(check.code(), Some(0), "{}", check.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_target_is_continued_from_the_positions() {
    let (pair, config) = copied().await;
    recreate_target(&pair).await;
    let adopted = run_with(&config, &["--adopt", "archive"]).await;
    assert_eq!(adopted.code(), Some(0), "{}", adopted.log);
    assert!(adopted.log.contains("keeps its positions for another target"), "{}", adopted.log);
    assert_eq!(pair.count("target", "copies"), 0);
    pair.seed("{\"id\":\"later\",\"region\":\"r1\"}\n");
    let again = run_with(&config, &["--adopt", "archive"]).await;
    assert_eq!(again.code(), Some(0), "{}", again.log);
    assert!(again.log.contains("not needed: the sink has no positions"), "{}", again.log);
    assert_eq!(pair.count("target", "copies"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_names_another_container_is_refused() {
    let (pair, config) = copied().await;
    let settings = ContainerSettings::new(&["/region"], 1);
    pair.accounts.create_container("target", "shop", "others", &settings).await.unwrap();
    edit(&config, "container = \"copies\"", "container = \"others\"");
    let refused = run_with(&config, &[]).await;
    assert_eq!(refused.code(), Some(78), "{}", refused.log);
    let said = refused.last_words();
    assert!(said.contains("container `copies`") && said.contains("container `others`"), "{said}");
    assert_eq!(pair.count("target", "others"), 0);
    edit(&config, "container = \"others\"", "container = \"copies\"");
    let restored = run_with(&config, &[]).await;
    assert_eq!(restored.code(), Some(0), "{}", restored.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_of_the_same_account_is_the_same_target() {
    let (_pair, config) = copied().await;
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("http://127.0.0.1:"), "{text}");
    std::fs::write(&config, text.replace("http://127.0.0.1:", "http://localhost:")).unwrap();
    let ended = run_with(&config, &[]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_writes_another_file_is_refused() {
    let pair = Pair::alike().await;
    pair.seed(&documents(5));
    let sinks = "[sinks.file.lines]\npath = \"one.jsonl\"\n";
    let source = "mode = \"latest-version\"\nstart = \"beginning\"\n";
    let config = pair.configure_sinks(sinks, "", source, "to = \"lines\"\n");
    assert_eq!(run_with(&config, &[]).await.code(), Some(0));
    edit(&config, "one.jsonl", "two.jsonl");
    let refused = run_with(&config, &[]).await;
    assert_eq!(refused.code(), Some(78), "{}", refused.log);
    assert!(refused.last_words().contains("two.jsonl"), "{}", refused.log);
    let over = run_with(&config, &["--start-over", "lines"]).await;
    assert_eq!(over.code(), Some(0), "{}", over.log);
    let lines = |file: &str| {
        let lines = std::fs::read_to_string(pair.folder.path().join(file)).unwrap();
        lines.lines().count()
    };
    assert_eq!((lines("one.jsonl"), lines("two.jsonl")), (5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_of_a_state_file_of_version_1_is_taken_as_it_is_and_noted_once() {
    let (pair, config) = copied().await;
    let file = pair.folder.path().join("cosmos-bridge.db");
    let state = rusqlite::Connection::open(&file).unwrap();
    let before = "DROP TABLE targets; DROP TABLE ledgers; DROP TABLE history; DROP TABLE sweeps; ALTER TABLE positions DROP COLUMN stream_from;";
    state.execute_batch(&format!("{before} PRAGMA user_version = 1")).unwrap();
    drop(state);
    let check = Bridge::command(&config, &["check", "--live"]).await;
    assert_eq!(check.code(), Some(0), "{}", check.log);
    let noted = "took note of what the sink's name refers to";
    for is_noted in [true, false] {
        let ended = run_with(&config, &[]).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        assert_eq!(ended.log.contains(noted), is_noted, "{}", ended.log);
    }
    recreate_target(&pair).await;
    assert_eq!(run_with(&config, &[]).await.code(), Some(65));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_for_a_sink_that_does_not_exist_is_refused() {
    let (_pair, config) = copied().await;
    for (flags, message) in [
        (&["--start-over", "achive"][..], "the configuration has no such sink"),
        (&["--start-over", "archive", "--adopt", "archive"], "exclude each other"),
    ] {
        let refused = run_with(&config, flags).await;
        assert_eq!(refused.code(), Some(2), "{}", refused.log);
        assert!(refused.last_words().contains(message), "{}", refused.log);
    }
}
