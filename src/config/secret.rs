//! What opens an account.

use cosmos_bridge_options::SecretError;
use cosmos_bridge_sink::Secret;

use super::accounts::Account;
use super::connection_string::{check_key, parts};

/// What it takes to connect to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// As written.
    pub endpoint: String,
    pub proof: Proof,
}

/// How a request to an account is authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Base64, as the service issues it.
    Key(Secret),
    /// Tokens of one of the `[credentials]`, by its name.
    Entra(String),
}

impl Account {
    /// What opens the account, with its secret as it was read from [`Account::secret`].
    ///
    /// # Errors
    ///
    /// The secret is missing, or it is not of the right kind.
    pub fn access(&self, secret: Option<Secret>) -> Result<Access, SecretError> {
        let written = self.written_endpoint().map(|endpoint| endpoint.written.clone());
        let (endpoint, proof) = if let Some(name) = &self.credential {
            (written.unwrap_or_default(), Proof::Entra(name.clone()))
        } else {
            let secret = secret.ok_or(SecretError::Empty)?;
            if self.connection_string.is_some() {
                let (endpoint, key) = parts(&secret)?;
                (endpoint.written, Proof::Key(key))
            } else {
                check_key(&secret)?;
                (written.unwrap_or_default(), Proof::Key(secret))
            }
        };
        Ok(Access { endpoint, proof })
    }
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
}
