//! One attempt: lines are built, written and synced to disk. After an error none of them counts.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_event::Encoder;
use cosmos_bridge_sink::{
    Answers, Cause, Change, Grouping, Limits, Mutex, Sink, SinkError, SinkErrorKind, Written,
};

use crate::connection::Connection;
use crate::message::lines;
use crate::{FileOptions, Output};

/// Changes for one sync to disk; more would not make it faster.
const CHANGES: usize = 2000;
const BYTES: usize = 4 * 1024 * 1024;
/// One write builds lines while the lines of another are written.
const CONCURRENCY: usize = 2;

/// Files, or the standard output.
pub struct FileSink {
    name: String,
    output: Output,
    encoder: Encoder,
    connection: Arc<Mutex<Connection>>,
}

impl FileSink {
    pub fn new(name: impl Into<String>, options: FileOptions) -> Self {
        let name = name.into();
        let (output, encoder) = (options.path.clone(), options.events.encoder(&name));
        let connection = Arc::new(Mutex::new(Connection::new(options)));
        Self { name, output, encoder, connection }
    }

    /// Runs blocking work outside the threads of the runtime.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let connection = Arc::clone(&self.connection);
        let done = tokio::task::spawn_blocking(move || work(&mut connection.lock()));
        done.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
    }

    fn target(&self) -> String {
        match &self.output {
            Output::Standard => "the standard output".to_owned(),
            Output::File(path) => format!("the file `{}`", path.display()),
        }
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("{} cannot be written: {error}", self.target())
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
            kind: SinkErrorKind::Other,
            source: Some(error.into()),
        })
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut answers = Answers::new(changes);
        let lines = lines(self.encoder, changes, &mut answers);
        answers.sent(1);
        match self.with(move |connection| connection.append(&lines)).await {
            Ok(()) => answers.deliver_rest(),
            Err(error) => answers.defer_rest(&self.failed(&error), Cause::Busy),
        }
        answers.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        let closed = self.with(|connection| {
            connection.close();
            Ok(())
        });
        closed.await.map_err(|error| SinkError {
            message: self.failed(&error),
            hint: None,
            kind: SinkErrorKind::Other,
            source: Some(error.into()),
        })
    }
}

fn hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ResourceBusy => "Give each sink and each bridge its own file.",
        io::ErrorKind::IsADirectory => "Write the path of a file, not of a folder.",
        _ => "The folder must exist, and the user of the bridge needs write permission for it.",
    }
    .to_owned()
}
