//! All identities of one configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::credential::Identity;
use super::entra::Entra;
use super::token::{TokenError, TokenErrorKind};
use super::vault::Vaults;
use crate::config::Config;

/// All identities of one configuration, and the key vaults that they read.
#[derive(Debug, Default)]
pub struct Identities {
    identities: BTreeMap<String, Arc<Identity>>,
    pub(super) vaults: Vaults,
}

impl Identities {
    pub fn new(config: &Config) -> Self {
        let identities = config.credentials.iter().map(|(name, credential)| {
            let entra = Entra::new(credential.clone());
            let description = format!("credential `{name}` ({})", entra.description());
            (name.clone(), Arc::new(Identity::new(name, description, Arc::new(entra))))
        });
        Self { identities: identities.collect(), vaults: Vaults::default() }
    }

    /// The identity of that name. The rules of the configuration guarantee that it exists.
    ///
    /// # Errors
    ///
    /// There is no such identity.
    pub fn named(&self, name: &str) -> Result<Arc<Identity>, TokenError> {
        self.identities.get(name).map(Arc::clone).ok_or_else(|| {
            TokenError::new(TokenErrorKind::Setup, format!("unknown credential `{name}`"))
        })
    }
}
