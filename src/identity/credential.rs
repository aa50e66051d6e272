//! One of the `[credentials]`, with its tokens by scope.

use parking_lot::Mutex;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::issuer::Issuer;
use super::token::{Token, TokenError};
use super::token_cache::TokenCache;

/// One of the `[credentials]`, with its tokens by scope.
pub struct Identity {
    name: String,
    /// Name, type and tenant, for messages: completes "a token of ..".
    description: String,
    issuer: Arc<dyn Issuer>,
    scopes: Mutex<HashMap<String, Arc<TokenCache>>>,
}

impl Identity {
    pub fn new(
        name: impl Into<String>,
        description: impl Into<String>,
        issuer: Arc<dyn Issuer>,
    ) -> Self {
        let (name, description) = (name.into(), description.into());
        Self { name, description, issuer, scopes: Mutex::default() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A valid token for a scope, usually cached.
    ///
    /// # Errors
    ///
    /// There is no valid token and the last attempt to fetch one failed. The next attempt is made
    /// after a pause; until then this returns the same error immediately.
    pub async fn token(&self, scope: &str) -> Result<Token, TokenError> {
        self.scope(scope).token().await
    }

    /// As [`Self::token`], for a caller that stores the token and asks again near its expiry. If
    /// half of the token's lifetime is over, waits a few seconds for the next token.
    ///
    /// # Errors
    ///
    /// As [`Self::token`].
    pub async fn renewed(&self, scope: &str) -> Result<Token, TokenError> {
        self.scope(scope).renewed().await
    }

    /// Fetches another token because a service refused the current one before its expiry.
    pub fn refused(&self, scope: &str) {
        self.scope(scope).refused();
    }

    fn scope(&self, scope: &str) -> Arc<TokenCache> {
        let mut scopes = self.scopes.lock();
        if let Some(cache) = scopes.get(scope) {
            return Arc::clone(cache);
        }
        let cache = Arc::new(TokenCache::new(&self.description, scope, Arc::clone(&self.issuer)));
        scopes.insert(scope.to_owned(), Arc::clone(&cache));
        cache
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}
