//! Reads what the configuration refers to, wherever that stands.

use std::time::Duration;

use tokio::task::spawn_blocking;

use super::vault::{VAULT_PAUSE, VaultError};
use super::{Identities, TokenError};
use crate::config::{Access, Account, Secret, SecretError, SecretRef};
use crate::exit_code;

/// Why a secret cannot be used. No message holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Local(#[from] SecretError),
    #[error(transparent)]
    Vault(Box<VaultError>),
    /// The configuration's rules have proved that it cannot be.
    #[error(transparent)]
    NoCredential(TokenError),
}

impl From<VaultError> for ReadError {
    fn from(error: VaultError) -> Self {
        Self::Vault(Box::new(error))
    }
}

impl ReadError {
    /// A sentence that says what to do.
    pub fn hint(&self) -> String {
        match self {
            Self::Local(error) => error.hint().to_owned(),
            Self::Vault(error) => error.hint(),
            Self::NoCredential(error) => error.hint(),
        }
    }

    /// Whether waiting can help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Vault(error) if error.is_transient())
    }

    /// Of a start that ends with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Vault(error) => error.exit_code(),
            Self::Local(_) | Self::NoCredential(_) => exit_code::FAILED,
        }
    }
}

impl Identities {
    /// Reads a secret now. One attempt, which has a limit in time.
    ///
    /// # Errors
    ///
    /// It is not there, cannot be read, or is no text that could be a secret.
    pub async fn secret(&self, reference: &SecretRef) -> Result<Secret, ReadError> {
        match reference {
            SecretRef::Local(place) => {
                let place = place.clone();
                // Files may be on a disk that does not answer.
                let read = spawn_blocking(move || place.read()).await;
                let read = read.unwrap_or_else(|defect| {
                    Err(SecretError::Unreadable(std::io::Error::other(defect)))
                });
                Ok(read?)
            }
            SecretRef::KeyVault(place) => {
                let identity = self.named(&place.credential).map_err(ReadError::NoCredential)?;
                Ok(self.vaults.read(place, &identity).await?)
            }
        }
    }

    /// Reads what opens an account now.
    ///
    /// # Errors
    ///
    /// As those of [`Identities::secret`], or what was read opens no account.
    pub async fn access(&self, account: &Account) -> Result<Access, ReadError> {
        let reference = account.credential.secret();
        let secret = match &reference {
            Some(reference) => Some(self.secret(reference).await?),
            None => None,
        };
        account.access(secret).map_err(|error| match &reference {
            Some(SecretRef::KeyVault(place)) => VaultError::unusable(place, error).into(),
            _ => error.into(),
        })
    }
}

/// For how long a secret is left alone after it was read, where it is wanted again because somebody
/// refused it. What stands on this machine costs nobody anything.
pub fn pause_of(reference: &SecretRef) -> Duration {
    match reference {
        SecretRef::Local(_) => Duration::ZERO,
        SecretRef::KeyVault(_) => VAULT_PAUSE,
    }
}
