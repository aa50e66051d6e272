//! The secrets of a sink, read together, so that they are of one time.

use std::path::{Path, PathBuf};

use cosmos_bridge_sink::SinkError;
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use crate::config::{Secret, SecretRef, Sink};

/// Where the secrets of a sink stand.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// With the options that name them.
    secrets: Vec<(&'static str, SecretRef)>,
    /// What goes with them without being secret: certificates and authorities.
    files: Vec<(&'static str, PathBuf)>,
}

/// What stood there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Secrets {
    read: Vec<(SecretRef, Secret)>,
    /// Hashes of the files.
    files: Vec<[u8; 32]>,
}

impl Places {
    pub(super) fn of(sink: &Sink) -> Self {
        Self::new(sink.secrets(), sink.certificates())
    }

    pub(super) fn new(
        secrets: Vec<(&'static str, SecretRef)>,
        files: Vec<(&'static str, PathBuf)>,
    ) -> Self {
        Self { secrets, files }
    }

    /// Whether there is nothing that could change.
    pub(super) fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.files.is_empty()
    }

    /// Reads all of them now.
    ///
    /// # Errors
    ///
    /// One of them cannot be read, or is empty.
    pub(super) async fn read(&self) -> Result<Secrets, SinkError> {
        let places = self.clone();
        // Files may be on a disk that does not answer.
        let read = spawn_blocking(move || places.read_now()).await;
        read.unwrap_or_else(|error| Err(problem(format!("a defect of the bridge: {error}"), None)))
    }

    fn read_now(self) -> Result<Secrets, SinkError> {
        let secrets = self.secrets.into_iter().map(|(option, reference)| {
            let read = reference.read().map_err(|error| {
                let message = format!("the secret of `{option}` cannot be used: {error}");
                problem(message, Some(error.hint()))
            })?;
            Ok::<_, SinkError>((reference, read))
        });
        let read = secrets.collect::<Result<_, _>>()?;
        let hash = |(option, path): (&'static str, PathBuf)| {
            file_text(option, &path).map(|bytes| Sha256::digest(bytes).into())
        };
        let files = self.files.into_iter().map(hash).collect::<Result<_, _>>()?;
        Ok(Secrets { read, files })
    }
}

impl Secrets {
    /// What a reference led to.
    #[cfg(any(test, feature = "amqp", feature = "eventhubs", feature = "http", feature = "kafka"))]
    pub(super) fn of(&self, reference: &SecretRef) -> Result<&Secret, SinkError> {
        let found = self.read.iter().find(|(known, _)| known == reference);
        // `Sink::secrets` has forgotten one.
        let unread = || problem("a defect of the bridge: a secret was not read".to_owned(), None);
        found.map(|(_, secret)| secret).ok_or_else(unread)
    }
}

/// Reads a file that an option of a sink names.
pub(super) fn file_text(option: &str, path: &Path) -> Result<Vec<u8>, SinkError> {
    std::fs::read(path).map_err(|error| {
        let message = format!("the file of `{option}` cannot be read: {error}");
        problem(message, Some("The path is relative to the configuration file."))
    })
}

fn problem(message: String, hint: Option<&str>) -> SinkError {
    SinkError { message, hint: hint.map(str::to_owned), transient: false, source: None }
}
