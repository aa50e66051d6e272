//! One attempt: lines are made, written, and on the disk, or none of them counts.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cosmos_bridge_sink::{
    Cause, Change, Grouping, Limits, Outcome, Sink, SinkError, Wait, Written,
};

use crate::connection::Connection;
use crate::message::lines;
use crate::{Output, Settings};

/// One wait for the disk for so many changes; more do not make it faster.
const CHANGES: usize = 2000;
const BYTES: usize = 4 * 1024 * 1024;
/// One makes lines while the other's are written.
const CONCURRENCY: usize = 2;

/// Files, or the standard output.
pub struct FileSink {
    name: String,
    settings: Settings,
    connection: Arc<Mutex<Connection>>,
}

impl FileSink {
    pub fn new(name: impl Into<String>, settings: Settings) -> Self {
        let connection = Arc::new(Mutex::new(Connection::new(settings.output.clone())));
        Self { name: name.into(), settings, connection }
    }

    /// Runs something that blocks, off the runtime's threads.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let connection = Arc::clone(&self.connection);
        let done = tokio::task::spawn_blocking(move || {
            work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
    }

    fn what(&self) -> String {
        match &self.settings.output {
            Output::Standard => "the standard output".to_owned(),
            Output::File { path, .. } => format!("the file `{}`", path.display()),
        }
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("{} cannot be written: {error}", self.what())
    }
}

#[async_trait]
impl Sink for FileSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        Limits { grouping: Grouping::Any, changes: CHANGES, bytes: BYTES, concurrency: CONCURRENCY }
    }

    async fn check(&self) -> Result<(), SinkError> {
        self.with(|connection| connection.check()).await.map_err(|error| SinkError {
            message: self.failed(&error),
            hint: Some(hint(&error)),
            transient: false,
            source: Some(error.into()),
        })
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let (lines, outcomes) = lines(self.settings.encoder, changes);
        let appended = self.with(move |connection| connection.append(&lines)).await;
        let mut written = Written { outcomes, charge: 0.0, requests: 1, throttled: 0, wait: None };
        if let Err(error) = appended {
            let reason = self.failed(&error);
            for outcome in &mut written.outcomes {
                if *outcome == Outcome::Delivered {
                    *outcome = Outcome::Deferred { reason: reason.clone() };
                }
            }
            written.wait = Some(Wait { cause: Cause::Busy, retry_after: None });
        }
        written
    }

    async fn close(&self) -> Result<(), SinkError> {
        let closed = self.with(|connection| {
            connection.close();
            Ok(())
        });
        closed.await.map_err(|error| SinkError {
            message: self.failed(&error),
            hint: None,
            transient: false,
            source: Some(error.into()),
        })
    }
}

fn hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ResourceBusy => "Give each sink and each bridge a file of its own.",
        io::ErrorKind::IsADirectory => "Write the path of a file, not of a folder.",
        _ => "The folder must exist, and the user that runs the bridge must be allowed to write in it.",
    }
    .to_owned()
}
