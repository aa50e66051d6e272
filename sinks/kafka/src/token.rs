//! The claims of a bearer token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The lifetime of a token that does not state one.
const USUAL_LIFETIME: Duration = Duration::from_hours(1);

/// The claims that the client asks for. The broker validates them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    /// The subject of the token.
    pub(crate) principal: String,
    /// The expiry, in milliseconds since the epoch.
    pub(crate) ends: i64,
}

impl Claims {
    /// Reads `sub` and `exp` if the token is a JSON Web Token. Any other token is used for an hour.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc7519#section-4.1>
    pub(crate) fn of(token: &str, now: SystemTime) -> Self {
        let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims = claims.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let claims = claims.unwrap_or_default();
        let principal = claims["sub"].as_str().unwrap_or("cosmos-bridge").to_owned();
        let ends = claims["exp"].as_f64().map(Duration::try_from_secs_f64).and_then(Result::ok);
        let ends = ends
            .unwrap_or_else(|| now.duration_since(UNIX_EPOCH).unwrap_or_default() + USUAL_LIFETIME);
        Self { principal, ends: i64::try_from(ends.as_millis()).unwrap_or(i64::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_and_expiry_are_read_from_a_token() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let jwt = |claims: &str| format!("e30.{}.", URL_SAFE_NO_PAD.encode(claims));
        let cases = [
            (jwt(r#"{"sub":"writer","exp":2000}"#), "writer", 2_000_000),
            (jwt(r#"{"exp":2000.5}"#), "cosmos-bridge", 2_000_500),
            (jwt(r#"{"sub":"writer"}"#), "writer", 4_600_000),
            (jwt(r#"{"exp":-1}"#), "cosmos-bridge", 4_600_000),
            ("opaque".to_owned(), "cosmos-bridge", 4_600_000),
            ("a.b.c".to_owned(), "cosmos-bridge", 4_600_000),
        ];
        for (token, principal, ends) in cases {
            let expected = Claims { principal: principal.to_owned(), ends };
            assert_eq!(Claims::of(&token, now), expected, "{token}");
        }
    }
}
