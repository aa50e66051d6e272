//! The secrets of a sink, read together so that they are consistent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::SinkError;
use futures::future::try_join_all;
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use crate::app::RunError;
use crate::config::{Secret, SecretRef, Sink};
use crate::identity::{Identities, ReadError, pause_of};

/// References to the secrets and certificate files of a sink.
#[derive(Clone, Debug)]
pub(super) struct SecretRefs {
    /// With the names of their options.
    secrets: Vec<(&'static str, SecretRef)>,
    /// Files that are not secret but change with the secrets: certificates and authorities.
    files: Vec<(&'static str, PathBuf)>,
    /// Read the secrets in key vaults.
    identities: Arc<Identities>,
}

/// The secrets that were read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Secrets {
    read: Vec<(SecretRef, Secret)>,
    /// Hashes of the files.
    files: Vec<[u8; 32]>,
}

/// Why a secret or file of a sink could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretsError {
    #[error("the secret of `{option}` cannot be used: {source}")]
    Secret { option: &'static str, source: ReadError },
    #[error(transparent)]
    File(#[from] SinkError),
}

impl SecretsError {
    /// The error of a start that fails with this error.
    pub(super) fn for_sink(self, name: &str) -> RunError {
        match self {
            Self::Secret { option, source } => RunError::Secret {
                attempt: format!("sink `{name}`: the secret of `{option}` cannot be used"),
                source,
            },
            Self::File(source) => RunError::Sink { sink: name.to_owned(), source },
        }
    }
}

impl From<SecretsError> for SinkError {
    fn from(error: SecretsError) -> Self {
        let message = error.to_string();
        match error {
            SecretsError::Secret { source, .. } => Self {
                message,
                hint: Some(source.hint()),
                transient: source.is_transient(),
                source: None,
            },
            SecretsError::File(error) => error,
        }
    }
}

impl SecretRefs {
    pub(super) fn of(sink: &Sink, identities: &Arc<Identities>) -> Self {
        Self::new(sink.secrets(), sink.certificates(), Arc::clone(identities))
    }

    pub(super) fn new(
        secrets: Vec<(&'static str, SecretRef)>,
        files: Vec<(&'static str, PathBuf)>,
        identities: Arc<Identities>,
    ) -> Self {
        Self { secrets, files, identities }
    }

    /// True if the sink has no secrets and no files.
    pub(super) fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.files.is_empty()
    }

    /// Shortest time between two reads after failures.
    pub(super) fn pause(&self) -> Duration {
        let pauses = self.secrets.iter().map(|(_, reference)| pause_of(reference));
        pauses.max().unwrap_or_default()
    }

    /// Reads all secrets and files.
    ///
    /// # Errors
    ///
    /// One of them cannot be read, or a secret is empty.
    pub(super) async fn read(&self) -> Result<Secrets, SecretsError> {
        let read = self.secrets.iter().map(async |(option, reference)| {
            match self.identities.secret(reference).await {
                Ok(secret) => Ok((reference.clone(), secret)),
                Err(source) => Err(SecretsError::Secret { option, source }),
            }
        });
        let read = try_join_all(read).await?;
        let files = self.files.clone();
        // Files may be on a disk that hangs.
        let hashes = spawn_blocking(move || hashes(files)).await;
        let defect = |error| problem(format!("a defect of the bridge: {error}"), None);
        let files = hashes.map_err(defect).flatten()?;
        Ok(Secrets { read, files })
    }
}

fn hashes(files: Vec<(&'static str, PathBuf)>) -> Result<Vec<[u8; 32]>, SinkError> {
    let hash = |(option, path): (&'static str, PathBuf)| {
        file_text(option, &path).map(|bytes| Sha256::digest(bytes).into())
    };
    files.into_iter().map(hash).collect()
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
