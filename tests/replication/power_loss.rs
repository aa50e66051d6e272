//! What is reported as durable survives a loss of power: it was synced before. A disk that refuses a write or a sync
//! loses nothing. Recorded from the real binary.

use serde_json::Value;

use crate::support::evidence::lines_at;
use crate::support::system_calls::Recorded;
use crate::support::{Bridge, Pair, eventually};

const ROUNDS: u32 = 4;

/// Of one round, more than `rotate_bytes`: each round finishes the file of the round before.
const DOCUMENTS: u32 = 200;

fn documents(round: u32) -> String {
    let ids = (0..DOCUMENTS).map(|n| round * DOCUMENTS + n);
    let text = "t".repeat(200);
    let line = |n| format!("{{\"id\":\"d{n}\",\"region\":\"r\",\"text\":\"{text}\"}}\n");
    ids.map(line).collect::<Vec<_>>().concat()
}

/// A pair whose documents become lines of `audit.jsonl`.
async fn with_lines() -> (Pair, std::path::PathBuf) {
    with_route("").await
}

/// The same, with more lines for the route.
async fn with_route(route: &str) -> (Pair, std::path::PathBuf) {
    let pair = Pair::alike().await;
    let sinks = "[log]\nlevel = \"info\"\n[sinks.file.audit]\npath = \"audit.jsonl\"\n\
                 rotate_bytes = \"64 KiB\"\n";
    let source = "mode = \"latest-version\"\nstart = \"beginning\"\n";
    let config = pair.configure_sinks(sinks, "", source, &format!("to = \"audit\"\n{route}"));
    (pair, config)
}

/// The ids in all files of lines.
fn ids(pair: &Pair) -> Vec<String> {
    let files = std::fs::read_dir(pair.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut ids = Vec::new();
    for file in files.filter(|file| file.extension().is_some_and(|end| end == "jsonl")) {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            ids.push(line["data"]["id"].as_str().unwrap().to_owned());
        }
    }
    ids.sort();
    ids
}

fn expected(rounds: u32) -> Vec<String> {
    ids_of(0..rounds * DOCUMENTS)
}

/// The ids of documents by their numbers, sorted.
fn ids_of(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    let mut ids: Vec<_> = numbers.into_iter().map(|n| format!("d{n}")).collect();
    ids.sort();
    ids
}

/// The lines of a page are on the disk, and so is the name of their file, before the state file gets a
/// position. Each round has one page.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_written_only_when_its_lines_are_on_the_disk() {
    let (pair, config) = with_lines().await;
    let folder = pair.folder.path().display().to_string();
    let lines = format!("{folder}/audit.jsonl");
    let log = format!("{folder}/cosmos-bridge.db-wal");
    for round in 0..ROUNDS {
        pair.seed(&documents(round));
        let recorded = Recorded::start(&config, &["run", "--until-caught-up"], &[]);
        let mut behind_lines = 0;
        recorded.ended(Some(0)).await.replay(|path, disk| {
            if path == log && disk.writes(&lines) > 0 {
                behind_lines += 1;
                assert!(disk.is_durable(&lines), "round {round}: lines are not synced");
            }
        });
        assert!(behind_lines > 0, "round {round}: no position is stored");
    }
    assert_eq!(ids(&pair), expected(ROUNDS));
}

/// A file that is created or renamed may lose its name: the folder is synced before lines count.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_keeps_its_name() {
    let (pair, config) = with_lines().await;
    // The state is elsewhere, so that only files of lines are made in this folder.
    let state = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let table = format!("[state]\nfile = \"{}/state.db\"\n", state.path().display());
    std::fs::write(&config, table + &text).unwrap();
    let folder = pair.folder.path().display().to_string();
    let log = format!("{}/state.db-wal", state.path().display());
    for round in 0..ROUNDS {
        pair.seed(&documents(round));
        let recorded = Recorded::start(&config, &["run", "--until-caught-up"], &[]);
        let mut names = 0;
        recorded.ended(Some(0)).await.replay(|path, disk| {
            if path == log {
                names = disk.writes(&folder);
                assert!(
                    disk.is_durable(&folder),
                    "round {round}: the name of a file is not synced"
                );
            }
        });
        assert!(names > 0, "round {round}: no file is made");
    }
}

/// What the state reports as stored is on the disk when it is reported, and not only when the file is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_stored_position_survives() {
    let (pair, config) = with_lines().await;
    let log = format!("{}/cosmos-bridge.db-wal", pair.folder.path().display());
    pair.seed(&documents(0));
    let recorded = Recorded::start(&config, &["run"], &[]);
    eventually("a position is stored", || pair.is_reading()).await;
    let disk = recorded.kill().await.replay(|_, _| {});
    assert!(disk.writes(&log) > 0);
    assert!(disk.is_durable(&log), "{disk:?}");
}

/// Each thread's first sync of the lines fails. Its lines count as not written, and are not there twice.
#[tokio::test(flavor = "multi_thread")]
async fn lines_whose_sync_fails_are_written_again_and_once() {
    let (pair, config) = with_lines().await;
    let lines = pair.folder.path().join("audit.jsonl");
    std::fs::write(&lines, "").unwrap();
    pair.seed(&documents(0));
    let fails = ["-P", lines.to_str().unwrap(), "-e", "inject=fdatasync:error=EIO:when=1"];
    let recorded = Recorded::start(&config, &["run", "--until-caught-up"], &fails);
    let log = recorded.bridge.log_file();
    let mut writes = 0;
    recorded.ended(Some(0)).await.replay(|_, _| writes += 1);
    assert!(writes > 1, "no sync failed: {}", std::fs::read_to_string(log).unwrap());
    assert_eq!(ids(&pair), expected(1));
}

/// Rejects documents without a team.
const NEEDS_TEAM: &str = "partition_key = [\"/team\"]";

/// The disk is full for the first writes of each thread. Only two: the pauses between attempts grow.
const FULL: &str = "inject=pwrite64:error=ENOSPC:when=1..2";

fn has_no_team(number: u32) -> bool {
    number.is_multiple_of(3)
}

fn with_teams(round: u32) -> String {
    let ids = (0..DOCUMENTS).map(|n| round * DOCUMENTS + n);
    let team = |n| if has_no_team(n) { "" } else { ",\"team\":\"t\"" };
    let line = |n| format!("{{\"id\":\"d{n}\",\"region\":\"r\"{}}}\n", team(n));
    ids.map(line).collect::<Vec<_>>().concat()
}

/// The ids of all dead letters.
fn letters(pair: &Pair) -> Vec<String> {
    let mut ids: Vec<_> = pair.letters().into_iter().map(|letter| letter.source_id).collect();
    ids.sort();
    ids
}

/// Every document before the stored position is a dead letter if its route rejects it.
fn no_position_is_before_its_letters(pair: &Pair) {
    // The letters last: what is stored in between is no mistake.
    let (positions, letters) = (pair.positions(), letters(pair));
    let [position] = positions[..] else { panic!("{positions:?}") };
    // One document per log sequence number, so the position is a count.
    let before = 0..u32::try_from(position).unwrap();
    let rejected = ids_of(before.filter(|n| has_no_team(*n)));
    let missing: Vec<_> = rejected.iter().filter(|id| !letters.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?} are before position {position}");
}

/// Whether a write to the state file failed because the disk is full.
fn has_no_room(log: &str) -> bool {
    let failed = "failed storing the state of pipeline `orders`; retrying until it succeeds";
    let full = "cosmos-bridge.db`: database or disk is full";
    lines_at(log, "WARN").iter().any(|line| line.contains(failed) && line.contains(full))
}

/// The state file's disk is full for a while. Dead letters and positions wait for room, positions for their letters.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_state_loses_no_letter_and_no_position_comes_before_one() {
    let (pair, config) = with_route(NEEDS_TEAM).await;
    // A start does not wait for room. What the first one stores, later ones do not store again.
    pair.seed(&with_teams(0));
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let state_log = format!("{}/cosmos-bridge.db-wal", pair.folder.path().display());
    for round in 1..ROUNDS {
        pair.seed(&with_teams(round));
        Bridge::forget_log(&config);
        let full = ["-P", &state_log, "-e", FULL];
        let mut recorded = Recorded::start(&config, &["run", "--until-caught-up"], &full);
        let file = recorded.bridge.log_file();
        let log = || std::fs::read_to_string(&file).unwrap();
        eventually("the disk is full", || has_no_room(&log())).await;
        eventually("it has caught up", || {
            no_position_is_before_its_letters(&pair);
            !recorded.bridge.is_running()
        })
        .await;
        recorded.ended(Some(0)).await;
        let log = log();
        assert!(log.contains("works again: storing the state of pipeline `orders`"), "{log}");
        assert!(lines_at(&log, "ERROR").is_empty(), "{log}");

        let documents = (round + 1) * DOCUMENTS;
        let (rejected, copied): (Vec<_>, Vec<_>) = (0..documents).partition(|n| has_no_team(*n));
        assert_eq!(ids(&pair), ids_of(copied), "round {round}");
        assert_eq!(letters(&pair), ids_of(rejected), "round {round}");
        assert_eq!(pair.positions(), [u64::from(documents)], "round {round}");
    }
}
