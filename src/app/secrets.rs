//! The secrets of a sink, read together so that they are consistent.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_options::{Opening, Resources, read_file, unusable};
use cosmos_bridge_sink::{ContainerName, SinkError, SinkErrorKind, TokenSource};
use futures::future::try_join_all;
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use crate::app::RunError;
use crate::config::{EventSink, Secret, SecretRef};
use crate::identity::{Identities, ReadError, pause_of};

/// References to the secrets and certificate files of a sink.
#[derive(Clone, Debug)]
pub(super) struct SecretRefs {
    /// With the names of their options.
    secrets: Vec<(String, SecretRef)>,
    /// Files that are not secret but change with the secrets: certificates and authorities.
    files: Vec<(String, PathBuf)>,
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
    Secret { option: String, source: ReadError },
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
                kind: if source.is_transient() {
                    SinkErrorKind::Unreachable
                } else {
                    SinkErrorKind::Denied
                },
                source: None,
            },
            SecretsError::File(error) => error,
        }
    }
}

impl SecretRefs {
    pub(super) fn of(sink: &EventSink, identities: &Arc<Identities>) -> Self {
        let Resources { secrets, certificates } = sink.resources.clone();
        Self::new(secrets, certificates, Arc::clone(identities))
    }

    pub(super) fn new(
        secrets: Vec<(String, SecretRef)>,
        files: Vec<(String, PathBuf)>,
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
                Err(source) => Err(SecretsError::Secret { option: option.clone(), source }),
            }
        });
        let read = try_join_all(read).await?;
        let files = self.files.clone();
        // Files may be on a disk that hangs.
        let hashes = spawn_blocking(move || hashes(files)).await;
        let defect = |error| unusable(format!("internal error (bug): {error}"), "");
        let files = hashes.map_err(defect).flatten()?;
        Ok(Secrets { read, files })
    }
}

fn hashes(files: Vec<(String, PathBuf)>) -> Result<Vec<[u8; 32]>, SinkError> {
    let hash = |(option, path): (String, PathBuf)| {
        read_file(&option, &path).map(|bytes| Sha256::digest(bytes).into())
    };
    files.into_iter().map(hash).collect()
}

/// The secrets and sources of a sink, and the tokens of the credentials that it names.
pub(super) struct OpenedSecrets<'s> {
    pub(super) secrets: &'s Secrets,
    pub(super) identities: &'s Identities,
    /// The containers whose changes the sink gets.
    pub(super) sources: &'s [ContainerName],
}

impl Opening for OpenedSecrets<'_> {
    fn secret(&self, reference: &SecretRef) -> Result<&Secret, SinkError> {
        let found = self.secrets.read.iter().find(|(known, _)| known == reference);
        let unread = || unusable("internal error (bug): a secret was not read", "");
        found.map(|(_, secret)| secret).ok_or_else(unread)
    }

    fn tokens(&self, credential: &str, scope: &str) -> Result<Arc<dyn TokenSource>, SinkError> {
        let identity = self.identities.named(credential);
        let identity = identity.map_err(|error| unusable(error.to_string(), error.hint()))?;
        Ok(identity.tokens(scope))
    }

    fn sources(&self) -> &[ContainerName] {
        self.sources
    }
}
