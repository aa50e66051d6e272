//! Secrets and tokens, which are never printed.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A bearer token for one target, and its expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: Secret,
    pub expires_on: SystemTime,
}

/// Why there is no token. Contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NoToken {
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// True if waiting can help.
    pub transient: bool,
}

/// The source of tokens for one target. A sink that uses it does not depend on an identity provider.
#[async_trait]
pub trait TokenSource: fmt::Debug + Send + Sync {
    /// Returns a valid token, usually cached, refreshed before it expires. Call this for each use, and use
    /// the returned token from then on.
    ///
    /// # Errors
    ///
    /// No token is available now.
    async fn token(&self) -> Result<Token, NoToken>;

    /// Like [`Self::token`], for callers that keep the token until it nearly expires: a token past half
    /// of its lifetime is refreshed first, if that takes only seconds.
    ///
    /// # Errors
    ///
    /// No token is available now.
    async fn renewed(&self) -> Result<Token, NoToken> {
        self.token().await
    }

    /// Notes that the target refused the token before it expired: a new one is fetched, unless that was
    /// done a moment ago.
    fn refused(&self);
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::{Secret, Token};

    #[test]
    fn a_secret_is_never_printed() {
        let text = Secret::new("c2VjcmV0");
        let token = Token { text: text.clone(), expires_on: SystemTime::UNIX_EPOCH };
        assert_eq!(format!("{text} {text:?}"), "[redacted] [redacted]");
        assert!(!format!("{token:?}").contains("c2VjcmV0"));
    }
}
