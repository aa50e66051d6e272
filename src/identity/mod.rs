//! Who the bridge is for Microsoft Entra ID, and what it reads with that in key vaults. The only module
//! that names `azure_identity`.
//!
//! [`Identities`] makes one [`Identity`] of each of the `[credentials]`, for all who name it. An
//! identity hands out [`Token`]s by scope: from memory while they hold, renewed ahead of time, with
//! growing pauses while they cannot be.

mod cached;
mod certificate;
mod entra;
mod sdk;
mod secret;
mod sink;
mod token;
mod vault;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use self::cached::Cached;
use self::entra::Entra;
use self::vault::Vaults;
use crate::config::Config;
pub use secret::{ReadError, pause_of};
pub use token::{Token, TokenError, TokenProblem};
pub use vault::VaultError;

/// Where tokens come from.
#[async_trait]
pub trait Issuer: Send + Sync {
    /// Asks for a new token. `scope` is that of a resource, `https://cosmos.azure.com/.default`.
    ///
    /// # Errors
    ///
    /// There is none: the identity is refused, or nobody answers.
    async fn issue(&self, scope: &str) -> Result<Token, TokenError>;
}

/// One of the `[credentials]`, with the tokens it has.
pub struct Identity {
    name: String,
    /// Completes "a token of ..": name, type and tenant, for people.
    who: String,
    issuer: Arc<dyn Issuer>,
    scopes: Mutex<HashMap<String, Arc<Cached>>>,
}

impl Identity {
    /// An identity that is called `name`, and described as `who`.
    pub fn new(name: impl Into<String>, who: impl Into<String>, issuer: Arc<dyn Issuer>) -> Self {
        let (name, who) = (name.into(), who.into());
        Self { name, who, issuer, scopes: Mutex::default() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A token for a scope that holds now.
    ///
    /// # Errors
    ///
    /// There is none in memory, and none to be had. The next attempt is made after a pause, and
    /// until then the same error comes back at once.
    pub async fn token(&self, scope: &str) -> Result<Token, TokenError> {
        self.scope(scope).token().await
    }

    /// As [`Self::token`], for whoever keeps it and asks again only towards its end: where half of
    /// its time is over, the next one, if that is to be had within seconds.
    ///
    /// # Errors
    ///
    /// As [`Self::token`].
    pub async fn renewed(&self, scope: &str) -> Result<Token, TokenError> {
        self.scope(scope).renewed().await
    }

    /// Somebody refused the scope's token before its time was over: another one is fetched.
    pub fn refused(&self, scope: &str) {
        self.scope(scope).refused();
    }

    fn scope(&self, scope: &str) -> Arc<Cached> {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = scopes.get(scope) {
            return Arc::clone(cached);
        }
        let cached = Arc::new(Cached::new(&self.who, scope, Arc::clone(&self.issuer)));
        scopes.insert(scope.to_owned(), Arc::clone(&cached));
        cached
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Every identity of one configuration, and the secrets that they may read.
#[derive(Debug, Default)]
pub struct Identities {
    identities: BTreeMap<String, Arc<Identity>>,
    vaults: Vaults,
}

impl Identities {
    pub fn new(config: &Config) -> Self {
        let identities = config.credentials.iter().map(|(name, credential)| {
            let entra = Entra::new(credential.clone());
            let who = format!("credential `{name}` ({})", entra.who());
            (name.clone(), Arc::new(Identity::new(name, who, Arc::new(entra))))
        });
        Self { identities: identities.collect(), vaults: Vaults::default() }
    }

    /// The identity of that name, which the configuration's rules have proved to exist.
    ///
    /// # Errors
    ///
    /// It does not.
    pub fn named(&self, name: &str) -> Result<Arc<Identity>, TokenError> {
        self.identities.get(name).map(Arc::clone).ok_or_else(|| {
            TokenError::new(TokenProblem::Setup, format!("no credential is named `{name}`"))
        })
    }
}

#[cfg(test)]
mod tests;
