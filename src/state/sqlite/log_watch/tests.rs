use rusqlite::{Connection, OpenFlags};

use super::super::SqliteState;
use super::super::lock::Lock;
use super::LIMIT;
use crate::model::{DeadLetter, FeedRange, Mode, Position, SourceIdentity, Stage, StoredPosition};
use crate::observe::lines::Lines;
use crate::state::{DeadLetterStore, PositionStore, PositionWrite};

/// Stores a letter of 1 MiB.
async fn store(state: &SqliteState, lsn: i64) {
    let letter = DeadLetter {
        pipeline: "p".to_owned(),
        sink: "a".to_owned(),
        stage: Stage::Route,
        cause: "field /tenant is missing".to_owned(),
        source: "source/shop/orders".to_owned(),
        source_id: lsn.to_string(),
        source_key: "[\"1\"]".to_owned(),
        range_min: String::new(),
        lsn: Some(lsn),
        nth: 0,
        target: "1".to_owned(),
        committed_at: None,
        operation: "upsert",
        document: Some("x".repeat(1024 * 1024)),
        previous: None,
        unparsed: None,
    };
    state.store_dead_letters([letter].into()).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_keeps_its_transaction_open_is_reported_and_its_end_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let state = SqliteState::open(&path).unwrap();
    let size = state.log_size().unwrap();
    let lines = Lines::of(async {
        // Without a reader the log is reused.
        for n in 1..=24 {
            store(&state, n).await;
        }
        assert!((1..=LIMIT).contains(&size.bytes()), "{}", size.bytes());
        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN").unwrap();
        let count = reader.query_row("SELECT count(*) FROM dead_letters", [], |row| row.get(0));
        assert_eq!(count, Ok(24));
        for n in 25..=48 {
            store(&state, n).await;
        }
        assert!(size.bytes() > LIMIT, "{}", size.bytes());
        assert_eq!(size.bytes(), folder.path().join("bridge.db-wal").metadata().unwrap().len());
        drop(reader);
        for n in 49..=50 {
            store(&state, n).await;
        }
        assert!(size.bytes() <= LIMIT, "{}", size.bytes());
    });
    let lines = lines.await;
    let lines: Vec<&str> = lines.lines().collect();
    let [grows, again] = lines[..] else { panic!("{lines:?}") };
    let expected =
        " WARN the write-ahead log of the state file grows: a reader keeps it from being reused";
    assert!(grows.starts_with(expected) && grows.contains("hint=\"End the reader:"), "{grows}");
    let expected = " INFO the write-ahead log of the state file is reused again";
    assert!(again.starts_with(expected), "{again}");
}

#[tokio::test]
async fn one_large_commit_is_no_reader() {
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&folder.path().join("bridge.db")).unwrap();
    let size = state.log_size().unwrap();
    let lines = Lines::of(async {
        let large = "CREATE TABLE large AS SELECT zeroblob(1048576) FROM generate_series";
        let large = large.replace(
            "generate_series",
            "(WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n WHERE x < 40) SELECT x FROM n)",
        );
        state.transact(move |connection| connection.execute_batch(&large)).await.unwrap();
        assert!(size.bytes() > LIMIT, "{}", size.bytes());
        store(&state, 1).await;
        assert!(size.bytes() <= LIMIT, "{}", size.bytes());
    });
    assert_eq!(lines.await, "");
}

/// `unix-dotfile` is how SQLite uses a file system without shared memory and locks.
#[tokio::test]
async fn without_shared_memory_a_line_says_so_and_everything_works() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let whole = |etag: &str| StoredPosition {
        sink: "a".to_owned(),
        position: Position::of(FeedRange::whole(), Some(etag.to_owned())),
    };
    let source = SourceIdentity {
        container: "source/shop/orders".to_owned(),
        rid: "r".to_owned(),
        mode: Mode::LatestVersion,
    };
    let lines = Lines::of(async {
        for etag in ["1", "2"] {
            let lock = Lock::take(&path).unwrap().unwrap();
            let flags = OpenFlags::default();
            let connection = Connection::open_with_flags_and_vfs(&path, flags, "unix-dotfile");
            let state = SqliteState::set_up(&path, lock, connection.unwrap()).unwrap();
            assert!(state.log_size().is_none());
            let before = state.open("p", &source).await.unwrap().positions;
            assert_eq!(before.len(), usize::from(etag == "2"));
            let stored = state.plan("p", &before, &[whole(etag)]).await.unwrap();
            assert_eq!(stored, PositionWrite::Stored);
        }
    });
    let lines = lines.await;
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let expected = "the state file has no write-ahead log, which its file system does not support";
    assert!(lines.lines().all(|line| line.contains(expected)), "{lines}");
    assert!(lines.contains("journal=\"delete\""), "{lines}");
}
