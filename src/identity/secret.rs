//! Reads the secrets that the configuration refers to, from this machine or from key vaults.

use std::time::Duration;

use tokio::task::spawn_blocking;

use super::identities::Identities;
use super::token::TokenError;
use super::vault::{VAULT_PAUSE, VaultError};
use crate::config::{Access, Account, Secret, SecretError, SecretRef};
use crate::exit_code;

/// Why a secret cannot be read. No message contains any part of it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Local(#[from] SecretError),
    #[error(transparent)]
    Vault(Box<VaultError>),
    /// Unknown credential. The rules of the configuration prevent this.
    #[error(transparent)]
    NoCredential(TokenError),
}

impl From<VaultError> for ReadError {
    fn from(error: VaultError) -> Self {
        Self::Vault(Box::new(error))
    }
}

impl ReadError {
    /// What the operator can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Local(error) => error.hint().to_owned(),
            Self::Vault(error) => error.hint(),
            Self::NoCredential(error) => error.hint(),
        }
    }

    /// True if the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Vault(error) if error.is_transient())
    }

    /// The exit code of a start that fails with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Vault(error) => error.exit_code(),
            Self::Local(_) | Self::NoCredential(_) => exit_code::FAILED,
        }
    }
}

impl Identities {
    /// Reads a secret, with one attempt and a timeout.
    ///
    /// # Errors
    ///
    /// The secret is missing, cannot be read, or is not valid text.
    pub async fn secret(&self, reference: &SecretRef) -> Result<Secret, ReadError> {
        match reference {
            SecretRef::Local(reference) => {
                let reference = reference.clone();
                // Files may be on a disk that hangs.
                let read = spawn_blocking(move || reference.read()).await;
                let read = read.unwrap_or_else(|panic| {
                    Err(SecretError::Unreadable(std::io::Error::other(panic)))
                });
                Ok(read?)
            }
            SecretRef::KeyVault(secret) => {
                let identity = self.named(&secret.credential).map_err(ReadError::NoCredential)?;
                Ok(self.vaults.read(secret, &identity).await?)
            }
        }
    }

    /// Reads the endpoint and the key or credential of an account.
    ///
    /// # Errors
    ///
    /// As [`Identities::secret`], or the secret is not a valid key or connection string.
    pub async fn access(&self, account: &Account) -> Result<Access, ReadError> {
        let reference = account.secret();
        let secret = match &reference {
            Some(reference) => Some(self.secret(reference).await?),
            None => None,
        };
        account.access(secret).map_err(|error| match &reference {
            Some(SecretRef::KeyVault(secret)) => VaultError::unusable(secret, error).into(),
            _ => error.into(),
        })
    }
}

/// Shortest time between two reads of a secret that was refused. Secrets on this machine need no
/// pause.
pub fn pause_of(reference: &SecretRef) -> Duration {
    match reference {
        SecretRef::Local(_) => Duration::ZERO,
        SecretRef::KeyVault(_) => VAULT_PAUSE,
    }
}
