//! An identity as sinks take one.

use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_sink::{NoToken, Token, TokenSource};

use super::{Identity, TokenError, TokenProblem};

impl Identity {
    /// Its tokens for one scope, for a sink that asks at every use.
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
        given(self.identity.token(&self.scope).await)
    }

    async fn renewed(&self) -> Result<Token, NoToken> {
        given(self.identity.renewed(&self.scope).await)
    }

    fn refused(&self) {
        self.identity.refused(&self.scope);
    }
}

fn given(token: Result<super::Token, TokenError>) -> Result<Token, NoToken> {
    match token {
        Ok(token) => Ok(Token { text: token.text, expires_on: token.expires_on }),
        Err(error) => Err(NoToken {
            message: error.to_string(),
            hint: error.hint(),
            transient: error.problem == TokenProblem::Unreachable,
        }),
    }
}
