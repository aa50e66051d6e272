//! Requests tokens from Microsoft Entra ID, or from the machine's identity endpoint.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::{Secret as SdkSecret, TokenCredential};
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use tokio::task::spawn_blocking;

use super::certificate::Certificate;
use super::issuer::Issuer;
use super::one_line::one_line;
use super::token::{Token, TokenError, TokenErrorKind};
use crate::config::{self, Credential, EntraOptions, LocalSecret};

/// Longest wait for one answer of an authority.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// The authority of the public cloud, unless the file or the environment names another.
const AUTHORITY: &str = "https://login.microsoftonline.com";

/// One of the `[credentials]`.
///
/// Its secret, certificate or token file is read for each token, so that a rotated one is used from
/// then on. A credential of the SDK is built for each request, so that the SDK's caches and retries
/// are never used: [`TokenCache`](super::token_cache::TokenCache) has both.
#[derive(Clone)]
pub(super) struct Entra {
    credential: Arc<Credential>,
}

impl Entra {
    pub(super) fn new(credential: Credential) -> Self {
        Self { credential: Arc::new(credential) }
    }

    /// Type and tenant, for messages.
    pub(super) fn description(&self) -> String {
        let (kind, tenant) = match &*self.credential {
            Credential::ManagedIdentity(identity) => {
                let which = identity.client_id.as_ref().map_or_else(
                    || "system-assigned".to_owned(),
                    |id| format!("user-assigned {id}"),
                );
                return format!("managed identity, {which}");
            }
            Credential::WorkloadIdentity(identity) => {
                ("workload identity", identity.tenant.as_ref())
            }
            Credential::ClientSecret(application) => ("client secret", Some(&application.tenant)),
            Credential::ClientCertificate(application) => {
                ("client certificate", Some(&application.tenant))
            }
            Credential::AzureCli(user) => ("Azure CLI", user.tenant.as_ref()),
        };
        match tenant {
            Some(tenant) => format!("{kind}, tenant {tenant}"),
            None => kind.to_owned(),
        }
    }

    /// Builds a credential of the SDK. Reads files.
    fn build(&self) -> Result<Arc<dyn TokenCredential>, TokenError> {
        let built: azure_core::Result<Arc<dyn TokenCredential>> = match &*self.credential {
            Credential::ManagedIdentity(identity) => {
                let options = ManagedIdentityCredentialOptions {
                    user_assigned_id: identity.client_id.clone().map(UserAssignedId::ClientId),
                    client_options: self.client_options()?,
                };
                ManagedIdentityCredential::new(Some(options)).map(|built| built as _)
            }
            Credential::WorkloadIdentity(identity) => {
                let options = WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions {
                        client_options: self.client_options()?,
                    },
                    client_id: identity.client_id.clone(),
                    tenant_id: identity.tenant.clone(),
                    token_file_path: identity.token_file.clone(),
                };
                WorkloadIdentityCredential::new(Some(options)).map(|built| built as _)
            }
            Credential::ClientSecret(application) => {
                let config::ClientSecret { tenant, client_id, secret, .. } = application;
                let options =
                    ClientSecretCredentialOptions { client_options: self.client_options()? };
                let secret = SdkSecret::new(read("secret", secret)?.expose().to_owned());
                ClientSecretCredential::new(tenant, client_id.clone(), secret, Some(options))
                    .map(|built| built as _)
            }
            Credential::ClientCertificate(application) => {
                let config::ClientCertificate { tenant, client_id, certificate, .. } = application;
                let options =
                    ClientAssertionCredentialOptions { client_options: self.client_options()? };
                let authority = self.authority();
                let audience =
                    format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
                let pem = read("certificate", certificate)?;
                let certificate = Certificate::read(&pem, client_id, audience)?;
                let (tenant, client_id) = (tenant.clone(), client_id.clone());
                ClientAssertionCredential::new(tenant, client_id, certificate, Some(options))
                    .map(|built| built as _)
            }
            Credential::AzureCli(user) => {
                let options = AzureCliCredentialOptions {
                    tenant_id: user.tenant.clone(),
                    ..Default::default()
                };
                AzureCliCredential::new(Some(options)).map(|built| built as _)
            }
        };
        built.map_err(|error| TokenError::new(TokenErrorKind::Setup, one_line(&error.to_string())))
    }

    /// An option of how Entra ID is reached.
    fn entra<T>(&self, option: fn(&EntraOptions) -> &Option<T>) -> Option<&T> {
        self.credential.entra().and_then(|entra| option(entra).as_ref())
    }

    /// Options for one attempt without retries, which the token cache makes.
    fn client_options(&self) -> Result<ClientOptions, TokenError> {
        let mut options = ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(Transport::new(Arc::new(self.client()?))),
            ..ClientOptions::default()
        };
        if let Some(authority) = self.entra(|entra| &entra.authority) {
            let mut cloud = CustomConfiguration::default();
            cloud.authority_host.clone_from(authority);
            options.cloud = Some(Arc::new(cloud.into()));
        }
        Ok(options)
    }

    fn client(&self) -> Result<reqwest::Client, TokenError> {
        let setup = |message: String| TokenError::new(TokenErrorKind::Setup, message);
        let mut client = reqwest::Client::builder()
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(file) = self.entra(|entra| &entra.ca_file) {
            let pem = std::fs::read(file)
                .map_err(|error| setup(format!("{}: {error}", file.display())))?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|roots| !roots.is_empty())
                .ok_or_else(|| setup(format!("{} contains no certificate", file.display())))?;
            client = client.tls_certs_merge(roots);
        }
        client.build().map_err(|error| setup(format!("TLS cannot be set up: {error}")))
    }

    #[expect(clippy::disallowed_methods, reason = "the standard variable of Entra clients")]
    fn authority(&self) -> String {
        let environment = || std::env::var("AZURE_AUTHORITY_HOST").ok();
        let named = self.entra(|entra| &entra.authority).cloned().or_else(environment);
        named.unwrap_or_else(|| AUTHORITY.to_owned())
    }
}

#[async_trait]
impl Issuer for Entra {
    async fn issue(&self, scope: &str) -> Result<Token, TokenError> {
        // Files may be on a disk that hangs.
        let this = self.clone();
        let built = spawn_blocking(move || this.build()).await.map_err(|error| {
            TokenError::new(TokenErrorKind::Setup, format!("internal error (bug): {error}"))
        })?;
        let token = built?.get_token(&[scope], None).await.map_err(|error| token_error(&error))?;
        Ok(Token::new(token.token.secret(), token.expires_on.into()))
    }
}

fn read(option: &str, reference: &LocalSecret) -> Result<config::Secret, TokenError> {
    reference.read().map_err(|error| {
        let message = format!("`{option}` cannot be used: {error}");
        TokenError::new(TokenErrorKind::Setup, message)
    })
}

/// Converts an error of the SDK, without its link to a troubleshooting page.
fn token_error(error: &azure_core::Error) -> TokenError {
    let mut cause: &dyn std::error::Error = error;
    let mut kind = TokenErrorKind::Refused;
    let mut causes = Vec::new();
    while let Some(deeper) = cause.source() {
        if let Some(sdk) = deeper.downcast_ref::<azure_core::Error>() {
            match sdk.kind() {
                ErrorKind::HttpResponse { status, .. } if u16::from(*status) >= 500 => {
                    kind = TokenErrorKind::Unreachable;
                }
                ErrorKind::Io | ErrorKind::Connection => kind = TokenErrorKind::Unreachable,
                _ => {}
            }
        }
        causes.push(deeper.to_string());
        cause = deeper;
    }
    let text = error.to_string();
    let text = text.split("\nTo troubleshoot").next().unwrap_or_default();
    // Without an answer, only the root cause says what happened.
    let message = match causes.last() {
        Some(root) if kind == TokenErrorKind::Unreachable && !text.contains(root.as_str()) => {
            format!("{text}: {root}")
        }
        _ => text.to_owned(),
    };
    TokenError::new(kind, one_line(&message))
}
