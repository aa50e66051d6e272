//! Reads dead letters while the bridge runs.
//!
//! Every query reads a few letters and ends: an open one would keep the write-ahead log from being reused, for
//! as long as the reader of its output takes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{letter_queries, schema};
use crate::model::Label;
use crate::state::dead_letters::{CauseCount, LetterFilter, StoredLetter};
use crate::state::error::StateError;

/// A checkpoint of the log takes milliseconds.
const BUSY: Duration = Duration::from_secs(5);

/// The state file, opened to be read: it is not locked, created or changed.
pub struct LetterFile {
    file: String,
    connection: Connection,
}

/// Why letters could not be given to a reader.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Output(#[from] std::io::Error),
}

/// Letters that one query looks at, and about how many bytes it returns.
const ROWS: u32 = 1000;
const BYTES: usize = 8 * 1024 * 1024;

/// What was found in a step through the letters.
struct Found {
    letters: u64,
    /// The step ended at this letter instead of its last.
    ended_at: Option<i64>,
}

impl LetterFile {
    /// # Errors
    ///
    /// There is no file, it is not ours, or its version is not that of this program.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let file = path.display().to_string();
        if !path.exists() {
            return Err(StateError::None { file });
        }
        let unusable =
            |error: rusqlite::Error| StateError::File { file: file.clone(), source: error.into() };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(&unusable)?;
        connection.busy_timeout(BUSY).map_err(&unusable)?;
        letter_queries::add_document_hash(&connection).map_err(&unusable)?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
        let version: i64 = version.map_err(&unusable)?;
        match version.cmp(&schema::newest()) {
            std::cmp::Ordering::Less => Err(StateError::Older { file, version }),
            std::cmp::Ordering::Equal => Ok(Self { file, connection }),
            std::cmp::Ordering::Greater => Err(StateError::Newer { file, version }),
        }
    }

    /// Gives each letter to `each`, in the order in which they were stored. Without documents, `document`
    /// and `previous` are `None`. Letters that are stored after the call are not among them.
    pub fn each(
        &self,
        filter: &LetterFilter,
        with_documents: bool,
        mut each: impl FnMut(StoredLetter) -> std::io::Result<()>,
    ) -> Result<(), LetterError> {
        self.in_steps(filter, |step| {
            let found = letter_queries::first(&self.connection, step, with_documents, BYTES);
            let (letters, is_cut) = found.map_err(|error| self.unusable(error))?;
            let ended_at = letters.last().map(|last| last.number).filter(|_| is_cut);
            let found = Found { letters: letters.len() as u64, ended_at };
            letters.into_iter().try_for_each(&mut each)?;
            Ok(found)
        })
    }

    /// How many letters have which cause; most letters first.
    pub fn causes(&self, filter: &LetterFilter) -> Result<Vec<CauseCount>, StateError> {
        let mut counts = BTreeMap::new();
        self.in_steps(filter, |step| {
            let found = letter_queries::causes(&self.connection, step);
            let mut letters = 0;
            for row in found.map_err(|error| self.unusable(error))? {
                letters += row.letters;
                let cause = (row.pipeline, row.sink, row.stage.name(), row.cause);
                let (_, count, last) = counts.entry(cause).or_insert((row.stage, 0, String::new()));
                *count += row.letters;
                *last = row.last.max(std::mem::take(last));
            }
            Ok::<_, StateError>(Found { letters, ended_at: None })
        })?;
        let rows =
            counts.into_iter().map(|((pipeline, sink, _, cause), (stage, letters, last))| {
                CauseCount { pipeline, sink, stage, cause, letters, last }
            });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|row| Reverse(row.letters));
        Ok(rows)
    }

    pub fn count(&self, filter: &LetterFilter) -> Result<u64, StateError> {
        let mut letters = 0;
        self.in_steps(filter, |step| {
            let found = letter_queries::count(&self.connection, step);
            let found = found.map_err(|error| self.unusable(error))?;
            letters += found;
            Ok::<_, StateError>(Found { letters: found, ended_at: None })
        })?;
        Ok(letters)
    }

    /// Calls `look` with filters that are each for a few letters, in the order in which they were stored, up
    /// to the last one that is stored now.
    fn in_steps<E: From<StateError>>(
        &self,
        filter: &LetterFilter,
        mut look: impl FnMut(&LetterFilter) -> Result<Found, E>,
    ) -> Result<(), E> {
        let unusable = |error| self.unusable(error);
        let newest = letter_queries::last(&self.connection).map_err(unusable)?;
        let last = [filter.number, filter.up_to].into_iter().flatten().chain(newest).min();
        let (Some(_), Some(last)) = (newest, last) else { return Ok(()) };
        let before = filter.number.map(|number| number.saturating_sub(1));
        let mut after = before.max(filter.after).unwrap_or(i64::MIN);
        let mut limit = filter.limit;
        while after < last && limit != Some(0) {
            let end = letter_queries::step(&self.connection, after, ROWS).map_err(unusable)?;
            let Some(end) = end.map(|end| end.min(last)) else { break };
            let (from, up_to) = (Some(after), Some(end));
            let found = look(&LetterFilter { after: from, up_to, limit, ..filter.clone() })?;
            after = found.ended_at.unwrap_or(end);
            let found = u32::try_from(found.letters).unwrap_or(u32::MAX);
            limit = limit.map(|left| left.saturating_sub(found));
        }
        Ok(())
    }

    fn unusable(&self, error: rusqlite::Error) -> StateError {
        StateError::File { file: self.file.clone(), source: error.into() }
    }
}

#[cfg(test)]
mod tests;
