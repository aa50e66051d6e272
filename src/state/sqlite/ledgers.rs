//! The conservation ledger in SQLite.

use std::path::Path;

use rusqlite::{Connection, params};

use super::targets::open_to_read;
use super::{SqliteState, schema};
use crate::model::{FeedRange, Ledger, LedgerEntry};
use crate::state::error::StateError;

/// The ledgers of pipelines, with their names, in a file that may be in use: it is only read.
///
/// # Errors
///
/// There is no file, it is not ours, or its version is not that of this program.
pub fn stored_ledgers(
    path: &Path,
    pipelines: &[&str],
) -> Result<Vec<(String, LedgerEntry)>, StateError> {
    let file = path.display().to_string();
    if !path.exists() {
        return Err(StateError::None { file });
    }
    let unusable =
        |error: rusqlite::Error| StateError::File { file: file.clone(), source: error.into() };
    let connection = open_to_read(path).map_err(unusable)?;
    let version = schema::version(&connection).map_err(unusable)?;
    match version.cmp(&schema::newest()) {
        std::cmp::Ordering::Less => return Err(StateError::Older { file, version }),
        std::cmp::Ordering::Equal => {}
        std::cmp::Ordering::Greater => return Err(StateError::Newer { file, version }),
    }
    let mut found = Vec::new();
    for pipeline in pipelines {
        let entries = all(&connection, pipeline).map_err(unusable)?;
        found.extend(entries.into_iter().map(|entry| ((*pipeline).to_owned(), entry)));
    }
    Ok(found)
}

impl SqliteState {
    /// Takes what is missing in the ledgers of these sinks for read that never was: the operator has dealt with
    /// it. Returns how many changes were missing.
    pub async fn accept_missing(
        &self,
        pipelines: Vec<String>,
        sinks: Vec<String>,
    ) -> Result<i64, StateError> {
        self.transact(move |connection| {
            let mut missing = 0;
            for pipeline in &pipelines {
                let entries = all(connection, pipeline)?;
                for entry in entries.iter().filter(|entry| sinks.contains(&entry.sink)) {
                    let open = entry.ledger.open();
                    missing += open;
                    connection.execute(
                        "UPDATE ledgers SET read = read - ?1 WHERE pipeline = ?2 AND sink = ?3
                           AND range_min = ?4 AND range_max = ?5",
                        params![open, pipeline, entry.sink, entry.range.min, entry.range.max],
                    )?;
                }
            }
            Ok(missing)
        })
        .await
    }
}

/// Those of a pipeline, in the order of sinks and ranges.
pub(super) fn all(connection: &Connection, pipeline: &str) -> rusqlite::Result<Vec<LedgerEntry>> {
    let mut query = connection.prepare(
        "SELECT sink, range_min, range_max, read, filtered, delivered, superseded, dead_letters FROM ledgers
         WHERE pipeline = ?1 ORDER BY sink, range_min",
    )?;
    let rows = query.query_map([pipeline], |row| {
        let count =
            |at: usize| row.get::<_, i64>(at).map(|count| u64::try_from(count).unwrap_or(0));
        let ledger = Ledger {
            read: count(3)?,
            filtered: count(4)?,
            delivered: count(5)?,
            superseded: count(6)?,
            dead_letters: count(7)?,
        };
        let range = FeedRange { min: row.get(1)?, max: row.get(2)? };
        Ok(LedgerEntry { sink: row.get(0)?, range, ledger })
    })?;
    rows.collect()
}

/// Adds to what is stored.
pub(super) fn add(
    connection: &Connection,
    pipeline: &str,
    entry: &LedgerEntry,
) -> rusqlite::Result<()> {
    let LedgerEntry { sink, range, ledger } = entry;
    if *ledger == Ledger::default() {
        return Ok(());
    }
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT INTO ledgers (pipeline, sink, range_min, range_max,
               read, filtered, delivered, superseded, dead_letters)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT DO UPDATE SET read = read + excluded.read,
               filtered = filtered + excluded.filtered, delivered = delivered + excluded.delivered,
               superseded = superseded + excluded.superseded,
               dead_letters = dead_letters + excluded.dead_letters",
        )?
        .execute(params![
            pipeline,
            sink,
            range.min,
            range.max,
            count(ledger.read),
            count(ledger.filtered),
            count(ledger.delivered),
            count(ledger.superseded),
            count(ledger.dead_letters),
        ])?;
    Ok(())
}

/// Sums up, under the past, the ledgers of a sink in ranges that do not exist any more.
pub(super) fn close(
    connection: &Connection,
    pipeline: &str,
    sink: &str,
    has_ended: impl Fn(&FeedRange) -> bool,
) -> rusqlite::Result<()> {
    let past = LedgerEntry::past();
    for entry in all(connection, pipeline)? {
        if entry.sink != sink || entry.range == past || !has_ended(&entry.range) {
            continue;
        }
        let FeedRange { min, max } = &entry.range;
        connection
            .prepare_cached(
                "DELETE FROM ledgers
                 WHERE pipeline = ?1 AND sink = ?2 AND range_min = ?3 AND range_max = ?4",
            )?
            .execute(params![pipeline, sink, min, max])?;
        add(connection, pipeline, &LedgerEntry { range: past.clone(), ..entry })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{FeedRange, Ledger, LedgerEntry, SqliteState};
    use crate::model::{Mode, Position, SourceIdentity, StoredPosition};
    use crate::state::{PositionStore, PositionWrite};

    fn range(min: &str, max: &str) -> FeedRange {
        FeedRange { min: min.to_owned(), max: max.to_owned() }
    }

    fn at(range: FeedRange, etag: &str) -> StoredPosition {
        let position = Position::of(range, Some(etag.to_owned()));
        StoredPosition { sink: "a".to_owned(), position }
    }

    fn entry(range: FeedRange, read: u64, delivered: u64) -> LedgerEntry {
        let ledger = Ledger { read, delivered, ..Ledger::default() };
        LedgerEntry { sink: "a".to_owned(), range, ledger }
    }

    #[tokio::test]
    async fn a_ledger_is_added_once_for_each_position_and_outlives_its_range() {
        let state = SqliteState::in_memory().unwrap();
        let source = SourceIdentity {
            container: "s/d/c".to_owned(),
            rid: "r".to_owned(),
            mode: Mode::LatestVersion,
        };
        state.open("p", &source).await.unwrap();
        let (whole, low, high) = (FeedRange::whole(), range("", "7F"), range("7F", "FF"));
        let stored = state.plan("p", &[], &[at(whole.clone(), "1")]).await.unwrap();
        assert_eq!(stored, PositionWrite::Stored);
        let more = [entry(whole.clone(), 5, 5)];
        // The second is a write that is repeated, because its answer was lost.
        for etag in ["2", "2", "3"] {
            let written = state.advance("p", &[at(whole.clone(), etag)], &more).await.unwrap();
            assert_eq!(written, PositionWrite::Stored);
        }
        assert_eq!(state.ledgers("p").await.unwrap(), [entry(whole.clone(), 10, 10)]);
        // A position that is rejected adds nothing.
        let lost = state.advance("p", &[at(whole.clone(), "1")], &more).await.unwrap();
        assert!(matches!(lost, PositionWrite::Lost(_)));
        let parts = [at(low.clone(), "4"), at(high.clone(), "4")];
        let divided = state.divide("p", &whole, &parts, &[entry(whole.clone(), 2, 1)]).await;
        assert_eq!(divided.unwrap(), PositionWrite::Stored);
        assert_eq!(state.ledgers("p").await.unwrap(), [entry(LedgerEntry::past(), 12, 11)]);
        let written =
            state.advance("p", &[at(low.clone(), "5")], &[entry(low.clone(), 1, 1)]).await;
        assert_eq!(written.unwrap(), PositionWrite::Stored);
        // Another division at a start.
        let (planned, read) = ([at(whole, "4")], [at(low, "5"), at(high, "4")]);
        assert_eq!(state.plan("p", &read, &planned).await.unwrap(), PositionWrite::Stored);
        assert_eq!(state.ledgers("p").await.unwrap(), [entry(LedgerEntry::past(), 13, 12)]);
        assert!(state.ledgers("other").await.unwrap().is_empty());

        let sinks = |name: &str| vec![name.to_owned()];
        assert_eq!(state.accept_missing(sinks("p"), sinks("b")).await.unwrap(), 0);
        assert_eq!(state.accept_missing(sinks("p"), sinks("a")).await.unwrap(), 1);
        assert_eq!(state.ledgers("p").await.unwrap(), [entry(LedgerEntry::past(), 12, 12)]);
        assert_eq!(state.accept_missing(sinks("p"), sinks("a")).await.unwrap(), 0);
    }
}
