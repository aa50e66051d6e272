//! Asks Microsoft Entra ID, or what speaks for it on this machine, for tokens.

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
use super::{Issuer, Token, TokenError, TokenProblem};
use crate::config::{Credential, CredentialKind, LocalSecret};

/// Longest wait for one answer of an authority.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// The public cloud's, where neither the file nor the environment names another.
const AUTHORITY: &str = "https://login.microsoftonline.com";

/// Longest text of an authority that is passed on to people.
const MESSAGE_CHARS_MAX: usize = 400;

/// One of the `[credentials]`.
///
/// Whatever it is proved with is read anew for each token, so that what was rotated is used from
/// then on. Tokens are kept elsewhere: the SDK's own credentials are made for one request each, and
/// their caches and repetitions never come into play.
#[derive(Clone)]
pub(super) struct Entra {
    credential: Arc<Credential>,
}

impl Entra {
    pub(super) fn new(credential: Credential) -> Self {
        Self { credential: Arc::new(credential) }
    }

    /// Type and tenant, for people.
    pub(super) fn who(&self) -> String {
        let (kind, tenant) = match &self.credential.kind {
            CredentialKind::ManagedIdentity { client_id } => {
                let which = client_id.as_ref().map_or_else(
                    || "system-assigned".to_owned(),
                    |id| format!("user-assigned {id}"),
                );
                return format!("managed identity, {which}");
            }
            CredentialKind::WorkloadIdentity { tenant, .. } => {
                ("workload identity", tenant.as_ref())
            }
            CredentialKind::ClientSecret { tenant, .. } => ("client secret", Some(tenant)),
            CredentialKind::ClientCertificate { tenant, .. } => {
                ("client certificate", Some(tenant))
            }
            CredentialKind::AzureCli { tenant } => ("Azure CLI", tenant.as_ref()),
        };
        match tenant {
            Some(tenant) => format!("{kind}, tenant {tenant}"),
            None => kind.to_owned(),
        }
    }

    /// The SDK's credential, with what it needs read now. Reads files.
    fn prepare(&self) -> Result<Arc<dyn TokenCredential>, TokenError> {
        let made: azure_core::Result<Arc<dyn TokenCredential>> = match &self.credential.kind {
            CredentialKind::ManagedIdentity { client_id } => {
                let options = ManagedIdentityCredentialOptions {
                    user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
                    client_options: self.client_options()?,
                };
                ManagedIdentityCredential::new(Some(options)).map(|made| made as _)
            }
            CredentialKind::WorkloadIdentity { tenant, client_id, token_file } => {
                let options = WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions {
                        client_options: self.client_options()?,
                    },
                    client_id: client_id.clone(),
                    tenant_id: tenant.clone(),
                    token_file_path: token_file.clone(),
                };
                WorkloadIdentityCredential::new(Some(options)).map(|made| made as _)
            }
            CredentialKind::ClientSecret { tenant, client_id, secret } => {
                let options =
                    ClientSecretCredentialOptions { client_options: self.client_options()? };
                let secret = SdkSecret::new(read("secret", secret)?.expose().to_owned());
                ClientSecretCredential::new(tenant, client_id.clone(), secret, Some(options))
                    .map(|made| made as _)
            }
            CredentialKind::ClientCertificate { tenant, client_id, certificate } => {
                let options =
                    ClientAssertionCredentialOptions { client_options: self.client_options()? };
                let authority = self.authority();
                let audience =
                    format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
                let pem = read("certificate", certificate)?;
                let certificate = Certificate::read(&pem, client_id, audience)?;
                let (tenant, client_id) = (tenant.clone(), client_id.clone());
                ClientAssertionCredential::new(tenant, client_id, certificate, Some(options))
                    .map(|made| made as _)
            }
            CredentialKind::AzureCli { tenant } => {
                let options =
                    AzureCliCredentialOptions { tenant_id: tenant.clone(), ..Default::default() };
                AzureCliCredential::new(Some(options)).map(|made| made as _)
            }
        };
        made.map_err(|error| TokenError::new(TokenProblem::Setup, told(&error.to_string())))
    }

    /// One attempt and no more: pauses are the business of whoever keeps the tokens.
    fn client_options(&self) -> Result<ClientOptions, TokenError> {
        let mut options = ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(Transport::new(Arc::new(self.client()?))),
            ..ClientOptions::default()
        };
        if let Some(authority) = &self.credential.authority {
            let mut cloud = CustomConfiguration::default();
            cloud.authority_host.clone_from(authority);
            options.cloud = Some(Arc::new(cloud.into()));
        }
        Ok(options)
    }

    fn client(&self) -> Result<reqwest::Client, TokenError> {
        let setup = |message: String| TokenError::new(TokenProblem::Setup, message);
        let mut client = reqwest::Client::builder()
            .timeout(ANSWERED_WITHIN)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(file) = &self.credential.ca_file {
            let pem = std::fs::read(file)
                .map_err(|error| setup(format!("{}: {error}", file.display())))?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|roots| !roots.is_empty())
                .ok_or_else(|| setup(format!("{} holds no certificate", file.display())))?;
            client = client.tls_certs_merge(roots);
        }
        client.build().map_err(|error| setup(format!("TLS cannot be set up: {error}")))
    }

    #[expect(clippy::disallowed_methods, reason = "the variable that every client of Entra knows")]
    fn authority(&self) -> String {
        let environment = || std::env::var("AZURE_AUTHORITY_HOST").ok();
        let named = self.credential.authority.clone().or_else(environment);
        named.unwrap_or_else(|| AUTHORITY.to_owned())
    }
}

#[async_trait]
impl Issuer for Entra {
    async fn issue(&self, scope: &str) -> Result<Token, TokenError> {
        // Files may be on a disk that does not answer.
        let this = self.clone();
        let prepared = spawn_blocking(move || this.prepare()).await.map_err(|error| {
            TokenError::new(TokenProblem::Setup, format!("a defect of the bridge: {error}"))
        })?;
        let token = prepared?.get_token(&[scope], None).await.map_err(|error| problem(&error))?;
        Ok(Token::new(token.token.secret(), token.expires_on.into()))
    }
}

fn read(option: &str, place: &LocalSecret) -> Result<crate::config::Secret, TokenError> {
    place.read().map_err(|error| {
        let message = format!("`{option}` cannot be used: {error}");
        TokenError::new(TokenProblem::Setup, message)
    })
}

/// An error of the SDK: what was said, without where the vendor would have people look.
fn problem(error: &azure_core::Error) -> TokenError {
    let mut cause: &dyn std::error::Error = error;
    let mut problem = TokenProblem::Refused;
    let mut causes = Vec::new();
    while let Some(deeper) = cause.source() {
        if let Some(sdk) = deeper.downcast_ref::<azure_core::Error>() {
            match sdk.kind() {
                ErrorKind::HttpResponse { status, .. } if u16::from(*status) >= 500 => {
                    problem = TokenProblem::Unreachable;
                }
                ErrorKind::Io | ErrorKind::Connection => problem = TokenProblem::Unreachable,
                _ => {}
            }
        }
        causes.push(deeper.to_string());
        cause = deeper;
    }
    let said = error.to_string();
    let said = said.split("\nTo troubleshoot").next().unwrap_or_default();
    // Where no answer came the root of the chain is the whole story.
    let message = match causes.last() {
        Some(root) if problem == TokenProblem::Unreachable && !said.contains(root.as_str()) => {
            format!("{said}: {root}")
        }
        _ => said.to_owned(),
    };
    TokenError::new(problem, told(&message))
}

/// One line for a log, whatever was sent.
pub(super) fn told(message: &str) -> String {
    let flat =
        message.chars().take(MESSAGE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c });
    flat.collect()
}
