//! An identity as a credential of the SDK for Cosmos DB.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};

use super::credential::Identity;

impl Identity {
    /// A credential of the SDK, which requests a token for every request; usually a cached one.
    pub fn for_sdk(self: &Arc<Self>) -> Arc<dyn TokenCredential> {
        Arc::new(ForSdk(Arc::clone(self)))
    }
}

struct ForSdk(Arc<Identity>);

impl fmt::Debug for ForSdk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl TokenCredential for ForSdk {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let refused = |message| Error::with_message(ErrorKind::Credential, message);
        let [scope] = scopes else {
            return Err(refused("a token request must name one scope".to_owned()));
        };
        let token = self.0.token(scope).await.map_err(|error| refused(error.to_string()))?;
        let text = Secret::new(token.text.expose().to_owned());
        Ok(AccessToken::new(text, token.expires_on.into()))
    }
}
