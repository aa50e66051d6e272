//! Dead letters in SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::SqliteState;
use crate::model::{DeadLetter, Stage};
use crate::state::dead_letters::DeadLetterStore;
use crate::state::error::StateError;

#[async_trait]
impl DeadLetterStore for SqliteState {
    async fn store_dead_letters(&self, letters: Arc<[DeadLetter]>) -> Result<(), StateError> {
        self.transact(move |connection| {
            letters.iter().try_for_each(|letter| insert(connection, letter))
        })
        .await
    }

    async fn count_dead_letters(&self, pipeline: &str) -> Result<u64, StateError> {
        let pipeline = pipeline.to_owned();
        self.transact(move |connection| {
            connection.query_row(
                "SELECT count(*) FROM dead_letters WHERE pipeline = ?1",
                [pipeline],
                |row| row.get::<_, i64>(0),
            )
        })
        .await
        .map(|count| u64::try_from(count).unwrap_or(0))
    }
}

fn insert(connection: &Connection, letter: &DeadLetter) -> rusqlite::Result<()> {
    let stage = match letter.stage {
        Stage::Read => "read",
        Stage::Route => "route",
        Stage::Sink => "sink",
    };
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO dead_letters (pipeline, sink, stage, cause, source, source_id,
               source_key, lsn, nth, target, committed_at, operation, document)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            letter.pipeline,
            letter.sink,
            stage,
            letter.cause,
            letter.source,
            letter.source_id,
            letter.source_key,
            letter.lsn.unwrap_or(0),
            letter.nth,
            letter.target,
            letter.committed_at,
            letter.operation,
            letter.document,
        ])?;
    Ok(())
}
