//! Errors of reading a secret from a vault, with exit codes and hints.

use std::error::Error;

use azure_core::error::ErrorKind;

use crate::config::{SecretError, VaultSecret};
use crate::exit_code;
use crate::identity::one_line::one_line;
use crate::identity::token::{TokenError, TokenErrorKind};

/// Why a secret in a vault cannot be used. No message contains any part of it.
#[derive(Debug, thiserror::Error)]
#[error("secret `{secret}` of {vault}: {failure}")]
pub struct VaultError {
    vault: String,
    /// The secret's name, with its version if the configuration names one.
    secret: String,
    credential: String,
    failure: VaultFailure,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum VaultFailure {
    #[error("{0}")]
    NoToken(TokenError),
    #[error("the vault cannot be reached: {0}")]
    Unreachable(String),
    #[error("the vault answered {status} ({code}): {message}")]
    Refused { status: u16, code: String, message: String },
    /// The answer is not that of this vault.
    #[error("{0}")]
    NotAVault(String),
    #[error("{0}")]
    Unusable(SecretError),
}

impl VaultError {
    pub(in crate::identity) fn unusable(secret: &VaultSecret, error: SecretError) -> Self {
        Self::new(secret, VaultFailure::Unusable(error))
    }

    pub(super) fn new(reference: &VaultSecret, failure: VaultFailure) -> Self {
        let secret = match &reference.version {
            Some(version) => format!("{}/{version}", reference.name),
            None => reference.name.clone(),
        };
        let (vault, credential) = (reference.vault.clone(), reference.credential.clone());
        Self { vault, secret, credential, failure }
    }

    /// True if the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match &self.failure {
            VaultFailure::NoToken(error) => error.kind == TokenErrorKind::Unreachable,
            VaultFailure::Unreachable(_) => true,
            VaultFailure::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            VaultFailure::NotAVault(_) | VaultFailure::Unusable(_) => false,
        }
    }

    /// The exit code of a start that fails with this error.
    pub fn exit_code(&self) -> u8 {
        match &self.failure {
            _ if self.is_transient() => exit_code::UNREACHABLE,
            VaultFailure::NoToken(_) | VaultFailure::Refused { status: 401 | 403, .. } => {
                exit_code::DENIED
            }
            VaultFailure::Refused { status: 404, .. } => exit_code::MISSING,
            VaultFailure::Unusable(_) => exit_code::CONFIG,
            _ => exit_code::FAILED,
        }
    }

    /// What the operator can do.
    pub fn hint(&self) -> String {
        let credential = &self.credential;
        match &self.failure {
            VaultFailure::NoToken(error) => error.hint(),
            VaultFailure::Unreachable(_) => {
                "Check the vault's address, the network to it, and that this machine trusts the \
                 authority of its certificate."
                    .to_owned()
            }
            VaultFailure::Refused { status: 401, .. } => {
                format!("Check that credential `{credential}` belongs to the tenant of the vault.")
            }
            VaultFailure::Refused { status: 403, code, .. } => forbidden(code, credential),
            VaultFailure::Refused { status: 404, .. } => {
                "Check the name and the version: the vault has no such secret, or it was deleted."
                    .to_owned()
            }
            VaultFailure::Refused { status: 429, .. } => {
                "The vault receives too many requests from all its clients. Wait a minute."
                    .to_owned()
            }
            VaultFailure::Refused { .. } => "Ask the operator of the vault, or wait.".to_owned(),
            VaultFailure::NotAVault(_) => {
                "Check the vault's address, and proxies between the bridge and the vault."
                    .to_owned()
            }
            VaultFailure::Unusable(error) => error.hint().to_owned(),
        }
    }
}

/// The remedy for a 403, by the service's own code.
///
/// <https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>
fn forbidden(code: &str, credential: &str) -> String {
    match code {
        "SecretDisabled" => "Enable the secret in the vault, or name another version.".to_owned(),
        "ForbiddenByFirewall" | "ForbiddenByConnection" => {
            "Allow the bridge's network in the firewall of the vault, or give the vault a private \
             endpoint in that network."
                .to_owned()
        }
        _ => format!(
            "Give credential `{credential}` the role \"Key Vault Secrets User\" on the vault; where \
             the vault has access policies, the permission \"get\" for secrets. A new \
             assignment takes some minutes."
        ),
    }
}

impl VaultFailure {
    /// Converts an error of the SDK, with the message of the vault.
    pub(super) fn of_sdk(error: &azure_core::Error) -> Self {
        match error.kind() {
            ErrorKind::HttpResponse { status, raw_response, .. } => {
                let body = raw_response.as_ref().map(|raw| raw.body().as_ref()).unwrap_or_default();
                let ServiceError { code, message } = ServiceError::parse(body);
                Self::Refused { status: u16::from(*status), code, message }
            }
            ErrorKind::Io | ErrorKind::Connection => {
                let mut cause: &dyn Error = error;
                while let Some(deeper) = cause.source() {
                    cause = deeper;
                }
                Self::Unreachable(one_line(&cause.to_string()))
            }
            _ => {
                let text = one_line(&error.to_string());
                // The SDK's text continues with how to disable its check of the scope.
                let text = text.split(". Set verify_").next().unwrap_or_default();
                Self::NotAVault(text.to_owned())
            }
        }
    }
}

/// The body of an error answer. Parsed here because the SDK cannot parse a message with an escape
/// sequence, such as a line break.
#[derive(Debug, PartialEq)]
struct ServiceError {
    code: String,
    /// On one line.
    message: String,
}

impl ServiceError {
    fn parse(body: &[u8]) -> Self {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |pointer: &str| body.pointer(pointer)?.as_str().map(one_line);
        // The inner code distinguishes errors of one status; the service spells its key in two ways.
        let code = text("/error/innererror/code").or_else(|| text("/error/innerError/code"));
        let code = code.or_else(|| text("/error/code")).unwrap_or_else(|| "no code".to_owned());
        let message = text("/error/message").unwrap_or_else(|| "no message".to_owned());
        Self { code, message: message.split_whitespace().collect::<Vec<_>>().join(" ") }
    }
}

#[cfg(test)]
mod tests {
    use super::{ServiceError, VaultError, VaultFailure};
    use crate::config::{SecretError, VaultSecret};
    use crate::exit_code;
    use crate::identity::token::{TokenError, TokenErrorKind};

    fn error(failure: VaultFailure) -> VaultError {
        let secret = VaultSecret {
            vault: "https://north.vault.azure.net".to_owned(),
            name: "cosmos-key".to_owned(),
            version: None,
            credential: "bridge".to_owned(),
        };
        VaultError::new(&secret, failure)
    }

    fn refused(status: u16, code: &str) -> VaultError {
        let (code, message) = (code.to_owned(), String::new());
        error(VaultFailure::Refused { status, code, message })
    }

    #[test]
    fn hint_and_exit_code_fit_the_failure() {
        let no_token =
            |kind| error(VaultFailure::NoToken(TokenError::new(kind, "AADSTS1: unknown")));
        let unreachable = VaultFailure::Unreachable("connection refused".to_owned());
        for (error, code, transient, hint) in [
            (no_token(TokenErrorKind::Unreachable), exit_code::UNREACHABLE, true, "network"),
            (no_token(TokenErrorKind::Refused), exit_code::DENIED, false, "client_id"),
            (error(unreachable), exit_code::UNREACHABLE, true, "network"),
            (
                refused(401, "Unauthorized"),
                exit_code::DENIED,
                false,
                "`bridge` belongs to the tenant",
            ),
            (refused(403, "ForbiddenByRbac"), exit_code::DENIED, false, "Key Vault Secrets User"),
            (refused(403, "AccessDenied"), exit_code::DENIED, false, "Key Vault Secrets User"),
            (refused(403, "ForbiddenByFirewall"), exit_code::DENIED, false, "firewall"),
            (refused(403, "SecretDisabled"), exit_code::DENIED, false, "Enable"),
            (refused(404, "SecretNotFound"), exit_code::MISSING, false, "no such secret"),
            (refused(429, "Throttled"), exit_code::UNREACHABLE, true, "too many requests"),
            (refused(503, "no code"), exit_code::UNREACHABLE, true, "wait"),
            (refused(400, "BadParameter"), exit_code::FAILED, false, "operator"),
            (error(VaultFailure::NotAVault(String::new())), exit_code::FAILED, false, "address"),
            (error(VaultFailure::Unusable(SecretError::Empty)), exit_code::CONFIG, false, "Put"),
        ] {
            assert_eq!(error.exit_code(), code, "{error}");
            assert_eq!(error.is_transient(), transient, "{error}");
            assert!(error.hint().contains(hint), "{error}: {}", error.hint());
        }
    }

    #[test]
    fn an_error_answer_becomes_one_line_with_its_own_code() {
        let forbidden = r#"{"error":{"code":"Forbidden","message":"No.\r\nCaller: a","#;
        for (body, code, message) in [
            (
                format!("{forbidden}\"innererror\":{{\"code\":\"ForbiddenByRbac\"}}}}}}"),
                "ForbiddenByRbac",
                "No. Caller: a",
            ),
            (
                format!("{forbidden}\"innerError\":{{\"code\":\"SecretDisabled\"}}}}}}"),
                "SecretDisabled",
                "No. Caller: a",
            ),
            (r#"{"error":{"code":"SecretNotFound"}}"#.to_owned(), "SecretNotFound", "no message"),
            ("<html>".to_owned(), "no code", "no message"),
        ] {
            let expected = ServiceError { code: code.to_owned(), message: message.to_owned() };
            assert_eq!(ServiceError::parse(body.as_bytes()), expected);
        }
    }
}
