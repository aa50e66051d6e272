use super::SqliteState;
use crate::model::{DeadLetter, FeedRange, Mode, Position, SourceIdentity, Stage, StoredPosition};
use crate::state::{StateError, StateStore};

fn source(rid: &str, mode: Mode) -> SourceIdentity {
    SourceIdentity { container: "source/shop/orders".to_owned(), rid: rid.to_owned(), mode }
}

fn stored(sink: &str, min: &str, max: &str, etag: Option<&str>) -> StoredPosition {
    let range = FeedRange { min: min.to_owned(), max: max.to_owned() };
    StoredPosition {
        sink: sink.to_owned(),
        position: Position { range, etag: etag.map(str::to_owned) },
    }
}

#[tokio::test]
async fn positions_survive_a_restart_and_a_split_replaces_only_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let source = source("rid", Mode::LatestVersion);
    {
        let state = SqliteState::open(&path).unwrap();
        assert_eq!(state.open("p", &source).await.unwrap(), []);
        let plan = [stored("a", "", "7F", None), stored("a", "7F", "FF", None)];
        state.replace("p", &FeedRange::whole(), &plan).await.unwrap();
        state.checkpoint("p", &stored("a", "", "7F", Some("\"3\""))).await.unwrap();
        let children = [stored("a", "7F", "BF", Some("\"9\"")), stored("a", "BF", "FF", None)];
        let parent = FeedRange { min: "7F".to_owned(), max: "FF".to_owned() };
        state.replace("p", &parent, &children).await.unwrap();
    }
    let state = SqliteState::open(&path).unwrap();
    let expected = [
        stored("a", "", "7F", Some("\"3\"")),
        stored("a", "7F", "BF", Some("\"9\"")),
        stored("a", "BF", "FF", None),
    ];
    assert_eq!(state.open("p", &source).await.unwrap(), expected);
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

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let first = SqliteState::open(&path).unwrap();
    assert!(matches!(SqliteState::open(&path), Err(StateError::Busy { .. })));
    drop(first);
    SqliteState::open(&path).unwrap();
}

#[tokio::test]
async fn a_dead_letter_that_comes_again_is_kept_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&folder.path().join("bridge.db")).unwrap();
    let letter = DeadLetter {
        pipeline: "p".to_owned(),
        sink: "a".to_owned(),
        stage: Stage::Route,
        cause: "field /tenant is missing".to_owned(),
        source: "source/shop/orders".to_owned(),
        source_id: "1".to_owned(),
        source_key: "[\"1\"]".to_owned(),
        lsn: Some(4),
        nth: 0,
        target: "1".to_owned(),
        committed_at: Some(1_700_000_000),
        operation: "upsert",
        document: Some("{\"id\":\"1\"}".to_owned()),
    };
    // Later, again in the same transaction, and by another route to the same sink.
    let later = DeadLetter { lsn: Some(5), ..letter.clone() };
    let again = DeadLetter { nth: 1, ..letter.clone() };
    let other = DeadLetter { target: "2".to_owned(), ..letter.clone() };
    state.bury(vec![letter.clone(), later, again, other]).await.unwrap();
    state.bury(vec![letter]).await.unwrap();
    assert_eq!(state.dead_letters("p").await.unwrap(), 4);
    assert_eq!(state.dead_letters("q").await.unwrap(), 0);
}
