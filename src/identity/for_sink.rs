//! An identity as a token source of sinks.

use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_sink::{NoToken, Token, TokenSource};

use super::credential::Identity;
use super::token::{TokenError, TokenErrorKind};

impl Identity {
    /// The tokens for one scope, for a sink that requests one at every use.
    pub fn tokens(self: &Arc<Self>, scope: impl Into<String>) -> Arc<dyn TokenSource> {
        Arc::new(Tokens { identity: Arc::clone(self), scope: scope.into() })
    }
}

#[derive(Debug)]
struct Tokens {
    identity: Arc<Identity>,
    scope: String,
}

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self) -> Result<Token, NoToken> {
        converted(self.identity.token(&self.scope).await)
    }

    async fn renewed(&self) -> Result<Token, NoToken> {
        converted(self.identity.renewed(&self.scope).await)
    }

    fn refused(&self) {
        self.identity.refused(&self.scope);
    }
}

fn converted(token: Result<super::token::Token, TokenError>) -> Result<Token, NoToken> {
    match token {
        Ok(token) => Ok(Token { text: token.text, expires_on: token.expires_on }),
        Err(error) => Err(NoToken {
            message: error.to_string(),
            hint: error.hint(),
            transient: error.kind == TokenErrorKind::Unreachable,
        }),
    }
}
