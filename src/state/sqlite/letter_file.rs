//! Reads dead letters while the bridge runs.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{letter_queries, schema};
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

/// Of one query.
enum Fault {
    Query(rusqlite::Error),
    Output(std::io::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Query(error)
    }
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
    /// and `previous` are `None`.
    pub fn each(
        &self,
        filter: &LetterFilter,
        with_documents: bool,
        mut each: impl FnMut(StoredLetter) -> std::io::Result<()>,
    ) -> Result<(), LetterError> {
        let each = |letter| each(letter).map_err(Fault::Output);
        letter_queries::each(&self.connection, filter, with_documents, each).map_err(|fault| {
            match fault {
                Fault::Query(error) => self.unusable(error).into(),
                Fault::Output(error) => error.into(),
            }
        })
    }

    /// How many letters have which cause.
    pub fn causes(&self, filter: &LetterFilter) -> Result<Vec<CauseCount>, StateError> {
        letter_queries::causes(&self.connection, filter).map_err(|error| self.unusable(error))
    }

    pub fn count(&self, filter: &LetterFilter) -> Result<u64, StateError> {
        letter_queries::count(&self.connection, filter).map_err(|error| self.unusable(error))
    }

    fn unusable(&self, error: rusqlite::Error) -> StateError {
        StateError::File { file: self.file.clone(), source: error.into() }
    }
}
