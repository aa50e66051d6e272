//! Dead letters in SQLite: stored by the pipelines, read and removed by commands.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteState;
use super::letter_queries::{self, number, remove};
use crate::model::{DeadLetter, Label};
use crate::state::dead_letters::{DeadLetterStore, LetterFilter, StoredLetter};
use crate::state::error::StateError;

#[async_trait]
impl DeadLetterStore for SqliteState {
    async fn store_dead_letters(
        &self,
        letters: Arc<[DeadLetter]>,
    ) -> Result<Vec<bool>, StateError> {
        self.transact(move |connection| {
            letters.iter().map(|letter| insert(connection, letter)).collect()
        })
        .await
    }

    async fn count_dead_letters(
        &self,
        pipeline: &str,
    ) -> Result<BTreeMap<String, u64>, StateError> {
        let pipeline = pipeline.to_owned();
        self.transact(move |connection| {
            let mut counts = connection.prepare_cached(
                "SELECT sink, count(*) FROM dead_letters WHERE pipeline = ?1 GROUP BY sink",
            )?;
            let rows = counts.query_map([pipeline], |row| Ok((row.get(0)?, number(row, 1)?)))?;
            rows.collect()
        })
        .await
    }
}

/// For commands that change the file; those that only read open it without its lock.
impl SqliteState {
    /// The numbers of letters in feed order: log sequence numbers mean something only within one
    /// physical partition, but all changes of a document are in one.
    pub async fn letters_in_feed_order(
        &self,
        filter: &LetterFilter,
    ) -> Result<Vec<i64>, StateError> {
        let filter = filter.clone();
        self.transact(move |connection| letter_queries::in_feed_order(connection, &filter)).await
    }

    /// The letters with these numbers, in this order, until they hold about a number of bytes. Returns how many
    /// of the numbers were looked up, too.
    pub async fn letters(
        &self,
        numbers: Vec<i64>,
        bytes: usize,
    ) -> Result<(usize, Vec<StoredLetter>), StateError> {
        self.transact(move |connection| letter_queries::some(connection, &numbers, bytes)).await
    }

    /// Removes letters; returns how many there were.
    pub async fn remove_letters(&self, numbers: Vec<i64>) -> Result<u64, StateError> {
        self.transact(move |connection| remove(connection, &numbers)).await
    }
}

/// Stores one letter; returns whether it is new.
fn insert(connection: &Connection, letter: &DeadLetter) -> rusqlite::Result<bool> {
    // Numbers are never used again: a new letter has a larger one than any before.
    let last: Option<i64> = connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'dead_letters'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let number: i64 = connection
        .prepare_cached(
            "INSERT INTO dead_letters (pipeline, sink, stage, cause, source, source_id,
               source_key, range_min, lsn, nth, target, committed_at, operation, document, previous,
               unparsed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
             ON CONFLICT DO UPDATE SET cause = excluded.cause, document = excluded.document,
               previous = excluded.previous, unparsed = excluded.unparsed, committed_at = excluded.committed_at,
               buried_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now')
             RETURNING id",
        )?
        .query_row(
            params![
                letter.pipeline,
                letter.sink,
                letter.stage.name(),
                letter.cause,
                letter.source,
                letter.source_id,
                letter.source_key,
                letter.range_min,
                letter.lsn.unwrap_or(0),
                letter.nth,
                letter.target,
                letter.committed_at,
                letter.operation,
                letter.document,
                letter.previous,
                letter.unparsed,
            ],
            |row| row.get(0),
        )?;
    Ok(last.is_none_or(|last| number > last))
}

#[cfg(test)]
mod tests;
