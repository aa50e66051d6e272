use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;

use crate::model::{DeadLetter, Mode, SourceIdentity, Stage};
use crate::state::{
    CauseCount, DeadLetterStore, LetterFile, LetterFilter, PositionStore, SqliteState, StateError,
    StoredLetter,
};

fn letter() -> DeadLetter {
    DeadLetter {
        pipeline: "p".to_owned(),
        sink: "a".to_owned(),
        stage: Stage::Route,
        cause: "field /tenant is missing".to_owned(),
        source: "source/shop/orders".to_owned(),
        source_id: "1".to_owned(),
        source_key: "[\"1\"]".to_owned(),
        range_min: String::new(),
        lsn: Some(4),
        nth: 0,
        target: "1".to_owned(),
        committed_at: Some(1_700_000_000),
        operation: "upsert",
        document: Some("{\"id\":\"1\"}".to_owned()),
        previous: None,
        unparsed: None,
    }
}

/// A place in the feed of this range that could not be read.
fn unreadable(range_min: &str) -> DeadLetter {
    DeadLetter {
        stage: Stage::Read,
        cause: format!("unreadable in {range_min}"),
        source_id: String::new(),
        source_key: "[]".to_owned(),
        range_min: range_min.to_owned(),
        lsn: Some(7),
        target: String::new(),
        committed_at: None,
        document: None,
        ..letter()
    }
}

fn all(path: &Path) -> Vec<StoredLetter> {
    some(path, &LetterFilter::default())
}

fn some(path: &Path, filter: &LetterFilter) -> Vec<StoredLetter> {
    let mut found = Vec::new();
    let file = LetterFile::open(path).unwrap();
    let each = |letter| {
        found.push(letter);
        Ok(())
    };
    file.each(filter, true, each).unwrap();
    found
}

#[tokio::test]
async fn a_dead_letter_that_comes_again_is_kept_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&folder.path().join("bridge.db")).unwrap();
    // Numbers of other tables are none of letters.
    let mode = Mode::LatestVersion;
    let container = "source/shop/orders".to_owned();
    state.open("p", &SourceIdentity { container, rid: "r".to_owned(), mode }).await.unwrap();
    let letter = letter();
    // Later, again in the same transaction, and by another route to the same sink.
    let later = DeadLetter { lsn: Some(5), ..letter.clone() };
    let again = DeadLetter { nth: 1, ..letter.clone() };
    let other = DeadLetter { target: "2".to_owned(), ..letter.clone() };
    let all = [letter, later, again, other];
    assert_eq!(state.store_dead_letters(all.clone().into()).await.unwrap(), [true; 4]);
    // The newest first: its number is the last one that was given.
    for letter in all.into_iter().rev() {
        assert_eq!(state.store_dead_letters([letter].into()).await.unwrap(), [false]);
    }
    let count = BTreeMap::from([("a".to_owned(), 4)]);
    assert_eq!(state.count_dead_letters("p").await.unwrap(), count);
    assert_eq!(state.count_dead_letters("q").await.unwrap(), BTreeMap::new());
}

#[tokio::test]
async fn places_with_one_number_in_two_ranges_are_two_letters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let state = SqliteState::open(&path).unwrap();
    for _ in 0..2 {
        let letters = ["", "7F"].map(unreadable);
        state.store_dead_letters(letters.into()).await.unwrap();
    }
    let kept = all(&path);
    let kept: Vec<_> = kept.iter().map(|kept| kept.letter.clone()).collect();
    assert_eq!(kept, ["", "7F"].map(unreadable));
}

/// A file as the first version left it.
fn first_version(path: &Path) {
    let file = Connection::open(path).unwrap();
    file.pragma_update(None, "journal_mode", "WAL").unwrap();
    file.execute_batch(include_str!("../../schema.sql")).unwrap();
    file.execute_batch(
        "INSERT INTO pipelines (name, container, rid, mode) VALUES ('p', 'a/d/c', 'r', 'm');
         INSERT INTO positions (pipeline, sink, range_min, range_max, etag)
           VALUES ('p', 'a', '', 'FF', '\"9\"');
         INSERT INTO dead_letters (id, buried_at, pipeline, sink, stage, cause, source, source_id,
             source_key, lsn, nth, target, committed_at, operation, document)
           VALUES (17, '2026-01-31T00:00:00Z', 'p', 'a', 'route', 'field /tenant is missing',
             'source/shop/orders', '1', '[\"1\"]', 4, 0, '1', 1700000000, 'upsert', '{\"id\":\"1\"}'),
           (18, '2026-01-31T00:00:01Z', 'p', 'a', 'read', 'unreadable in ',
             'source/shop/orders', '', '[]', 7, 0, '', NULL, 'upsert', NULL);
         PRAGMA user_version = 1;",
    )
    .unwrap();
}

#[tokio::test]
async fn letters_of_the_first_version_of_the_file_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    first_version(&path);
    let older = LetterFile::open(&path).err().unwrap();
    assert!(matches!(older, StateError::Older { version: 1, .. }), "{older}");
    let state = SqliteState::open(&path).unwrap();
    let kept = all(&path);
    assert_eq!(kept.iter().map(|kept| kept.number).collect::<Vec<_>>(), [17, 18]);
    assert_eq!(kept[0].stored_at, "2026-01-31T00:00:00Z");
    assert_eq!(kept[0].letter, letter());
    assert_eq!(kept[1].letter, unreadable(""));
    // Numbers go on, and the same letter is still the same.
    let added = state.store_dead_letters([letter(), unreadable("7F")].into()).await;
    assert_eq!(added.unwrap(), [false, true]);
    assert!(all(&path).last().unwrap().number > 18);
    drop(state);
    SqliteState::open(&path).unwrap();
    assert_eq!(all(&path).len(), 3);
}

#[tokio::test]
async fn a_filter_names_the_letters_for_which_all_of_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let state = SqliteState::open(&path).unwrap();
    let other = DeadLetter { sink: "b".to_owned(), lsn: Some(3), ..letter() };
    let refused = DeadLetter {
        stage: Stage::Sink,
        cause: "too large (413), 100% sure".to_owned(),
        source_id: "2".to_owned(),
        lsn: Some(2),
        ..letter()
    };
    let elsewhere = DeadLetter { pipeline: "q".to_owned(), lsn: Some(1), ..letter() };
    let letters = [letter(), other, refused, elsewhere];
    state.store_dead_letters(letters.into()).await.unwrap();
    let any = LetterFilter::default();
    let text = |text: &str| Some(text.to_owned());
    let document = Some(letter().document_hash());
    let cases: [(LetterFilter, &[i64]); 11] = [
        (any.clone(), &[1, 2, 3, 4]),
        (LetterFilter { number: Some(2), ..any.clone() }, &[2]),
        (LetterFilter { pipeline: text("p"), ..any.clone() }, &[1, 2, 3]),
        (LetterFilter { pipeline: text("p"), sink: text("a"), ..any.clone() }, &[1, 3]),
        (LetterFilter { stage: Some(Stage::Sink), ..any.clone() }, &[3]),
        (LetterFilter { id: text("1"), ..any.clone() }, &[1, 2, 4]),
        (LetterFilter { document, ..any.clone() }, &[1, 2, 4]),
        (LetterFilter { cause: text("100%"), ..any.clone() }, &[3]),
        (LetterFilter { cause: text("%"), sink: text("b"), ..any.clone() }, &[]),
        (LetterFilter { since: text("2999-01-01T00:00:00Z"), ..any.clone() }, &[]),
        (LetterFilter { limit: Some(2), sink: text("a"), ..any.clone() }, &[1, 3]),
    ];
    for (filter, expected) in cases {
        let numbers: Vec<_> = some(&path, &filter).iter().map(|kept| kept.number).collect();
        assert_eq!(numbers, expected, "{filter:?}");
        let file = LetterFile::open(&path).unwrap();
        assert_eq!(file.count(&filter).unwrap(), expected.len() as u64, "{filter:?}");
        let mut in_order = state.letters_in_feed_order(&filter).await.unwrap();
        if filter == any {
            assert_eq!(in_order, [4, 3, 2, 1]);
        }
        in_order.sort_unstable();
        assert_eq!(in_order, expected, "{filter:?}");
    }
    let causes = LetterFile::open(&path).unwrap().causes(&any).unwrap();
    let row =
        |row: &CauseCount| format!("{} {} {}: {}", row.pipeline, row.sink, row.letters, row.cause);
    let causes: Vec<_> = causes.iter().map(row).collect();
    let missing = "field /tenant is missing";
    assert_eq!(
        causes,
        [
            format!("p a 1: {missing}"),
            "p a 1: too large (413), 100% sure".to_owned(),
            format!("p b 1: {missing}"),
            format!("q a 1: {missing}"),
        ]
    );
}

#[tokio::test]
async fn a_letter_that_is_removed_is_gone_and_its_number_is_not_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let state = SqliteState::open(&path).unwrap();
    state.store_dead_letters([letter()].into()).await.unwrap();
    let (looked_up, letters) = state.letters(vec![2, 1], 1).await.unwrap();
    assert_eq!((looked_up, &letters[0].letter), (2, &letter()));
    // One letter is given, of any size.
    assert_eq!(state.letters(vec![1, 2], 1).await.unwrap(), (1, letters));
    assert_eq!(state.remove_letters(vec![1, 2]).await.unwrap(), 1);
    assert_eq!(state.letters(vec![1], 1).await.unwrap(), (1, Vec::new()));
    assert_eq!(state.store_dead_letters([letter()].into()).await.unwrap(), [true]);
    assert_eq!(all(&path)[0].number, 2);
}
