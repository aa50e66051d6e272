//! `[credentials.<name>]`: who the bridge is for Microsoft Entra ID.

use std::path::PathBuf;

use super::LocalSecret;
use super::reader::Value;
use super::table::Table;

/// `[credentials.<name>]`: one identity in one tenant, for any number of accounts and sinks.
#[derive(Clone, Debug, PartialEq)]
pub struct Credential {
    pub kind: CredentialKind,
    /// Where tokens are asked for, `https://login.microsoftonline.com`; `None` takes that of the
    /// environment (`AZURE_AUTHORITY_HOST`), or the public cloud's.
    pub authority: Option<String>,
    /// Authorities of TLS to trust beside the system's, when tokens are asked for; PEM.
    pub ca_file: Option<PathBuf>,
}

/// How the identity is proved.
#[derive(Clone, Debug, PartialEq)]
pub enum CredentialKind {
    /// By the machine: system-assigned, or user-assigned with a client id.
    ManagedIdentity { client_id: Option<String> },
    /// By a token of Kubernetes; what is `None` is taken from the pod's environment, where the
    /// webhook of workload identity puts it.
    WorkloadIdentity {
        tenant: Option<String>,
        client_id: Option<String>,
        token_file: Option<PathBuf>,
    },
    ClientSecret {
        tenant: String,
        client_id: String,
        /// Never in a vault, as the next one: it takes a credential to read one.
        secret: LocalSecret,
    },
    /// PEM: an RSA key and its certificate.
    ClientCertificate { tenant: String, client_id: String, certificate: LocalSecret },
    /// Whoever is logged in with `az`, for trials.
    AzureCli { tenant: Option<String> },
}

#[derive(Clone, Copy)]
enum Type {
    ManagedIdentity,
    WorkloadIdentity,
    ClientSecret,
    ClientCertificate,
    AzureCli,
}

impl Credential {
    /// The secret that it is proved with, where the configuration names one.
    pub(super) fn secret(&self) -> Option<&LocalSecret> {
        match &self.kind {
            CredentialKind::ClientSecret { secret, .. } => Some(secret),
            CredentialKind::ClientCertificate { certificate, .. } => Some(certificate),
            CredentialKind::ManagedIdentity { .. }
            | CredentialKind::WorkloadIdentity { .. }
            | CredentialKind::AzureCli { .. } => None,
        }
    }
}

pub(super) fn credential(value: &Value<'_>) -> Option<Credential> {
    let table = value.table("a table", "")?;
    // What belongs to which type is not known without it: everything else waits for it.
    let Some(written) = table.get("type") else {
        let hint = "Write \"managed-identity\", or how else the bridge proves who it is.";
        value.keyed(format!("{}.type", value.key)).problem_unshown("this is missing", hint);
        return None;
    };
    let chosen = written.choice(&[
        ("managed-identity", Type::ManagedIdentity),
        ("workload-identity", Type::WorkloadIdentity),
        ("client-secret", Type::ClientSecret),
        ("client-certificate", Type::ClientCertificate),
        ("azure-cli", Type::AzureCli),
    ])?;
    let kind = kind(&table, chosen);
    let asks_entra = !matches!(chosen, Type::ManagedIdentity | Type::AzureCli);
    let authority = if asks_entra { table.maybe("authority", authority) } else { Some(None) };
    let ca_file = if asks_entra { table.maybe("ca_file", Value::file) } else { Some(None) };
    table.finish();
    Some(Credential { kind: kind?, authority: authority?, ca_file: ca_file? })
}

fn kind(table: &Table<'_>, chosen: Type) -> Option<CredentialKind> {
    match chosen {
        Type::ManagedIdentity => {
            let client_id = table.maybe("client_id", Value::filled)?;
            Some(CredentialKind::ManagedIdentity { client_id })
        }
        Type::WorkloadIdentity => {
            let tenant = table.maybe("tenant", tenant);
            let client_id = table.maybe("client_id", Value::filled);
            let token_file = table.maybe("token_file", Value::file);
            Some(CredentialKind::WorkloadIdentity {
                tenant: tenant?,
                client_id: client_id?,
                token_file: token_file?,
            })
        }
        Type::ClientSecret => {
            let (tenant, client_id) = application(table);
            let secret = secret(table, "secret", "Write secret = { file = \"PATH\" }.");
            Some(CredentialKind::ClientSecret {
                tenant: tenant?,
                client_id: client_id?,
                secret: secret?,
            })
        }
        Type::ClientCertificate => {
            let (tenant, client_id) = application(table);
            let hint = "Write certificate = { file = \"PATH\" }, of a PEM file with key and \
                        certificate.";
            let certificate = secret(table, "certificate", hint);
            Some(CredentialKind::ClientCertificate {
                tenant: tenant?,
                client_id: client_id?,
                certificate: certificate?,
            })
        }
        Type::AzureCli => Some(CredentialKind::AzureCli { tenant: table.maybe("tenant", tenant)? }),
    }
}

/// Tenant and client id of an application that was registered.
fn application(table: &Table<'_>) -> (Option<String>, Option<String>) {
    let tenant = table
        .required("tenant", "Write the tenant's id, or one of its domains.")
        .and_then(|value| tenant(&value));
    let client_id = table
        .required("client_id", "Write the application's (client) id.")
        .and_then(|value| value.filled());
    (tenant, client_id)
}

/// A reference to a secret that can be read now.
fn secret(table: &Table<'_>, key: &'static str, hint: &str) -> Option<LocalSecret> {
    table.required(key, hint)?.local_secret(
        "the secret of a credential cannot be in a key vault",
        "It takes a credential to read a vault. Write { file = \"PATH\" } or { env = \"VARIABLE\" }.",
    )
}

/// The SDK takes letters, digits, `.` and `-`.
fn tenant(value: &Value<'_>) -> Option<String> {
    let text = value.filled()?;
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-') {
        let hint = "Write the tenant's id as the portal shows it, or one of its domains.";
        value.problem("this is no tenant", hint);
        return None;
    }
    Some(text)
}

fn authority(value: &Value<'_>) -> Option<String> {
    const HINT: &str =
        "Write it like \"https://login.microsoftonline.com\"; the tenant stands apart.";
    let text = value.filled()?;
    let url = url::Url::parse(&text).ok().filter(|url| {
        url.scheme() == "https"
            && url.host().is_some()
            && url.path() == "/"
            && url.query().is_none()
            && url.username().is_empty()
    });
    if url.is_none() {
        value.problem("this is no address of an authority", HINT);
        return None;
    }
    Some(text)
}
