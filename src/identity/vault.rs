//! Reads secrets in Azure Key Vault. The only module that names `azure_security_keyvault_secrets`.

mod problem;

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_security_keyvault_secrets::models::SecretClientGetSecretOptions;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::problem::{VaultProblem, problem};
use super::Identity;
use super::entra::told;
use crate::config::{Secret, VaultSecret, as_secret};
pub use problem::VaultError;

/// A vault answers some hundred requests in a second for all who use it, so it is asked again for the
/// same secret no more often than this, however often the secret is refused.
pub(super) const VAULT_PAUSE: Duration = Duration::from_secs(5);

/// Longest wait for a vault, which is asked twice: it first says which tokens it takes.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// Every vault that the configuration names.
#[derive(Debug, Default)]
pub(super) struct Vaults {
    /// One for all, so that connections are kept.
    client: OnceCell<reqwest::Client>,
}

impl Vaults {
    /// Makes one attempt. The identity keeps its tokens, so mostly that is a matter of the vault alone.
    pub(super) async fn read(
        &self,
        place: &VaultSecret,
        identity: &Arc<Identity>,
    ) -> Result<Secret, VaultError> {
        let scope = scope(&place.vault);
        let read = async {
            // Asked first, so that what fails says why: the SDK has one kind of error for all of it.
            identity.token(&scope).await.map_err(VaultProblem::NoToken)?;
            let asked = timeout(ANSWERED_WITHIN, self.ask(place, identity)).await;
            asked.unwrap_or_else(|_| {
                let seconds = ANSWERED_WITHIN.as_secs();
                Err(VaultProblem::Unreachable(format!("no answer within {seconds} s")))
            })
        };
        read.await.map_err(|problem| {
            if matches!(problem, VaultProblem::Refused { status: 401, .. }) {
                identity.refused(&scope);
            }
            VaultError::new(place, problem)
        })
    }

    async fn ask(
        &self,
        place: &VaultSecret,
        identity: &Arc<Identity>,
    ) -> Result<Secret, VaultProblem> {
        let options = SecretClientOptions {
            client_options: ClientOptions {
                // Whoever reads decides when to come again.
                retry: RetryOptions::none(),
                transport: Some(Transport::new(Arc::new(self.client().await?))),
                ..ClientOptions::default()
            },
            ..SecretClientOptions::default()
        };
        let client = SecretClient::new(&place.vault, identity.for_sdk(), Some(options));
        let client = client.map_err(|error| VaultProblem::Stranger(told(&error.to_string())))?;
        let options = SecretClientGetSecretOptions {
            secret_version: place.version.clone(),
            ..SecretClientGetSecretOptions::default()
        };
        let answer = client.get_secret(&place.name, Some(options)).await;
        // What is wrong with an answer that is no secret may be told with pieces of it.
        let secret = answer.map_err(|error| problem(&error))?.into_model();
        let secret =
            secret.map_err(|_| VaultProblem::Stranger("the answer is no secret".to_owned()))?;
        as_secret(secret.value.unwrap_or_default().into_bytes()).map_err(VaultProblem::Unusable)
    }

    async fn client(&self) -> Result<reqwest::Client, VaultProblem> {
        let made = self.client.get_or_try_init(async || {
            // It reads the authorities of the system.
            let client = spawn_blocking(|| {
                let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
                client.build()
            });
            let failed =
                |why: String| VaultProblem::Stranger(format!("TLS cannot be set up: {why}"));
            let client = client.await.map_err(|error| failed(error.to_string()))?;
            client.map_err(|error| failed(error.to_string()))
        });
        made.await.cloned()
    }
}

/// What tokens for a vault are asked for: its domain without its name, in whatever cloud that is. The
/// SDK sends one only where the vault asks for the same.
fn scope(vault: &str) -> String {
    let domain = vault.split_once('.').map_or("vault.azure.net", |(_, domain)| domain);
    let domain = domain.split([':', '/']).next().unwrap_or_default();
    format!("https://{domain}/.default")
}

#[cfg(test)]
mod tests {
    use super::scope;

    #[test]
    fn a_token_is_asked_for_the_cloud_of_the_vault() {
        for (vault, expected) in [
            ("https://north.vault.azure.net", "https://vault.azure.net/.default"),
            ("https://north.vault.azure.cn:443", "https://vault.azure.cn/.default"),
            ("https://n.vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net/.default"),
        ] {
            assert_eq!(scope(vault), expected);
        }
    }
}
