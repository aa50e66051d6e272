//! Checks of what secrets hold, where they can be read while the file is checked: a file may be checked on
//! another machine than the one that runs the bridge, and no vault is called.

use crate::kind::Kind;
use crate::secret::{SecretError, SecretRef, secret, secret_problem};
use crate::value::Value;

/// A reference to a secret whose content is checked now if it can be read now.
pub fn checked_secret(check: fn(&str) -> Result<(), SecretError>) -> impl Kind<Output = SecretRef> {
    secret().check(move |value, secret| {
        let checked = if_readable(secret, check).unwrap_or(Ok(()));
        checked.map_err(|error| secret_problem(value, &error)).is_ok()
    })
}

/// What `read` makes of a secret on this machine; `None` if the secret cannot be read now.
pub fn if_readable<T>(secret: &SecretRef, read: impl FnOnce(&str) -> T) -> Option<T> {
    match secret {
        SecretRef::Local(place) => Some(read(place.read().ok()?.expose())),
        SecretRef::KeyVault(_) => None,
    }
}

impl SecretError {
    /// The secret was read, and is not what the option needs.
    pub fn unfit(problem: impl std::fmt::Display, hint: &'static str) -> Self {
        Self::Unfit { message: format!("the secret cannot be used: {problem}"), hint }
    }
}

/// Reports what is wrong with the content of a secret.
pub fn report_secret(value: &Value<'_>, problem: impl std::fmt::Display, hint: &'static str) {
    secret_problem(value, &SecretError::unfit(problem, hint));
}
