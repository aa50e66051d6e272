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
