//! The only place that reads secrets of this machine.

use std::io::Read;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
pub use cosmos_bridge_sink::Secret;

use super::endpoint::{EndpointError, check_endpoint};
use super::{Account, AccountCredential, Endpoint, LocalSecret, SecretRef};

/// No key, connection string or salt comes near it; a device that never ends must.
const MOST_BYTES: u64 = 64 * 1024;

/// What it takes to talk to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// An address that [`super::Endpoint`] allows, as written.
    pub endpoint: String,
    pub proof: Proof,
}

/// What an account asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Base64, as the service issues it.
    Key(Secret),
    /// Tokens of one of the `[credentials]`, by its name.
    Entra(String),
}

/// Why a secret cannot be used. No message holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the file cannot be read: {0}")]
    Unreadable(#[source] std::io::Error),
    #[error("the environment variable is not set")]
    Unset,
    #[error("the secret is not text in UTF-8")]
    NotText,
    #[error("the secret is empty")]
    Empty,
    #[error("the secret is longer than 64 KiB")]
    TooLong,
    #[error("the account key is not base64")]
    NotBase64,
    #[error("the connection string has no {0}")]
    NoPart(&'static str),
    #[error("the connection string's AccountEndpoint cannot be used: {0}")]
    Endpoint(#[source] EndpointError),
}

impl SecretError {
    /// A sentence that says what to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => {
                "The path is relative to the configuration file. The file must be readable by the \
                 user that runs the bridge."
            }
            Self::Unset => "Set it in the environment of the bridge, or use { file = \"..\" }.",
            Self::NotText | Self::TooLong => "Put the secret alone there, as plain text.",
            Self::Empty => "Put the secret there.",
            Self::NotBase64 => "Copy the primary or secondary key of the account as it is.",
            Self::NoPart(_) | Self::Endpoint(_) => {
                "It looks like AccountEndpoint=https://NAME.documents.azure.com:443/;AccountKey=..;"
            }
        }
    }
}

impl LocalSecret {
    /// Reads the secret now.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let bytes = match self {
            Self::File(path) => {
                let mut bytes = Vec::new();
                std::fs::File::open(path)
                    .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
                    .map_err(SecretError::Unreadable)?;
                bytes
            }
            Self::Env(name) => environment(name).ok_or(SecretError::Unset)?,
        };
        as_secret(bytes)
    }

    /// The file, when it is one.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Env(_) => None,
        }
    }
}

impl SecretRef {
    /// The file, when it is one.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::Local(place) => place.file(),
            Self::KeyVault(_) => None,
        }
    }
}

/// What was found at the place of a secret. White space around it is no part of it.
///
/// # Errors
///
/// It is empty, too long, or no text.
pub fn as_secret(found: Vec<u8>) -> Result<Secret, SecretError> {
    if found.len() as u64 > MOST_BYTES {
        return Err(SecretError::TooLong);
    }
    let text = String::from_utf8(found).map_err(|_| SecretError::NotText)?;
    match text.trim() {
        "" => Err(SecretError::Empty),
        text => Ok(Secret::new(text)),
    }
}

#[expect(clippy::disallowed_methods, reason = "the file names the variable that holds a secret")]
fn environment(name: &str) -> Option<Vec<u8>> {
    match std::env::var(name) {
        Ok(text) => Some(text.into_bytes()),
        Err(std::env::VarError::NotUnicode(text)) => Some(text.into_encoded_bytes()),
        Err(std::env::VarError::NotPresent) => None,
    }
}

impl Account {
    /// What opens the account, with its secret as it was read from
    /// [`AccountCredential::secret`].
    ///
    /// # Errors
    ///
    /// There is no secret where one is needed, or it is not of the right kind.
    pub fn access(&self, secret: Option<Secret>) -> Result<Access, SecretError> {
        self.credential.access(self.written_endpoint(), secret)
    }

    fn written_endpoint(&self) -> Option<&str> {
        match &self.endpoint {
            Endpoint::Url(url) => Some(url),
            Endpoint::FromConnectionString => None,
        }
    }
}

impl AccountCredential {
    /// Where the secret stands; `None` where tokens open the account.
    pub fn secret(&self) -> Option<SecretRef> {
        match self {
            Self::Key(reference) => Some(reference.clone()),
            Self::ConnectionString(place) => Some(SecretRef::Local(place.clone())),
            Self::Entra(_) => None,
        }
    }

    /// Reads the secret now; `None` where that is in a vault.
    pub(super) fn read_local(&self, endpoint: Option<&str>) -> Option<Result<Access, SecretError>> {
        let secret = match self.secret() {
            None => None,
            Some(SecretRef::KeyVault(_)) => return None,
            Some(SecretRef::Local(place)) => match place.read() {
                Ok(secret) => Some(secret),
                Err(error) => return Some(Err(error)),
            },
        };
        Some(self.access(endpoint, secret))
    }

    fn access(
        &self,
        endpoint: Option<&str>,
        secret: Option<Secret>,
    ) -> Result<Access, SecretError> {
        // What stands alone always stands beside an endpoint; without one nothing can be reached.
        let written = || endpoint.map(str::to_owned).ok_or(SecretError::NoPart("AccountEndpoint"));
        let secret = secret.ok_or(SecretError::Empty);
        let (endpoint, key) = match self {
            Self::Entra(name) => {
                let proof = Proof::Entra(name.clone());
                return Ok(Access { endpoint: written()?, proof });
            }
            Self::Key(_) => (written()?, secret?),
            Self::ConnectionString(_) => {
                let text = secret?;
                let part = |name| part(text.expose(), name).ok_or(SecretError::NoPart(name));
                let endpoint = part("AccountEndpoint")?;
                check_endpoint(endpoint).map_err(SecretError::Endpoint)?;
                (endpoint.to_owned(), Secret::new(part("AccountKey")?))
            }
        };
        if STANDARD.decode(key.expose()).is_err() {
            return Err(SecretError::NotBase64);
        }
        Ok(Access { endpoint, proof: Proof::Key(key) })
    }

    /// The file, when the secret stands in one.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::Key(secret) => secret.file(),
            Self::ConnectionString(secret) => secret.file(),
            Self::Entra(_) => None,
        }
    }
}

/// One part of a connection string; names are compared without case, as the SDKs do.
fn part<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let parts = text.split(';').filter_map(|part| part.split_once('='));
    let mut named = parts.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

/// Whether a text holds an account key in a place that is not meant for one.
pub(super) fn looks_like_a_secret(text: &str) -> bool {
    /// An account key is 64 bytes, 88 characters of base64.
    const KEY_CHARACTERS: usize = 86;
    let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
    text.to_ascii_lowercase().contains("accountkey")
        || text
            .split(|c| !base64(c))
            .any(|run| run.len() >= KEY_CHARACTERS && !run.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let proof = Proof::Key(Secret::new("c2VjcmV0"));
        let access = Access { endpoint: "https://a".to_owned(), proof };
        assert!(!format!("{access:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn a_connection_string_is_endpoint_and_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("connection");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let place = LocalSecret::File(file.clone());
            AccountCredential::ConnectionString(place).read_local(None).unwrap()
        };
        let access = read("AccountEndpoint=https://a.example:443/;AccountKey=c2VjcmV0;\n").unwrap();
        assert_eq!(access.endpoint, "https://a.example:443/");
        assert_eq!(access.proof, Proof::Key(Secret::new("c2VjcmV0")));
        let message = |text| read(text).unwrap_err().to_string();
        assert_eq!(message("AccountKey=c2VjcmV0"), "the connection string has no AccountEndpoint");
        assert_eq!(
            message("accountendpoint=https://a.example"),
            "the connection string has no AccountKey"
        );
        assert_eq!(
            message("AccountEndpoint=https://a.example;AccountKey=?"),
            "the account key is not base64"
        );
        assert_eq!(message(" \n"), "the secret is empty");
    }

    #[test]
    fn a_key_in_a_wrong_place_is_recognised() {
        let key = STANDARD.encode([0xa5; 64]);
        assert!(looks_like_a_secret(&format!("\"{key}\"")));
        assert!(looks_like_a_secret("AccountEndpoint=https://a;AccountKey=abc"));
        assert!(!looks_like_a_secret("\"https://a-rather-long-account-name.documents.azure.com\""));
    }
}
