//! What can be wrong with a secret in a vault, and what to do about it.

use std::error::Error;

use azure_core::error::ErrorKind;

use crate::config::{SecretError, VaultSecret};
use crate::exit_code;
use crate::identity::entra::told;
use crate::identity::{TokenError, TokenProblem};

/// Why a secret in a vault cannot be used. No message holds any of it.
#[derive(Debug, thiserror::Error)]
#[error("secret `{secret}` of {vault}: {problem}")]
pub struct VaultError {
    vault: String,
    /// The secret's name, with its version where one is asked for.
    secret: String,
    credential: String,
    problem: VaultProblem,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum VaultProblem {
    #[error("{0}")]
    NoToken(TokenError),
    #[error("the vault cannot be reached: {0}")]
    Unreachable(String),
    #[error("the vault answered {status} ({code}): {message}")]
    Refused { status: u16, code: String, message: String },
    /// What answers is no vault, or not this one.
    #[error("{0}")]
    Stranger(String),
    #[error("{0}")]
    Unusable(SecretError),
}

impl VaultError {
    pub(in crate::identity) fn unusable(place: &VaultSecret, error: SecretError) -> Self {
        Self::new(place, VaultProblem::Unusable(error))
    }

    pub(super) fn new(place: &VaultSecret, problem: VaultProblem) -> Self {
        let secret = match &place.version {
            Some(version) => format!("{}/{version}", place.name),
            None => place.name.clone(),
        };
        let (vault, credential) = (place.vault.clone(), place.credential.clone());
        Self { vault, secret, credential, problem }
    }

    /// Whether waiting can help.
    pub fn is_transient(&self) -> bool {
        match &self.problem {
            VaultProblem::NoToken(error) => error.problem == TokenProblem::Unreachable,
            VaultProblem::Unreachable(_) => true,
            VaultProblem::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            VaultProblem::Stranger(_) | VaultProblem::Unusable(_) => false,
        }
    }

    /// Of a start that ends with it.
    pub fn exit_code(&self) -> u8 {
        match &self.problem {
            _ if self.is_transient() => exit_code::UNREACHABLE,
            VaultProblem::NoToken(_) | VaultProblem::Refused { status: 401 | 403, .. } => {
                exit_code::DENIED
            }
            VaultProblem::Refused { status: 404, .. } => exit_code::MISSING,
            VaultProblem::Unusable(_) => exit_code::CONFIG,
            _ => exit_code::FAILED,
        }
    }

    /// A sentence that says what to do.
    pub fn hint(&self) -> String {
        let credential = &self.credential;
        match &self.problem {
            VaultProblem::NoToken(error) => error.hint(),
            VaultProblem::Unreachable(_) => {
                "Check the vault's address, the network to it, and that this machine trusts the \
                 authority of its certificate."
                    .to_owned()
            }
            VaultProblem::Refused { status: 401, .. } => {
                format!("Check that credential `{credential}` is of the tenant of the vault.")
            }
            VaultProblem::Refused { status: 403, code, .. } => forbidden(code, credential),
            VaultProblem::Refused { status: 404, .. } => {
                "Check the name and the version: the vault has no such secret, or it was deleted."
                    .to_owned()
            }
            VaultProblem::Refused { status: 429, .. } => {
                "The vault is asked too often, by all who use it together. Wait a minute."
                    .to_owned()
            }
            VaultProblem::Refused { .. } => "Ask the vault's operator, or wait.".to_owned(),
            VaultProblem::Stranger(_) => {
                "Check the vault's address, and what stands between here and there.".to_owned()
            }
            VaultProblem::Unusable(error) => error.hint().to_owned(),
        }
    }
}

/// What mends a 403, by the service's own code.
///
/// <https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>
fn forbidden(code: &str, credential: &str) -> String {
    match code {
        "SecretDisabled" => "Enable the secret in the vault, or name another version.".to_owned(),
        "ForbiddenByFirewall" | "ForbiddenByConnection" => {
            "Let the bridge's network through the firewall of the vault, or give the vault a private \
             endpoint in it."
                .to_owned()
        }
        _ => format!(
            "Give credential `{credential}` the role \"Key Vault Secrets User\" on the vault; where \
             the vault has access policies, the permission \"get\" for secrets. That takes some \
             minutes."
        ),
    }
}

/// An error of the SDK, with what the vault said.
pub(super) fn problem(error: &azure_core::Error) -> VaultProblem {
    match error.kind() {
        ErrorKind::HttpResponse { status, raw_response, .. } => {
            let body = raw_response.as_ref().map(|raw| raw.body().as_ref()).unwrap_or_default();
            let Said { code, message } = Said::of(body);
            VaultProblem::Refused { status: u16::from(*status), code, message }
        }
        ErrorKind::Io | ErrorKind::Connection => {
            let mut cause: &dyn Error = error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            VaultProblem::Unreachable(told(&cause.to_string()))
        }
        // The SDK goes on with how to switch that check off.
        _ => {
            let said = told(&error.to_string());
            VaultProblem::Stranger(
                said.split(". Set verify_").next().unwrap_or_default().to_owned(),
            )
        }
    }
}

/// What a refusal says. The SDK reads none whose text has an escape in it, as a line break is.
#[derive(Debug, PartialEq)]
struct Said {
    code: String,
    /// In one line.
    message: String,
}

impl Said {
    fn of(body: &[u8]) -> Self {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |pointer: &str| body.pointer(pointer)?.as_str().map(told);
        // The inner code tells refusals of one status apart; the service spells its key in two ways.
        let code = text("/error/innererror/code").or_else(|| text("/error/innerError/code"));
        let code = code.or_else(|| text("/error/code")).unwrap_or_else(|| "no code".to_owned());
        let message = text("/error/message").unwrap_or_else(|| "no message".to_owned());
        Self { code, message: message.split_whitespace().collect::<Vec<_>>().join(" ") }
    }
}

#[cfg(test)]
mod tests {
    use super::{Said, VaultError, VaultProblem};
    use crate::config::{SecretError, VaultSecret};
    use crate::exit_code;
    use crate::identity::{TokenError, TokenProblem};

    fn error(problem: VaultProblem) -> VaultError {
        let place = VaultSecret {
            vault: "https://north.vault.azure.net".to_owned(),
            name: "cosmos-key".to_owned(),
            version: None,
            credential: "bridge".to_owned(),
        };
        VaultError::new(&place, problem)
    }

    fn refused(status: u16, code: &str) -> VaultError {
        let (code, message) = (code.to_owned(), String::new());
        error(VaultProblem::Refused { status, code, message })
    }

    #[test]
    fn what_an_operator_is_told_fits_the_code() {
        let no_token =
            |problem| error(VaultProblem::NoToken(TokenError::new(problem, "AADSTS1: unheard of")));
        let unreachable = VaultProblem::Unreachable("connection refused".to_owned());
        for (error, code, transient, hint) in [
            (no_token(TokenProblem::Unreachable), exit_code::UNREACHABLE, true, "network"),
            (no_token(TokenProblem::Refused), exit_code::DENIED, false, "client_id"),
            (error(unreachable), exit_code::UNREACHABLE, true, "network"),
            (refused(401, "Unauthorized"), exit_code::DENIED, false, "`bridge` is of the tenant"),
            (refused(403, "ForbiddenByRbac"), exit_code::DENIED, false, "Key Vault Secrets User"),
            (refused(403, "AccessDenied"), exit_code::DENIED, false, "Key Vault Secrets User"),
            (refused(403, "ForbiddenByFirewall"), exit_code::DENIED, false, "firewall"),
            (refused(403, "SecretDisabled"), exit_code::DENIED, false, "Enable"),
            (refused(404, "SecretNotFound"), exit_code::MISSING, false, "no such secret"),
            (refused(429, "Throttled"), exit_code::UNREACHABLE, true, "too often"),
            (refused(503, "no code"), exit_code::UNREACHABLE, true, "wait"),
            (refused(400, "BadParameter"), exit_code::FAILED, false, "operator"),
            (error(VaultProblem::Stranger(String::new())), exit_code::FAILED, false, "address"),
            (error(VaultProblem::Unusable(SecretError::Empty)), exit_code::CONFIG, false, "Put"),
        ] {
            assert_eq!(error.exit_code(), code, "{error}");
            assert_eq!(error.is_transient(), transient, "{error}");
            assert!(error.hint().contains(hint), "{error}: {}", error.hint());
        }
    }

    #[test]
    fn a_refusal_is_told_in_one_line_with_its_own_code() {
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
            let said = Said { code: code.to_owned(), message: message.to_owned() };
            assert_eq!(Said::of(body.as_bytes()), said);
        }
    }
}
