use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::task::JoinSet;

use super::SqliteState;
use crate::model::{FeedRange, Mode, Position, SourceIdentity, StoredPosition};
use crate::state::{Conflict, PositionStore, PositionWrite, StateError};

fn source(rid: &str, mode: Mode) -> SourceIdentity {
    SourceIdentity { container: "source/shop/orders".to_owned(), rid: rid.to_owned(), mode }
}

fn stored(sink: &str, min: &str, max: &str, etag: Option<&str>) -> StoredPosition {
    let range = FeedRange { min: min.to_owned(), max: max.to_owned() };
    StoredPosition { sink: sink.to_owned(), position: Position::of(range, etag.map(str::to_owned)) }
}

fn range(min: &str, max: &str) -> FeedRange {
    FeedRange { min: min.to_owned(), max: max.to_owned() }
}

/// A pipeline `p` whose sinks start at these positions.
async fn planned(positions: &[StoredPosition]) -> SqliteState {
    let state = SqliteState::in_memory().unwrap();
    assert_eq!(rows(&state).await, []);
    assert_eq!(state.plan("p", &[], positions).await.unwrap(), PositionWrite::Stored);
    state
}

async fn rows(state: &SqliteState) -> Vec<StoredPosition> {
    state.open("p", &source("rid", Mode::LatestVersion)).await.unwrap().positions
}

#[tokio::test]
async fn positions_survive_a_restart_and_a_split_replaces_only_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let source = source("rid", Mode::LatestVersion);
    {
        let state = SqliteState::open(&path).unwrap();
        assert_eq!(state.open("p", &source).await.unwrap().positions, []);
        let plan = [stored("a", "", "7F", None), stored("a", "7F", "FF", None)];
        assert_eq!(state.plan("p", &[], &plan).await.unwrap(), PositionWrite::Stored);
        let advanced = state.advance("p", &[stored("a", "", "7F", Some("\"3\""))], &[]).await;
        assert_eq!(advanced.unwrap(), PositionWrite::Stored);
        let children = [stored("a", "7F", "BF", Some("\"9\"")), stored("a", "BF", "FF", None)];
        let divided = state.divide("p", &range("7F", "FF"), &children, &[]).await;
        assert_eq!(divided.unwrap(), PositionWrite::Stored);
    }
    let state = SqliteState::open(&path).unwrap();
    let expected = [
        stored("a", "", "7F", Some("\"3\"")),
        stored("a", "7F", "BF", Some("\"9\"")),
        stored("a", "BF", "FF", None),
    ];
    assert_eq!(state.open("p", &source).await.unwrap().positions, expected);
}

#[tokio::test]
async fn a_late_write_of_a_range_that_was_divided_does_not_bring_its_row_back() {
    let state = planned(&[stored("a", "", "FF", Some("7")), stored("b", "", "FF", None)]).await;
    let parts = |etag| {
        let part = |sink, min, max| stored(sink, min, max, etag);
        [part("a", "", "7F"), part("a", "7F", "FF"), part("b", "", "7F"), part("b", "7F", "FF")]
    };
    let whole = FeedRange::whole();
    assert_eq!(
        state.divide("p", &whole, &parts(Some("9")), &[]).await.unwrap(),
        PositionWrite::Stored
    );
    let after = rows(&state).await;
    assert_eq!(after.len(), 4);
    let replaced = |sink: &str| {
        PositionWrite::Lost(Conflict::Replaced { sink: sink.to_owned(), range: FeedRange::whole() })
    };
    // Of the whole, later: neither a position nor another division.
    let late = [stored("b", "", "FF", Some("10"))];
    assert_eq!(state.advance("p", &late, &[]).await.unwrap(), replaced("b"));
    assert_eq!(state.divide("p", &whole, &parts(Some("10")), &[]).await.unwrap(), replaced("a"));
    assert_eq!(rows(&state).await, after);
}

#[tokio::test]
async fn a_write_that_moves_a_position_back_is_rejected_as_a_whole() {
    let state =
        planned(&[stored("a", "", "FF", Some("7")), stored("b", "", "FF", Some("7"))]).await;
    let back = |range: FeedRange, offered: &str| {
        PositionWrite::Lost(Conflict::Backwards {
            sink: "b".to_owned(),
            range,
            stored: "7".to_owned(),
            offered: offered.to_owned(),
        })
    };
    let both = [stored("a", "", "FF", Some("8")), stored("b", "", "FF", Some("6"))];
    assert_eq!(state.advance("p", &both, &[]).await.unwrap(), back(FeedRange::whole(), "6"));
    let again = [stored("b", "", "FF", None)];
    assert_eq!(
        state.advance("p", &again, &[]).await.unwrap(),
        back(FeedRange::whole(), "the start")
    );
    let parts = [stored("b", "", "7F", Some("7")), stored("b", "7F", "FF", Some("6"))];
    assert_eq!(
        state.divide("p", &FeedRange::whole(), &parts, &[]).await.unwrap(),
        back(range("7F", "FF"), "6")
    );
    let unchanged = [stored("a", "", "FF", Some("7")), stored("b", "", "FF", Some("7"))];
    assert_eq!(rows(&state).await, unchanged);
}

#[tokio::test]
async fn a_plan_replaces_only_the_positions_that_it_was_made_from() {
    let one = [stored("a", "", "FF", Some("7")), stored("c", "", "FF", Some("1"))];
    let state = planned(&one).await;
    let finer = [stored("a", "", "7F", Some("7")), stored("a", "7F", "FF", Some("7"))];
    let advanced = state.advance("p", &[stored("a", "", "FF", Some("8"))], &[]).await.unwrap();
    assert_eq!(advanced, PositionWrite::Stored);
    let replanned = PositionWrite::Lost(Conflict::Replanned);
    assert_eq!(state.plan("p", &one, &finer).await.unwrap(), replanned);
    assert_eq!(state.plan("p", &[], &finer).await.unwrap(), replanned);
    let read = rows(&state).await;
    assert_eq!(state.plan("p", &read, &finer).await.unwrap(), PositionWrite::Stored);
    // A sink that is not configured keeps what it has.
    let expected = [finer[0].clone(), stored("c", "", "FF", Some("1")), finer[1].clone()];
    assert_eq!(rows(&state).await, expected);
}

/// Waits on this thread, which holds the disk, for what other threads do.
fn until(is_so: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    tokio::task::block_in_place(|| {
        while !is_so() {
            assert!(tokio::time::Instant::now() < deadline, "never happened");
            std::thread::yield_now();
        }
    });
}

/// 512 positions wait for a slow disk: each of them for two commits at most.
#[tokio::test(flavor = "multi_thread")]
async fn positions_that_wait_for_the_disk_share_one_commit() {
    let names: Vec<_> = (0..512).map(|n| format!("s{n:03}")).collect();
    let plan: Vec<_> = names.iter().map(|name| stored(name, "", "FF", None)).collect();
    let state = Arc::new(planned(&plan).await);
    let commits = || state.database.commits.load(Relaxed);
    let before = commits();
    let mut writes = JoinSet::new();
    {
        let database = Arc::clone(&state.database);
        // A disk that does not answer.
        let disk = database.connection.lock();
        for (n, name) in names.into_iter().enumerate() {
            let writer = Arc::clone(&state);
            writes.spawn(async move {
                writer.advance("p", &[stored(&name, "", "FF", Some("5"))], &[]).await.unwrap()
            });
            if n == 0 {
                until(|| state.jobs.is_committing());
            }
        }
        until(|| state.jobs.waiting() == 511);
        drop(disk);
    }
    while let Some(written) = writes.join_next().await {
        assert_eq!(written.unwrap(), PositionWrite::Stored);
    }
    assert_eq!(commits() - before, 2);
    assert!(rows(&state).await.iter().all(|row| row.position.lsn() == Some(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_does_not_fail_those_it_shares_a_commit_with() {
    let state = Arc::new(planned(&[stored("a", "", "FF", None)]).await);
    let mut good = JoinSet::new();
    let mut bad = JoinSet::new();
    {
        let database = Arc::clone(&state.database);
        let disk = database.connection.lock();
        for n in 0..10 {
            let (one, other) = (Arc::clone(&state), Arc::clone(&state));
            good.spawn(async move {
                let etag = n.to_string();
                one.advance("p", &[stored("a", "", "FF", Some(&etag))], &[]).await.unwrap()
            });
            if n == 0 {
                until(|| state.jobs.is_committing());
                continue;
            }
            // Another pipeline, which was never opened: a foreign key is violated.
            bad.spawn(async move { other.plan("q", &[], &[stored("a", "", "FF", None)]).await });
        }
        until(|| state.jobs.waiting() == 18);
        drop(disk);
    }
    let mut stored = 0;
    while let Some(written) = good.join_next().await {
        stored += usize::from(written.unwrap() == PositionWrite::Stored);
    }
    // Those that came after a larger one are rejected, each alone.
    assert!(stored > 0);
    while let Some(written) = bad.join_next().await {
        assert!(matches!(written.unwrap(), Err(StateError::File { .. })));
    }
    assert_eq!(rows(&state).await[0].position.lsn(), Some(9));
}

#[tokio::test]
async fn positions_of_another_container_or_mode_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&folder.path().join("bridge.db")).unwrap();
    state.open("p", &source("one", Mode::LatestVersion)).await.unwrap();
    let recreated = state.open("p", &source("two", Mode::LatestVersion)).await.unwrap_err();
    assert!(matches!(recreated, StateError::Recreated { .. }), "{recreated}");
    let mode = state.open("p", &source("one", Mode::AllVersionsAndDeletes)).await.unwrap_err();
    assert!(matches!(mode, StateError::OtherSource { .. }), "{mode}");
}

#[tokio::test]
async fn the_time_of_the_first_start_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&folder.path().join("bridge.db")).unwrap();
    let source = source("rid", Mode::LatestVersion);
    let before = jiff::Timestamp::now().as_second();
    let first = state.open("p", &source).await.unwrap();
    assert!(first.is_new);
    assert!((before..before + 10).contains(&first.first_start.as_second()), "{first:?}");
    state
        .transact(|connection| {
            connection.execute("UPDATE pipelines SET created_at = '2026-01-31T12:00:00Z'", [])
        })
        .await
        .unwrap();
    let again = state.open("p", &source).await.unwrap();
    assert!(!again.is_new);
    assert_eq!(again.first_start, "2026-01-31T12:00:00Z".parse().unwrap());
}

#[test]
fn a_second_process_is_refused_by_whatever_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let first = SqliteState::open(&path).unwrap();
    let (symbolic, hard) = (folder.path().join("symbolic.db"), folder.path().join("hard.db"));
    std::os::unix::fs::symlink(&path, &symbolic).unwrap();
    std::fs::hard_link(&path, &hard).unwrap();
    for path in [&path, &symbolic, &hard] {
        let opened = SqliteState::open(path);
        assert!(matches!(opened, Err(StateError::Busy { .. })), "{}", path.display());
    }
    drop(first);
    SqliteState::open(&symbolic).unwrap();
}

#[test]
fn only_the_user_of_the_bridge_can_read_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let modes = || {
        ["", "-wal", "-shm"].map(|end| {
            let file = folder.path().join(format!("bridge.db{end}"));
            std::fs::metadata(file).unwrap().permissions().mode() & 0o777
        })
    };
    let state = SqliteState::open(&path).unwrap();
    assert_eq!(modes(), [0o600; 3]);
    // The files of an earlier version.
    for end in ["", "-wal", "-shm"] {
        let file = folder.path().join(format!("bridge.db{end}"));
        std::fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
    }
    drop(state);
    let _state = SqliteState::open(&path).unwrap();
    assert_eq!(modes(), [0o600; 3]);
}

#[test]
fn a_file_that_cannot_be_used_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("damaged.db");
    std::fs::write(&damaged, "no database at all, but long enough to have a header ".repeat(4))
        .unwrap();
    for (path, expected) in [
        (damaged, "The file is damaged. Restore a copy"),
        (folder.path().to_owned(), "[state] file must name a file, not a folder."),
        (folder.path().join("none/bridge.db"), "The folder must exist, and"),
    ] {
        let error = SqliteState::open(&path).err().unwrap();
        assert!(error.hint().starts_with(expected), "{error}: {}", error.hint());
    }
}
