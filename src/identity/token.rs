//! A token, and why there is none.

use std::time::SystemTime;

use tokio::time::Instant;

use crate::config::Secret;

/// A bearer token of one scope. Never printed.
#[derive(Clone, Debug)]
pub struct Token {
    pub text: Secret,
    /// When its time is over, by the issuer's word.
    pub expires_on: SystemTime,
    /// The same, by the clock that timers go by.
    pub(super) expires_at: Instant,
}

impl Token {
    /// A token that was issued just now.
    pub fn new(text: impl Into<String>, expires_on: SystemTime) -> Self {
        let left = expires_on.duration_since(SystemTime::now()).unwrap_or_default();
        Self { text: Secret::new(text), expires_on, expires_at: Instant::now() + left }
    }
}

/// What kind of trouble it is, as far as anybody acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// Whoever issues tokens does not answer, or has trouble of its own.
    Unreachable,
    /// It answered, and gives this identity no token.
    Refused,
    /// What the configuration or the environment names is not there or cannot be used.
    Setup,
}

/// Why there is no token. No message holds any of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TokenError {
    pub problem: TokenProblem,
    message: String,
}

impl TokenError {
    pub fn new(problem: TokenProblem, message: impl Into<String>) -> Self {
        Self { problem, message: message.into() }
    }

    pub(super) fn prefixed(self, who: &str) -> Self {
        Self { message: format!("{who}: {}", self.message), ..self }
    }

    /// A sentence that says what to do.
    pub fn hint(&self) -> String {
        hint(&self.message, self.problem).to_owned()
    }
}

/// Entra's own codes, which stand in its messages, and what mends each.
///
/// <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>
const CODES: [(&str, &str); 9] = [
    (
        "AADSTS7000215",
        "Put a secret of the application there that is valid: its value, not its id.",
    ),
    (
        "AADSTS7000222",
        "The client secret has expired: make a new one and put it into the same place.",
    ),
    ("AADSTS700016", "Check client_id and tenant: no application of that id is in that tenant."),
    (
        "AADSTS700027",
        "Add the certificate to the application, or put one there that it has; check its dates.",
    ),
    ("AADSTS700024", "The assertion is not within its time: check this machine's clock."),
    (
        "AADSTS70021",
        "Add a federated credential to the identity with the issuer, subject and audience of the token.",
    ),
    (
        "AADSTS700213",
        "Add a federated credential to the identity with the issuer, subject and audience of the token.",
    ),
    ("AADSTS90002", "Check the tenant: there is none of that name in this cloud."),
    ("AADSTS500011", "Check that the service that is asked for exists in that tenant."),
];

fn hint(message: &str, problem: TokenProblem) -> &'static str {
    let code =
        message.split(|c: char| !c.is_ascii_alphanumeric()).find(|w| w.starts_with("AADSTS"));
    if let Some((_, hint)) = CODES.iter().find(|(known, _)| Some(*known) == code) {
        return hint;
    }
    match problem {
        TokenProblem::Unreachable => {
            "Check the network to the authority, or to the machine's identity endpoint."
        }
        TokenProblem::Refused => "Check tenant, client_id and secret of the credential.",
        TokenProblem::Setup => "Correct the credential in the configuration, or the file it names.",
    }
}

#[cfg(test)]
mod tests {
    use super::{TokenError, TokenProblem};

    #[test]
    fn a_code_of_the_authority_has_its_own_remedy() {
        for (message, problem, hint) in [
            ("AADSTS7000215: Invalid client secret provided.", TokenProblem::Refused, "secret"),
            ("AADSTS7000222: The keys are expired.", TokenProblem::Refused, "expired"),
            ("AADSTS700213: No matching", TokenProblem::Refused, "federated"),
            ("AADSTS90002: Tenant not found", TokenProblem::Refused, "tenant"),
            ("AADSTS1: unheard of", TokenProblem::Refused, "client_id"),
            ("connection refused", TokenProblem::Unreachable, "network"),
            ("no such file", TokenProblem::Setup, "configuration"),
        ] {
            let told = TokenError::new(problem, message).hint();
            assert!(told.contains(hint), "{message}: {told}");
        }
    }
}
