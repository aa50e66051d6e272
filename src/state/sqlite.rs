//! State in one SQLite file.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{StateError, StateStore};
use crate::model::{DeadLetter, FeedRange, Mode, Position, SourceIdentity, Stage, StoredPosition};

/// Raised with every change of `schema.sql`.
const VERSION: i64 = 1;

/// The embedded state: one file, its write-ahead log, and a lock beside it.
pub struct SqliteState {
    file: String,
    connection: Arc<Mutex<Connection>>,
    /// Held until the process ends, whatever way it ends.
    _lock: Option<File>,
}

impl SqliteState {
    /// Opens or creates the file.
    ///
    /// # Errors
    ///
    /// It cannot be opened, is not ours, or another process uses it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let file = path.display().to_string();
        let unusable = |source: Box<dyn std::error::Error + Send + Sync>| StateError::File {
            file: file.clone(),
            source,
        };
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock = File::create(&lock_path).map_err(|error| unusable(error.into()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Busy { file }),
            Err(TryLockError::Error(error)) => return Err(unusable(error.into())),
        }
        let mut connection = Connection::open(path).map_err(|error| unusable(error.into()))?;
        let version = prepare(&mut connection).map_err(|error| unusable(error.into()))?;
        if version > VERSION {
            return Err(StateError::Newer { file, version });
        }
        Ok(Self { file, connection: Arc::new(Mutex::new(connection)), _lock: Some(lock) })
    }

    /// State that is gone with the process, for checks that must leave nothing behind.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn in_memory() -> Result<Self, StateError> {
        let file = "(memory)".to_owned();
        let opened = Connection::open_in_memory().and_then(|mut connection| {
            prepare(&mut connection)?;
            Ok(connection)
        });
        match opened {
            Ok(connection) => {
                Ok(Self { file, connection: Arc::new(Mutex::new(connection)), _lock: None })
            }
            Err(error) => Err(StateError::File { file, source: error.into() }),
        }
    }

    /// Runs one transaction off the runtime's threads: it ends with a wait for the disk.
    async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StateError> {
        let connection = Arc::clone(&self.connection);
        let done = tokio::task::spawn_blocking(move || {
            let mut connection = connection.lock();
            let transaction = connection.transaction()?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok::<T, rusqlite::Error>(result)
        });
        let unusable = |source| StateError::File { file: self.file.clone(), source };
        match done.await {
            Ok(result) => result.map_err(|error| unusable(error.into())),
            Err(stopped) => Err(unusable(stopped.into())),
        }
    }
}

/// Sets the file up if it is new; returns its version.
fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    // Write-ahead log: readers are not in the way. Full: a commit survives the loss of power.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        let transaction = connection.transaction()?;
        transaction.execute_batch(include_str!("schema.sql"))?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
        return Ok(VERSION);
    }
    Ok(version)
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::LatestVersion => "latest-version",
        Mode::AllVersionsAndDeletes => "all-versions-and-deletes",
    }
}

#[async_trait]
impl StateStore for SqliteState {
    async fn open(
        &self,
        pipeline: &str,
        source: &SourceIdentity,
    ) -> Result<Vec<StoredPosition>, StateError> {
        let (name, wanted) = (pipeline.to_owned(), source.clone());
        let (stored, slices) = self
            .transact(move |transaction| {
                let stored = transaction
                    .query_row(
                        "SELECT container, rid, mode FROM pipelines WHERE name = ?1",
                        [&name],
                        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                    )
                    .optional()?;
                if stored.is_none() {
                    transaction.execute(
                        "INSERT INTO pipelines (name, container, rid, mode) VALUES (?1,?2,?3,?4)",
                        params![name, wanted.container, wanted.rid, mode_name(wanted.mode)],
                    )?;
                }
                let mut query = transaction.prepare(
                    "SELECT sink, range_min, range_max, etag FROM positions
                     WHERE pipeline = ?1 ORDER BY range_min",
                )?;
                let slices = query.query_map([&name], |row| {
                    let range = FeedRange { min: row.get(1)?, max: row.get(2)? };
                    Ok(StoredPosition {
                        sink: row.get(0)?,
                        position: Position { range, etag: row.get(3)? },
                    })
                })?;
                let slices = slices.collect::<rusqlite::Result<Vec<_>>>()?;
                Ok::<(Option<(String, String, String)>, _), _>((stored, slices))
            })
            .await?;
        let Some((container, rid, mode)) = stored else { return Ok(slices) };
        let pipeline = pipeline.to_owned();
        if (container.as_str(), mode.as_str()) != (&source.container, mode_name(source.mode)) {
            let stored = format!("`{container}` in mode {mode}");
            let configured = format!("`{}` in mode {}", source.container, mode_name(source.mode));
            return Err(StateError::OtherSource { pipeline, stored, configured });
        }
        if rid != source.rid {
            return Err(StateError::Recreated { pipeline, container });
        }
        Ok(slices)
    }

    async fn replace(
        &self,
        pipeline: &str,
        range: &FeedRange,
        slices: &[StoredPosition],
    ) -> Result<(), StateError> {
        let (pipeline, range, slices) = (pipeline.to_owned(), range.clone(), slices.to_vec());
        self.transact(move |transaction| {
            let mut delete = transaction.prepare(
                "DELETE FROM positions WHERE pipeline = ?1 AND sink = ?2
                   AND range_min >= ?3 AND range_max <= ?4",
            )?;
            for stored in &slices {
                delete.execute(params![pipeline, stored.sink, range.min, range.max])?;
            }
            drop(delete);
            slices.iter().try_for_each(|stored| write(transaction, &pipeline, stored))
        })
        .await
    }

    async fn checkpoint(&self, pipeline: &str, stored: &StoredPosition) -> Result<(), StateError> {
        let (pipeline, stored) = (pipeline.to_owned(), stored.clone());
        self.transact(move |transaction| write(transaction, &pipeline, &stored)).await
    }

    async fn bury(&self, letters: Vec<DeadLetter>) -> Result<(), StateError> {
        self.transact(move |transaction| {
            letters.iter().try_for_each(|letter| bury(transaction, letter))
        })
        .await
    }

    async fn dead_letters(&self, pipeline: &str) -> Result<u64, StateError> {
        let pipeline = pipeline.to_owned();
        self.transact(move |transaction| {
            transaction.query_row(
                "SELECT count(*) FROM dead_letters WHERE pipeline = ?1",
                [pipeline],
                |row| row.get::<_, i64>(0),
            )
        })
        .await
        .map(|count| u64::try_from(count).unwrap_or(0))
    }
}

fn write(
    transaction: &Transaction<'_>,
    pipeline: &str,
    stored: &StoredPosition,
) -> rusqlite::Result<()> {
    let StoredPosition { sink, position: Position { range, etag } } = stored;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO positions (pipeline, sink, range_min, range_max, etag)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![pipeline, sink, range.min, range.max, etag])?;
    Ok(())
}

fn bury(transaction: &Transaction<'_>, letter: &DeadLetter) -> rusqlite::Result<()> {
    let stage = match letter.stage {
        Stage::Read => "read",
        Stage::Route => "route",
        Stage::Sink => "sink",
    };
    transaction
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

#[cfg(test)]
mod tests;
