//! The source of tokens.

use async_trait::async_trait;

use super::token::{Token, TokenError};

/// Issues tokens. The cache calls it once per attempt.
#[async_trait]
pub trait Issuer: Send + Sync {
    /// Requests a new token. `scope` names a resource, as in `https://cosmos.azure.com/.default`.
    ///
    /// # Errors
    ///
    /// The identity is refused, or the authority does not answer.
    async fn issue(&self, scope: &str) -> Result<Token, TokenError>;
}
