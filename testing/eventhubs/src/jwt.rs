//! Tokens of Microsoft Entra ID.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::KeyPair;
use serde::Deserialize;
use serde_json::json;

use crate::sas::Grant;

/// The audience of tokens for Event Hubs, in every cloud.
const AUDIENCE: &str = "https://eventhubs.azure.net";

/// The authority whose tokens the namespace accepts, and the applications that have a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The one tenant, as in the tokens' issuer.
    pub tenant: String,
    /// The public key (P-256) of the authority, in PEM form.
    pub key: String,
    /// The applications that have the role Azure Event Hubs Data Sender, by their client ids.
    pub senders: Vec<String>,
    /// Those that have the role Azure Event Hubs Data Receiver.
    pub receivers: Vec<String>,
}

/// The claims that the namespace reads.
#[derive(Deserialize)]
struct Claims {
    appid: String,
    exp: u64,
}

/// Checks signature, tenant, audience and time. A client without the role may put a token, which then allows
/// nothing. The errors are texts of a status 401.
pub(crate) fn check(token: &str, trust: Option<&Trust>) -> Result<Grant, &'static str> {
    let trust = trust.ok_or("InvalidIssuer: Token issuer is invalid.")?;
    let key = DecodingKey::from_ec_pem(trust.key.as_bytes()).map_err(|_| "InvalidKey")?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[format!("https://sts.windows.net/{}/", trust.tenant)]);
    validation.set_required_spec_claims(&["exp", "aud", "iss"]);
    validation.leeway = 0;
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
        .map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => "ExpiredToken: The token is expired.",
            ErrorKind::InvalidIssuer => "InvalidIssuer: Token issuer is invalid.",
            ErrorKind::InvalidAudience => "InvalidAudience: The token has an invalid audience.",
            ErrorKind::InvalidSignature => "InvalidSignature: The token has an invalid signature.",
            _ => "MalformedToken: Failed to parse the token.",
        })?
        .claims;
    let expires = UNIX_EPOCH + Duration::from_secs(claims.exp);
    let may_send = trust.senders.contains(&claims.appid);
    let may_listen = trust.receivers.contains(&claims.appid);
    Ok(Grant { path: String::new(), expires, may_send, may_listen })
}

/// An authority that issues tokens, for tests without a token endpoint.
#[derive(Debug)]
pub struct Authority {
    key: KeyPair,
    tenant: String,
}

impl Authority {
    /// # Panics
    ///
    /// The system has no source of randomness.
    #[expect(clippy::unwrap_used, reason = "what fails here is to fail the test")]
    pub fn new(tenant: &str) -> Self {
        Self { key: KeyPair::generate().unwrap(), tenant: tenant.to_owned() }
    }

    /// The settings for a namespace that accepts its tokens and lets these applications send.
    pub fn trust(&self, senders: &[&str]) -> Trust {
        let senders = senders.iter().map(|&sender| sender.to_owned()).collect();
        let (tenant, key) = (self.tenant.clone(), self.key.public_key_pem());
        Trust { tenant, key, senders, receivers: Vec::new() }
    }

    /// A token of an application for an audience, valid until a time in whole seconds.
    ///
    /// # Panics
    ///
    /// The key cannot sign.
    #[expect(clippy::unwrap_used, reason = "what fails here is to fail the test")]
    pub fn token(&self, app: &str, audience: &str, expires: SystemTime) -> String {
        let key = EncodingKey::from_ec_pem(self.key.serialize_pem().as_bytes()).unwrap();
        let claims = json!({
            "aud": audience,
            "iss": format!("https://sts.windows.net/{}/", self.tenant),
            "appid": app,
            "exp": expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        });
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{AUDIENCE, Authority, check};

    #[test]
    fn a_token_is_checked_with_signature_tenant_audience_and_time() {
        let authority = Authority::new("north.example");
        let trust = authority.trust(&["app"]);
        let soon = SystemTime::now() + Duration::from_mins(1);
        let past = SystemTime::now() - Duration::from_secs(1);
        let grant = |app| check(&authority.token(app, AUDIENCE, soon), Some(&trust)).unwrap();
        assert!(grant("app").may_send && !grant("other").may_send);
        let refused = |token: &str| check(token, Some(&trust)).unwrap_err();
        let other = Authority::new("north.example").token("app", AUDIENCE, soon);
        for (token, says) in [
            (authority.token("app", AUDIENCE, past), "ExpiredToken"),
            (authority.token("app", "https://cosmos.azure.com", soon), "InvalidAudience"),
            (other, "InvalidSignature"),
            ("x.y.z".to_owned(), "MalformedToken"),
        ] {
            assert!(refused(&token).starts_with(says), "{says}: {}", refused(&token));
        }
        let elsewhere = super::Trust { tenant: "south.example".to_owned(), ..trust.clone() };
        let token = authority.token("app", AUDIENCE, soon);
        for trust in [None, Some(&elsewhere)] {
            assert!(check(&token, trust).unwrap_err().starts_with("InvalidIssuer"));
        }
    }
}
