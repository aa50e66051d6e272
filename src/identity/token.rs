//! Tokens, and errors of fetching one.

use std::time::SystemTime;

use tokio::time::Instant;

use crate::config::Secret;

/// A bearer token of one scope. Never printed.
#[derive(Clone, Debug)]
pub struct Token {
    pub text: Secret,
    /// The expiry that the issuer stated.
    pub expires_on: SystemTime,
    /// The same, on the clock of timers.
    pub(super) expires_at: Instant,
}

impl Token {
    /// A token that was just issued.
    pub fn new(text: impl Into<String>, expires_on: SystemTime) -> Self {
        let left = expires_on.duration_since(SystemTime::now()).unwrap_or_default();
        Self { text: Secret::new(text), expires_on, expires_at: Instant::now() + left }
    }
}

/// The kind of an error, as far as the reaction depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenErrorKind {
    /// The authority does not answer, or failed.
    Unreachable,
    /// The authority refused to issue a token to this identity.
    Refused,
    /// Something that the configuration or the environment names is missing or invalid.
    Setup,
}

/// Why no token could be fetched. No message contains any part of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TokenError {
    pub kind: TokenErrorKind,
    message: String,
}

impl TokenError {
    pub fn new(kind: TokenErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn prefixed(self, identity: &str) -> Self {
        Self { message: format!("{identity}: {}", self.message), ..self }
    }

    /// What the operator can do.
    pub fn hint(&self) -> String {
        hint(&self.message, self.kind).to_owned()
    }
}

/// Error codes of Entra, which its messages contain, and the remedy for each.
///
/// <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>
const CODES: [(&str, &str); 9] = [
    ("AADSTS7000215", "Use a valid secret of the application: its value, not its id."),
    ("AADSTS7000222", "The client secret has expired. Create a new one and replace the old one."),
    ("AADSTS700016", "Check client_id and tenant: the tenant has no application with that id."),
    (
        "AADSTS700027",
        "Add the certificate to the application, or use one that it has. Check its validity period.",
    ),
    ("AADSTS700024", "The assertion is outside its validity period: check this machine's clock."),
    (
        "AADSTS70021",
        "Add a federated credential to the identity with the issuer, subject and audience of the token.",
    ),
    (
        "AADSTS700213",
        "Add a federated credential to the identity with the issuer, subject and audience of the token.",
    ),
    ("AADSTS90002", "Check the tenant: this cloud has no tenant of that name."),
    ("AADSTS500011", "Check that the requested service exists in that tenant."),
];

fn hint(message: &str, kind: TokenErrorKind) -> &'static str {
    let code =
        message.split(|c: char| !c.is_ascii_alphanumeric()).find(|w| w.starts_with("AADSTS"));
    if let Some((_, hint)) = CODES.iter().find(|(known, _)| Some(*known) == code) {
        return hint;
    }
    match kind {
        TokenErrorKind::Unreachable => {
            "Check the network to the authority, or to the machine's identity endpoint."
        }
        TokenErrorKind::Refused => "Check tenant, client_id and secret of the credential.",
        TokenErrorKind::Setup => {
            "Correct the credential in the configuration, or the file it names."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{TokenError, TokenErrorKind};

    #[test]
    fn a_code_of_the_authority_has_its_own_remedy() {
        for (message, kind, hint) in [
            ("AADSTS7000215: Invalid client secret provided.", TokenErrorKind::Refused, "secret"),
            ("AADSTS7000222: The keys are expired.", TokenErrorKind::Refused, "expired"),
            ("AADSTS700213: No matching", TokenErrorKind::Refused, "federated"),
            ("AADSTS90002: Tenant not found", TokenErrorKind::Refused, "tenant"),
            ("AADSTS1: unheard of", TokenErrorKind::Refused, "client_id"),
            ("connection refused", TokenErrorKind::Unreachable, "network"),
            ("no such file", TokenErrorKind::Setup, "configuration"),
        ] {
            let text = TokenError::new(kind, message).hint();
            assert!(text.contains(hint), "{message}: {text}");
        }
    }
}
