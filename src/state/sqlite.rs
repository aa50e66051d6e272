//! State in one SQLite file.

mod dead_letters;
pub(super) mod letter_file;
mod letter_queries;
mod lock;
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
use super::error::StateError;
use super::group_commit::GroupCommit;

/// The embedded state: one file and its write-ahead log.
///
/// Every piece of work is a job; the jobs that arrive while one transaction is committed share the next.
pub struct SqliteState {
    file: String,
    database: Arc<Database>,
    jobs: GroupCommit<Job>,
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
        let mut connection = Connection::open(path).map_err(|error| unusable(error.into()))?;
        let version = prepare(&mut connection).map_err(|error| unusable(error.into()))?;
        if version > schema::newest() {
            return Err(StateError::Newer { file, version });
        }
        if let Err(error) = make_private(path) {
            // A file of another user, or of a mount that sets the mode.
            warn!(file, %error, "the state file may be readable by others: its mode cannot be set to 0600");
        }
        Ok(Self::new(file, connection, Some(lock)))
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
            Ok(connection) => Ok(Self::new(file, connection, None)),
            Err(error) => Err(StateError::File { file, source: error.into() }),
        }
    }

    fn new(file: String, connection: Connection, lock: Option<Lock>) -> Self {
        let database = Database {
            connection: Mutex::new(connection),
            #[cfg(test)]
            commits: std::sync::atomic::AtomicU64::new(0),
            _lock: lock,
        };
        Self { file, database: Arc::new(database), jobs: GroupCommit::default() }
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
            let database = Arc::clone(&self.database);
            tokio::task::spawn_blocking(move || database.commit(jobs)).await.ok();
        };
        let answer = self.jobs.submit(job, answer, commit).await;
        let given_up = || Err("the write was given up".to_owned());
        let unusable =
            |source: String| StateError::File { file: self.file.clone(), source: source.into() };
        answer.unwrap_or_else(given_up).map_err(unusable)
    }
}

impl Database {
    /// All jobs in one transaction.
    fn commit(&self, jobs: Vec<Job>) {
        let mut connection = self.connection.lock();
        #[cfg(test)]
        self.commits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut answers = Vec::with_capacity(jobs.len());
        let result = run(&mut connection, jobs, &mut answers).map_err(|error| error.to_string());
        for answer in answers {
            answer(result.clone());
        }
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

/// Sets the file up, or brings it to the newest version; returns its version.
fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    // Write-ahead log: readers are not in the way. Full: a commit survives the loss of power.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    letter_queries::add_document_hash(connection)?;
    schema::migrate(connection)
}

#[cfg(test)]
mod tests;
