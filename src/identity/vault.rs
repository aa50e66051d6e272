//! Reads secrets from Azure Key Vault. The only module that uses `azure_security_keyvault_secrets`.

mod error;

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_security_keyvault_secrets::models::SecretClientGetSecretOptions;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::error::VaultFailure;
use super::credential::Identity;
use super::one_line::one_line;
use crate::config::{Secret, VaultSecret, as_secret};
pub use error::VaultError;

/// Shortest time between two reads of one secret, however often it is refused. All clients of a vault
/// share a limit of some hundred requests per second.
pub(super) const VAULT_PAUSE: Duration = Duration::from_secs(5);

/// Longest wait for a secret, which takes two requests: the first answer says which tokens the vault
/// accepts.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// All key vaults of the configuration.
#[derive(Debug, Default)]
pub(super) struct Vaults {
    /// One client for all vaults, so that connections are reused.
    client: OnceCell<reqwest::Client>,
}

impl Vaults {
    /// Reads a secret with one attempt. The identity's token is usually cached.
    pub(super) async fn read(
        &self,
        secret: &VaultSecret,
        identity: &Arc<Identity>,
    ) -> Result<Secret, VaultError> {
        let scope = scope(&secret.vault);
        let read = async {
            // Fetch a token first, so that a failure names its cause: the SDK reports all of them as
            // one kind of error.
            identity.token(&scope).await.map_err(VaultFailure::NoToken)?;
            let answer = timeout(ANSWER_TIMEOUT, self.request(secret, identity)).await;
            answer.unwrap_or_else(|_| {
                let seconds = ANSWER_TIMEOUT.as_secs();
                Err(VaultFailure::Unreachable(format!("no answer within {seconds} s")))
            })
        };
        read.await.map_err(|failure| {
            if matches!(failure, VaultFailure::Refused { status: 401, .. }) {
                identity.refused(&scope);
            }
            VaultError::new(secret, failure)
        })
    }

    async fn request(
        &self,
        secret: &VaultSecret,
        identity: &Arc<Identity>,
    ) -> Result<Secret, VaultFailure> {
        let options = SecretClientOptions {
            client_options: ClientOptions {
                // The caller decides when to retry.
                retry: RetryOptions::none(),
                transport: Some(Transport::new(Arc::new(self.client().await?))),
                ..ClientOptions::default()
            },
            ..SecretClientOptions::default()
        };
        let client = SecretClient::new(&secret.vault, identity.for_sdk(), Some(options));
        let client =
            client.map_err(|error| VaultFailure::NotAVault(one_line(&error.to_string())))?;
        let options = SecretClientGetSecretOptions {
            secret_version: secret.version.clone(),
            ..SecretClientGetSecretOptions::default()
        };
        let answer = client.get_secret(&secret.name, Some(options)).await;
        let model = answer.map_err(|error| VaultFailure::of_sdk(&error))?.into_model();
        // The error is dropped: its text may contain pieces of the secret.
        let model =
            model.map_err(|_| VaultFailure::NotAVault("the answer is not a secret".to_owned()))?;
        as_secret(model.value.unwrap_or_default().into_bytes()).map_err(VaultFailure::Unusable)
    }

    async fn client(&self) -> Result<reqwest::Client, VaultFailure> {
        let client = self.client.get_or_try_init(async || {
            // Blocking: the builder reads the system's certificates.
            let client = spawn_blocking(|| {
                let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
                client.build()
            });
            let failed =
                |reason: String| VaultFailure::NotAVault(format!("TLS cannot be set up: {reason}"));
            let client = client.await.map_err(|error| failed(error.to_string()))?;
            client.map_err(|error| failed(error.to_string()))
        });
        client.await.cloned()
    }
}

/// The scope of tokens for a vault: its domain without its name, which depends on the cloud. The SDK
/// sends the token only if the vault asks for the same scope.
fn scope(vault: &str) -> String {
    let domain = vault.split_once('.').map_or("vault.azure.net", |(_, domain)| domain);
    let domain = domain.split([':', '/']).next().unwrap_or_default();
    format!("https://{domain}/.default")
}

#[cfg(test)]
mod tests {
    use super::scope;

    #[test]
    fn the_scope_of_a_token_is_of_the_cloud_of_the_vault() {
        for (vault, expected) in [
            ("https://north.vault.azure.net", "https://vault.azure.net/.default"),
            ("https://north.vault.azure.cn:443", "https://vault.azure.cn/.default"),
            ("https://n.vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net/.default"),
        ] {
            assert_eq!(scope(vault), expected);
        }
    }
}
