//! Positions in SQLite.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params};

use super::{SqliteState, ledgers};
use crate::model::{FeedRange, LedgerEntry, Mode, Position, SourceIdentity, StoredPosition};
use crate::state::error::StateError;
use crate::state::positions::{
    Conflict, PositionStore, PositionWrite, StoredPipeline, StoredSweep, advance_conflict,
    divide_conflict,
};

#[async_trait]
impl PositionStore for SqliteState {
    async fn open(
        &self,
        pipeline: &str,
        source: &SourceIdentity,
    ) -> Result<StoredPipeline, StateError> {
        let (name, wanted) = (pipeline.to_owned(), source.clone());
        let (stored, opened) = self
            .transact(move |connection| {
                let stored = identity(connection, &name)?;
                let is_new = stored.is_none();
                if is_new {
                    connection.execute(
                        "INSERT INTO pipelines (name, container, rid, mode) VALUES (?1,?2,?3,?4)",
                        params![name, wanted.container, wanted.rid, mode_name(wanted.mode)],
                    )?;
                }
                let first_start = first_start(connection, &name)?;
                let positions = all(connection, &name)?;
                let current_at = current_at(connection, &name)?;
                Ok((stored, StoredPipeline { positions, first_start, is_new, current_at }))
            })
            .await?;
        let Some((container, rid, mode)) = stored else { return Ok(opened) };
        let pipeline = pipeline.to_owned();
        if (container.as_str(), mode.as_str()) != (&source.container, mode_name(source.mode)) {
            let stored = format!("`{container}` in mode {mode}");
            let configured = format!("`{}` in mode {}", source.container, mode_name(source.mode));
            return Err(StateError::OtherSource { pipeline, stored, configured });
        }
        if rid != source.rid {
            return Err(StateError::Recreated { pipeline, container });
        }
        Ok(opened)
    }

    async fn plan(
        &self,
        pipeline: &str,
        read: &[StoredPosition],
        planned: &[StoredPosition],
    ) -> Result<PositionWrite, StateError> {
        let (pipeline, read, planned) = (pipeline.to_owned(), read.to_vec(), planned.to_vec());
        self.transact(move |connection| {
            let is_planned = |row: &&StoredPosition| planned.iter().any(|p| p.sink == row.sink);
            let stored = all(connection, &pipeline)?;
            let count = |rows: &[StoredPosition]| rows.iter().filter(is_planned).count();
            let is_read = stored.iter().filter(is_planned).all(|row| read.contains(row));
            if !is_read || count(&stored) != count(&read) {
                return Ok(PositionWrite::Lost(Conflict::Replanned));
            }
            for (at, row) in planned.iter().enumerate() {
                if planned[..at].iter().any(|earlier| earlier.sink == row.sink) {
                    continue;
                }
                let is_read = |range: &FeedRange| {
                    planned.iter().any(|p| p.sink == row.sink && p.position.range == *range)
                };
                ledgers::close(connection, &pipeline, &row.sink, |range| !is_read(range))?;
            }
            replace(connection, &pipeline, &FeedRange::whole(), &planned)
        })
        .await
    }

    async fn advance(
        &self,
        pipeline: &str,
        positions: &[StoredPosition],
        ledgers: &[LedgerEntry],
    ) -> Result<PositionWrite, StateError> {
        let (pipeline, positions) = (pipeline.to_owned(), positions.to_vec());
        let mut ledgers = ledgers.to_vec();
        self.transact(move |connection| {
            for new in &positions {
                let range = &new.position.range;
                let stored = position(connection, &pipeline, &new.sink, range)?;
                if let Some(conflict) = advance_conflict(stored.as_ref(), new) {
                    return Ok(PositionWrite::Lost(conflict));
                }
                if stored.as_ref() == Some(&new.position) {
                    ledgers.retain(|entry| entry.sink != new.sink || entry.range != *range);
                }
            }
            ledgers.iter().try_for_each(|entry| ledgers::add(connection, &pipeline, entry))?;
            positions.iter().try_for_each(|new| write(connection, &pipeline, new))?;
            Ok(PositionWrite::Stored)
        })
        .await
    }

    async fn divide(
        &self,
        pipeline: &str,
        range: &FeedRange,
        parts: &[StoredPosition],
        ledgers: &[LedgerEntry],
    ) -> Result<PositionWrite, StateError> {
        let (pipeline, range, parts) = (pipeline.to_owned(), range.clone(), parts.to_vec());
        let ledgers = ledgers.to_vec();
        self.transact(move |connection| {
            for part in &parts {
                let stored = position(connection, &pipeline, &part.sink, &range)?;
                if let Some(conflict) = divide_conflict(&range, stored.as_ref(), part) {
                    return Ok(PositionWrite::Lost(conflict));
                }
            }
            ledgers.iter().try_for_each(|entry| ledgers::add(connection, &pipeline, entry))?;
            for (at, part) in parts.iter().enumerate() {
                if !parts[..at].iter().any(|earlier| earlier.sink == part.sink) {
                    ledgers::close(connection, &pipeline, &part.sink, |ended| *ended == range)?;
                }
            }
            replace(connection, &pipeline, &range, &parts)
        })
        .await
    }

    async fn ledgers(&self, pipeline: &str) -> Result<Vec<LedgerEntry>, StateError> {
        let pipeline = pipeline.to_owned();
        self.transact(move |connection| ledgers::all(connection, &pipeline)).await
    }

    async fn store_current(
        &self,
        pipeline: &str,
        current_at: &BTreeMap<String, i64>,
    ) -> Result<(), StateError> {
        let (pipeline, current_at) = (pipeline.to_owned(), current_at.clone());
        self.transact(move |connection| {
            let mut write = connection.prepare_cached(
                "INSERT OR REPLACE INTO history (pipeline, sink, current_at) VALUES (?1, ?2, ?3)",
            )?;
            for (sink, at) in &current_at {
                write.execute(params![pipeline, sink, at])?;
            }
            Ok(())
        })
        .await
    }

    async fn resync(
        &self,
        pipeline: &str,
        range: &FeedRange,
        positions: &[StoredPosition],
    ) -> Result<PositionWrite, StateError> {
        let (pipeline, range, new) = (pipeline.to_owned(), range.clone(), positions.to_vec());
        self.transact(move |connection| {
            let mut lost = BTreeSet::new();
            for row in &new {
                let Some(before) = position(connection, &pipeline, &row.sink, &range)? else {
                    let sink = row.sink.clone();
                    return Ok(PositionWrite::Lost(Conflict::Replaced {
                        sink,
                        range: range.clone(),
                    }));
                };
                let is_kept = before.etag == row.position.etag
                    && before.stream_from == row.position.stream_from;
                if !is_kept {
                    lost.insert(row.sink.as_str());
                }
            }
            for sink in lost {
                connection.execute(
                    "INSERT INTO sweeps (pipeline, sink, resyncs) VALUES (?1, ?2, 1)
                     ON CONFLICT (pipeline, sink) DO UPDATE SET resyncs = resyncs + 1",
                    params![pipeline, sink],
                )?;
            }
            if new.iter().all(|row| row.position.range != range) {
                let sinks: BTreeSet<_> = new.iter().map(|row| &row.sink).collect();
                for sink in sinks {
                    ledgers::close(connection, &pipeline, sink, |ended| *ended == range)?;
                }
            }
            replace(connection, &pipeline, &range, &new)
        })
        .await
    }

    async fn sweeps(&self, pipeline: &str) -> Result<BTreeMap<String, StoredSweep>, StateError> {
        let pipeline = pipeline.to_owned();
        self.transact(move |connection| sweeps(connection, &pipeline)).await
    }

    async fn note_swept(
        &self,
        pipeline: &str,
        sink: &str,
        swept: i64,
        finished_at: i64,
    ) -> Result<(), StateError> {
        let (pipeline, sink) = (pipeline.to_owned(), sink.to_owned());
        self.transact(move |connection| {
            connection.execute(
                "INSERT INTO sweeps (pipeline, sink, swept, finished_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (pipeline, sink) DO UPDATE SET swept = ?3, finished_at = ?4",
                params![pipeline, sink, swept, finished_at],
            )?;
            Ok(())
        })
        .await
    }
}

fn sweeps(
    connection: &Connection,
    pipeline: &str,
) -> rusqlite::Result<BTreeMap<String, StoredSweep>> {
    let mut query = connection
        .prepare("SELECT sink, resyncs, swept, finished_at FROM sweeps WHERE pipeline = ?1")?;
    let rows = query.query_map([pipeline], |row| {
        let (resyncs, swept, finished_at) = (row.get(1)?, row.get(2)?, row.get(3)?);
        Ok((row.get(0)?, StoredSweep { resyncs, swept, finished_at }))
    })?;
    rows.collect()
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::LatestVersion => "latest-version",
        Mode::AllVersionsAndDeletes => "all-versions-and-deletes",
    }
}

type Identity = (String, String, String);

fn identity(connection: &Connection, pipeline: &str) -> rusqlite::Result<Option<Identity>> {
    let query = "SELECT container, rid, mode FROM pipelines WHERE name = ?1";
    let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    connection.query_row(query, [pipeline], columns).optional()
}

fn first_start(connection: &Connection, pipeline: &str) -> rusqlite::Result<Timestamp> {
    let query = "SELECT created_at FROM pipelines WHERE name = ?1";
    let text: String = connection.query_row(query, [pipeline], |row| row.get(0))?;
    text.parse().map_err(|error: jiff::Error| {
        rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into())
    })
}

/// By sink that has positions. A file of an earlier version only knows when they were stored, and while what
/// existed is read, when the pipeline first started.
fn current_at(connection: &Connection, pipeline: &str) -> rusqlite::Result<BTreeMap<String, i64>> {
    let mut query = connection.prepare(
        "SELECT p.sink, coalesce(h.current_at, CAST(strftime('%s', CASE
             WHEN count(p.stream_from) > 0 THEN (SELECT created_at FROM pipelines WHERE name = ?1)
             ELSE min(p.updated_at) END) AS INTEGER))
         FROM positions p LEFT JOIN history h ON h.pipeline = p.pipeline AND h.sink = p.sink
         WHERE p.pipeline = ?1 GROUP BY p.sink",
    )?;
    let rows = query.query_map([pipeline], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn all(connection: &Connection, pipeline: &str) -> rusqlite::Result<Vec<StoredPosition>> {
    let mut query = connection.prepare(
        "SELECT sink, range_min, range_max, etag, stream_from FROM positions
         WHERE pipeline = ?1 ORDER BY range_min",
    )?;
    let rows = query.query_map([pipeline], |row| {
        let range = FeedRange { min: row.get(1)?, max: row.get(2)? };
        let position = Position { range, etag: row.get(3)?, stream_from: row.get(4)? };
        Ok(StoredPosition { sink: row.get(0)?, position })
    })?;
    rows.collect()
}

/// The position of one sink and exactly this range; `None` if there is no such row.
fn position(
    connection: &Connection,
    pipeline: &str,
    sink: &str,
    range: &FeedRange,
) -> rusqlite::Result<Option<Position>> {
    connection
        .prepare_cached(
            "SELECT etag, stream_from FROM positions
             WHERE pipeline = ?1 AND sink = ?2 AND range_min = ?3 AND range_max = ?4",
        )?
        .query_row(params![pipeline, sink, range.min, range.max], |row| {
            Ok(Position { range: range.clone(), etag: row.get(0)?, stream_from: row.get(1)? })
        })
        .optional()
}

fn replace(
    connection: &Connection,
    pipeline: &str,
    range: &FeedRange,
    positions: &[StoredPosition],
) -> rusqlite::Result<PositionWrite> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM positions WHERE pipeline = ?1 AND sink = ?2
           AND range_min >= ?3 AND range_max <= ?4",
    )?;
    for stored in positions {
        delete.execute(params![pipeline, stored.sink, range.min, range.max])?;
    }
    positions.iter().try_for_each(|stored| write(connection, pipeline, stored))?;
    Ok(PositionWrite::Stored)
}

fn write(connection: &Connection, pipeline: &str, stored: &StoredPosition) -> rusqlite::Result<()> {
    let StoredPosition { sink, position: Position { range, etag, stream_from } } = stored;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO positions
               (pipeline, sink, range_min, range_max, etag, stream_from)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![pipeline, sink, range.min, range.max, etag, stream_from])?;
    Ok(())
}
