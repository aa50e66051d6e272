//! What proves who the bridge is, and must not be seen.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;

/// Text that is never printed.
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

/// A bearer token for one target, and when its time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: Secret,
    pub expires_on: SystemTime,
}

/// Why there is no token. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NoToken {
    pub message: String,
    /// A sentence that says what to do.
    pub hint: String,
    /// Whether waiting can help.
    pub transient: bool,
}

/// Where tokens for one target come from. A sink that uses them depends on no identity provider.
#[async_trait]
pub trait TokenSource: fmt::Debug + Send + Sync {
    /// A token that holds now: mostly from memory, another one ahead of its end. So it is asked for
    /// at every use, and one that differs from the last is to be used from then on.
    ///
    /// # Errors
    ///
    /// There is none to be had at the moment.
    async fn token(&self) -> Result<Token, NoToken>;

    /// As [`Self::token`], for whoever keeps what it is given and asks again only towards its end:
    /// one that is past half of its time is replaced first, if that can be done within seconds.
    ///
    /// # Errors
    ///
    /// There is none to be had at the moment.
    async fn renewed(&self) -> Result<Token, NoToken> {
        self.token().await
    }

    /// The target refused the token before its time was over: another one is fetched, unless that
    /// was done a moment ago.
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
