//! State in one SQLite file.

mod dead_letters;
pub(super) mod ledgers;
pub(super) mod letter_file;
mod letter_queries;
mod lock;
pub(super) mod log_watch;
mod positions;
mod schema;
pub(super) mod targets;

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;
use tracing::warn;

use self::lock::{Lock, make_private};
use self::log_watch::{LogSize, LogWatch, Measured};
use super::error::StateError;
use super::group_commit::GroupCommit;

/// The embedded state: one file and its write-ahead log.
///
/// Every piece of work is a job; the jobs that arrive while one transaction is committed share the next.
pub struct SqliteState {
    file: String,
    database: Arc<Database>,
    jobs: GroupCommit<Job>,
    /// Absent without a write-ahead log.
    log: Option<Arc<LogWatch>>,
}

struct Database {
    connection: Mutex<Connection>,
    #[cfg(test)]
    commits: std::sync::atomic::AtomicU64,
    /// The last field: it must be dropped after the connection.
    _lock: Option<Lock>,
}

/// Works in a transaction; returns whether it succeeded and how to answer.
type Job = Box<dyn FnOnce(&Connection) -> (bool, Answer) + Send>;
/// Called once the transaction is committed, or with the reason why it was not.
type Answer = Box<dyn FnOnce(Result<(), String>) + Send>;

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
        let lock = Lock::take(path).map_err(|error| unusable(error.into()))?;
        let Some(lock) = lock else { return Err(StateError::Busy { file }) };
        let connection = Connection::open(path).map_err(|error| unusable(error.into()))?;
        Self::set_up(path, lock, connection)
    }

    /// Prepares the file of a connection.
    fn set_up(path: &Path, lock: Lock, mut connection: Connection) -> Result<Self, StateError> {
        let file = path.display().to_string();
        let unusable =
            |error: rusqlite::Error| StateError::File { file: file.clone(), source: error.into() };
        let journal = journal(&connection).map_err(unusable)?;
        let version = prepare(&mut connection).map_err(unusable)?;
        if version > schema::newest() {
            return Err(StateError::Newer { file, version });
        }
        if let Err(error) = make_private(path) {
            // A file of another user, or of a mount that sets the mode.
            warn!(file, %error, "the state file may be readable by others: its mode cannot be set to 0600");
        }
        let log = (journal == WRITE_AHEAD).then(|| Arc::new(LogWatch::new(path)));
        if log.is_none() {
            let hint = "Move the state file to a local disk.";
            warn!(
                file,
                journal,
                hint,
                "the state file has no write-ahead log, which its file system does not support: commands \
                 that read it and the bridge wait for each other"
            );
        }
        Ok(Self::new(file, connection, Some(lock), log))
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
            Ok(connection) => Ok(Self::new(file, connection, None, None)),
            Err(error) => Err(StateError::File { file, source: error.into() }),
        }
    }

    /// The size of the write-ahead log; `None` without one.
    pub fn log_size(&self) -> Option<Arc<LogSize>> {
        self.log.as_ref().map(|log| log.size())
    }

    fn new(
        file: String,
        connection: Connection,
        lock: Option<Lock>,
        log: Option<Arc<LogWatch>>,
    ) -> Self {
        let database = Database {
            connection: Mutex::new(connection),
            #[cfg(test)]
            commits: std::sync::atomic::AtomicU64::new(0),
            _lock: lock,
        };
        Self { file, database: Arc::new(database), jobs: GroupCommit::default(), log }
    }

    /// Runs `work` in a transaction, together with what else is waiting. A job that fails is undone
    /// alone; if the commit fails, all of its jobs have failed.
    async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StateError> {
        let (sender, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = work(connection);
            let is_done = result.is_ok();
            let answer = move |committed: Result<(), String>| {
                let result = result.map_err(|error| error.to_string());
                // Nobody waits for the answer after a stop.
                sender.send(committed.and(result)).ok();
            };
            (is_done, Box::new(answer))
        });
        // Off the runtime's threads: a commit ends with a wait for the disk.
        let commit = async |jobs: Vec<Job>| {
            let (database, log) = (Arc::clone(&self.database), self.log.clone());
            let work = move || database.commit(jobs, log.as_deref());
            let measured = tokio::task::spawn_blocking(work).await.ok().flatten();
            if let (Some(log), Some(measured)) = (&self.log, measured) {
                log.report(measured);
            }
        };
        let answer = self.jobs.submit(job, answer, commit).await;
        let given_up = || Err("the write was given up".to_owned());
        let unusable =
            |source: String| StateError::File { file: self.file.clone(), source: source.into() };
        answer.unwrap_or_else(given_up).map_err(unusable)
    }
}

impl Database {
    /// All jobs in one transaction. Returns what it left of the write-ahead log.
    fn commit(&self, jobs: Vec<Job>, log: Option<&LogWatch>) -> Option<Measured> {
        let mut connection = self.connection.lock();
        #[cfg(test)]
        self.commits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut answers = Vec::with_capacity(jobs.len());
        let result = run(&mut connection, jobs, &mut answers).map_err(|error| error.to_string());
        for answer in answers {
            answer(result.clone());
        }
        log.map(|log| log.measure(&connection))
    }
}

fn run(
    connection: &mut Connection,
    jobs: Vec<Job>,
    answers: &mut Vec<Answer>,
) -> rusqlite::Result<()> {
    let mut transaction = connection.transaction()?;
    for job in jobs {
        let savepoint = transaction.savepoint()?;
        let (is_done, answer) = job(&savepoint);
        answers.push(answer);
        if is_done {
            savepoint.commit()?;
        }
    }
    transaction.commit()
}

/// SQLite's name for the mode in which readers are not in the way.
const WRITE_AHEAD: &str = "wal";

/// Asks for a write-ahead log; returns the mode that the file has then. A file system without shared memory has
/// another one, in which everything works, but readers and the writer wait for each other.
fn journal(connection: &Connection) -> rusqlite::Result<String> {
    let limit = i64::try_from(log_watch::LIMIT).unwrap_or(i64::MAX);
    connection.pragma_update(None, "journal_size_limit", limit)?;
    connection.pragma_update_and_check(None, "journal_mode", WRITE_AHEAD, |row| row.get(0))
}

/// Sets the file up, or brings it to the newest version; returns its version.
fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    // Full: a commit survives the loss of power.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    letter_queries::add_document_hash(connection)?;
    schema::migrate(connection)
}

#[cfg(test)]
mod tests;
