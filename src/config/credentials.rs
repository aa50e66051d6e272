//! `[credentials.NAME]`: one identity in one tenant, for any number of accounts and sinks.

use std::path::PathBuf;

use cosmos_bridge_options::{
    Kind, LocalSecret, file, local_secret, options, text, text_of, variants,
};

variants! {
    /// How the bridge authenticates to Microsoft Entra ID.
    pub enum Credential by "type" if_missing(
        "Write \"managed-identity\", or another way to authenticate."
    ) {
        /// The identity of the machine, which Azure gives to virtual machines, Container Apps and App
        /// Service.
        "managed-identity" => ManagedIdentity(ManagedIdentity),
        /// The identity of a pod in Kubernetes. What is not written is taken from the environment, where
        /// the webhook of workload identity puts it.
        "workload-identity" => WorkloadIdentity(WorkloadIdentity),
        /// A registered application, with a secret.
        "client-secret" => ClientSecret(ClientSecret),
        /// A registered application, with a certificate.
        "client-certificate" => ClientCertificate(ClientCertificate),
        /// The user who is logged in with `az` on this machine; for trials.
        "azure-cli" => AzureCli(AzureCli),
    }
}

options! {
    pub struct ManagedIdentity {
        /// The client id of a user-assigned identity; the system-assigned one if not written.
        client_id: Option<String> = optional, text(), example "00000000-0000-0000-0000-000000000000";
    }
}

options! {
    pub struct WorkloadIdentity {
        /// The tenant's id, or one of its domains.
        tenant: Option<String> = optional, tenant(), example "north.example";
        /// The application's (client) id.
        client_id: Option<String> = optional, text(), example "00000000-0000-0000-0000-000000000000";
        /// The file of the pod's token.
        token_file: Option<PathBuf> = optional, file(),
            example "/var/run/secrets/azure/tokens/azure-identity-token";
        entra: EntraOptions = flatten;
    }
}

options! {
    pub struct ClientSecret {
        /// The tenant's id, or one of its domains.
        tenant: String = required(TENANT), tenant();
        /// The application's (client) id.
        client_id: String = required(CLIENT_ID), text();
        /// The application's secret, which is not in a key vault.
        secret: LocalSecret = required("Write secret = { file = \"PATH\" }."), proof();
        entra: EntraOptions = flatten;
    }
}

options! {
    pub struct ClientCertificate {
        /// The tenant's id, or one of its domains.
        tenant: String = required(TENANT), tenant();
        /// The application's (client) id.
        client_id: String = required(CLIENT_ID), text();
        /// A PEM file with an RSA key and its certificate, which is not in a key vault.
        certificate: LocalSecret = required(
            "Write certificate = { file = \"PATH\" }, of a PEM file with key and certificate."
        ), proof();
        entra: EntraOptions = flatten;
    }
}

options! {
    pub struct AzureCli {
        /// The tenant's id, or one of its domains.
        tenant: Option<String> = optional, tenant(), example "north.example";
    }
}

options! {
    /// How Microsoft Entra ID is reached.
    pub struct EntraOptions {
        /// Where tokens are requested; AZURE_AUTHORITY_HOST of the environment, or the public cloud's, if
        /// not written.
        authority: Option<String> = optional, authority(), example "https://login.microsoftonline.us";
        /// Authorities of TLS to trust in addition to the system's, for token requests; in PEM form.
        ca_file: Option<PathBuf> = optional, file(), example "authority.pem";
    }
}

const TENANT: &str = "Write the tenant's id, or one of its domains.";
const CLIENT_ID: &str = "Write the application's (client) id.";

impl Credential {
    /// How Entra ID is reached, for the types that reach it themselves.
    pub fn entra(&self) -> Option<&EntraOptions> {
        match self {
            Self::WorkloadIdentity(identity) => Some(&identity.entra),
            Self::ClientSecret(application) => Some(&application.entra),
            Self::ClientCertificate(application) => Some(&application.entra),
            Self::ManagedIdentity(_) | Self::AzureCli(_) => None,
        }
    }
}

/// A secret that can be read now, without a credential.
fn proof() -> impl Kind<Output = LocalSecret> {
    local_secret(
        "the secret of a credential cannot be in a key vault",
        "It takes a credential to read a vault. Write { file = \"PATH\" } or { env = \"VARIABLE\" }.",
    )
}

/// The SDK takes letters, digits, `.` and `-`.
fn tenant() -> impl Kind<Output = String> {
    text_of("a tenant", |value, text| {
        if !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-') {
            let hint = "Write the tenant's id as the portal shows it, or one of its domains.";
            value.problem("invalid tenant", hint);
            return None;
        }
        Some(text)
    })
}

fn authority() -> impl Kind<Output = String> {
    const HINT: &str =
        "Write it like \"https://login.microsoftonline.com\"; the tenant is a separate option.";
    text_of("a web address", |value, text| {
        let url = url::Url::parse(&text).ok().filter(|url| {
            url.scheme() == "https"
                && url.host().is_some()
                && url.path() == "/"
                && url.query().is_none()
                && url.username().is_empty()
        });
        if url.is_none() {
            value.problem("invalid address of an authority", HINT);
        }
        url.map(|_| text)
    })
}
