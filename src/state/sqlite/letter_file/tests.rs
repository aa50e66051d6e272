use std::path::Path;

use rusqlite::Connection;

use super::{BYTES, LetterFile, ROWS};
use crate::state::{LetterFilter, SqliteState};

/// A state file with letters 1 to `letters`, whose documents have `bytes` and every third of which is of sink
/// `b`.
fn filled(path: &Path, letters: u32, bytes: usize) -> SqliteState {
    let state = SqliteState::open(path).unwrap();
    let writer = Connection::open(path).unwrap();
    writer
        .execute(
            "WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n WHERE x < ?1)
             INSERT INTO dead_letters (pipeline, sink, stage, cause, source, source_id, source_key,
               range_min, lsn, nth, target, operation, document)
             SELECT 'p', iif(x % 3 = 0, 'b', 'a'), 'route', 'c', 's', x, '[]', '', x, 0, '', 'upsert',
               replace(hex(zeroblob(?2 / 2)), '0', 'x') FROM n",
            (letters, i64::try_from(bytes).unwrap()),
        )
        .unwrap();
    state
}

fn numbers(path: &Path, filter: &LetterFilter) -> Vec<i64> {
    let mut numbers = Vec::new();
    let each = |stored: crate::state::StoredLetter| {
        numbers.push(stored.number);
        Ok(())
    };
    LetterFile::open(path).unwrap().each(filter, true, each).unwrap();
    numbers
}

/// True if no reader keeps the log from being reused.
fn is_free(writer: &Connection) -> bool {
    let busy = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    busy == Ok(0)
}

#[test]
fn no_transaction_is_open_while_letters_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let _state = filled(&path, 2 * ROWS + 500, 10);
    let writer = Connection::open(&path).unwrap();
    writer.busy_timeout(std::time::Duration::ZERO).unwrap();
    let mut given = 0;
    let each = |_| {
        given += 1;
        // Something new in the log, as from a running bridge.
        if given % 500 == 1 {
            writer.execute("UPDATE dead_letters SET cause = ?1 WHERE id = 1", [given]).unwrap();
            assert!(is_free(&writer), "at letter {given}");
        }
        Ok(())
    };
    LetterFile::open(&path).unwrap().each(&LetterFilter::default(), true, each).unwrap();
    assert_eq!(given, 2 * ROWS + 500);
}

#[test]
fn letters_of_many_steps_are_each_given_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let _state = filled(&path, 2 * ROWS + 500, 10);
    // A gap that is longer than a step.
    let rows = i64::from(ROWS);
    let writer = Connection::open(&path).unwrap();
    writer.execute("DELETE FROM dead_letters WHERE id BETWEEN 11 AND ?1", [rows + 20]).unwrap();
    let all: Vec<i64> = (1..=10).chain(rows + 21..=2 * rows + 500).collect();
    let of_b: Vec<i64> = all.iter().copied().filter(|number| number % 3 == 0).collect();
    let any = LetterFilter::default();
    let sink = Some("b".to_owned());
    let in_b = LetterFilter { sink, ..any.clone() };
    let limit = |limit| LetterFilter { limit: Some(limit), ..in_b.clone() };
    for (filter, expected) in [
        (any.clone(), all.as_slice()),
        (in_b.clone(), &of_b),
        (limit(0), &[]),
        (limit(2), &of_b[..2]),
        (limit(400), &of_b[..400]),
        (limit(5000), &of_b),
        (LetterFilter { number: Some(rows + 30), ..any.clone() }, &[rows + 30]),
        (LetterFilter { number: Some(12), ..any.clone() }, &[]),
        (LetterFilter { number: Some(i64::MAX), ..any.clone() }, &[]),
        (LetterFilter { after: Some(rows + 21), up_to: Some(rows + 23), ..any }, &all[11..13]),
    ] {
        assert_eq!(numbers(&path, &filter), expected, "{filter:?}");
        let file = LetterFile::open(&path).unwrap();
        assert_eq!(file.count(&filter).unwrap(), expected.len() as u64, "{filter:?}");
        let causes = file.causes(&filter).unwrap();
        let letters: u64 = causes.iter().map(|cause| cause.letters).sum();
        assert_eq!(letters, expected.len() as u64, "{filter:?}");
        assert!(causes.len() <= 2, "{causes:?}");
    }
}

#[test]
fn large_letters_are_read_few_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let _state = filled(&path, 9, BYTES / 3);
    assert_eq!(numbers(&path, &LetterFilter::default()), (1..=9).collect::<Vec<_>>());
}

#[test]
fn letters_that_are_stored_meanwhile_are_not_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let _state = filled(&path, 3, 10);
    let writer = Connection::open(&path).unwrap();
    let mut given = 0;
    let each = |_| {
        given += 1;
        let more =
            "INSERT INTO dead_letters (pipeline, sink, stage, cause, source, source_id, source_key,
                      range_min, lsn, nth, target, operation)
                    SELECT pipeline, sink, stage, cause, source, source_id, source_key, range_min,
                      max(lsn) + 1, nth, target, operation FROM dead_letters";
        writer.execute(more, []).unwrap();
        Ok(())
    };
    LetterFile::open(&path).unwrap().each(&LetterFilter::default(), true, each).unwrap();
    assert_eq!(given, 3);
}
