//! Who may ask: requests signed with the account's key, or bearing its token.

use std::sync::{PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use percent_encoding::percent_decode_str;
use sha2::Sha256;

use crate::answer::Refusal;
use crate::rids::is_by_rid;

/// Whom tokens for an account are for.
const AUDIENCE: &str = "https://cosmos.azure.com";

/// What an account accepts.
pub struct Credentials {
    key: RwLock<Key>,
    /// A bearer token, if the account knows one.
    pub token: Option<String>,
    trust: RwLock<Option<Trust>>,
}

struct Key {
    base64: String,
    mac: Hmac<Sha256>,
}

/// Whose JSON Web Tokens an account accepts.
pub struct Trust {
    /// The one tenant, as in the tokens' issuer.
    pub tenant: String,
    /// The public key (P-256) of the authority, in PEM form.
    pub key: String,
}

/// Why a token is refused: the service's substatuses.
const SIGNATURE: u32 = 5004;
const EXPIRED: u32 = 5006;
const ISSUER: u32 = 5007;
const WRONG_AUDIENCE: u32 = 5008;
const FORMAT: u32 = 5003;

impl Credentials {
    /// Takes a key in base64.
    pub fn new(key: &str, token: Option<String>) -> Result<Self, base64::DecodeError> {
        Ok(Self { key: RwLock::new(Key::new(key)?), token, trust: RwLock::default() })
    }

    /// The key in base64.
    pub fn key(&self) -> String {
        self.key.read().unwrap_or_else(PoisonError::into_inner).base64.clone()
    }

    /// From now on this key is accepted, and the one before is not.
    pub fn replace_key(&self, key: &str) -> Result<(), base64::DecodeError> {
        let key = Key::new(key)?;
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(())
    }

    /// From now on tokens of this authority are accepted; with `None`, none are.
    pub fn trust(&self, trust: Option<Trust>) {
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = trust;
    }

    /// Checks the `authorization` header of a request to a path, which is percent-encoded.
    pub fn check(
        &self,
        authorization: Option<&str>,
        method: &str,
        path: &str,
        date: &str,
    ) -> Result<(), Refusal> {
        let header = authorization
            .ok_or_else(|| Refusal::new(401, "the authorization header is missing"))?;
        let header = percent_decode_str(header).decode_utf8_lossy();
        let part = |name: &str| {
            header.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let signature = part("sig").unwrap_or_default();
        let good = match part("type") {
            Some("aad") => return self.bears(signature),
            Some("master") => self.signed(signature, method, path, date),
            _ => match header.strip_prefix("Bearer ") {
                Some(token) => return self.bears(token),
                None => false,
            },
        };
        if good {
            return Ok(());
        }
        Err(Refusal::new(
            401,
            "The input authorization token can't serve the request. The wrong key is being used \
             or the expected payload is not built as per the protocol.",
        ))
    }

    /// The account's own token, or one of the authority that it trusts.
    fn bears(&self, token: &str) -> Result<(), Refusal> {
        if self.token.as_deref() == Some(token) {
            return Ok(());
        }
        let refused = |message, substatus| Refusal::new(401, message).with_substatus(substatus);
        let trust = self.trust.read().unwrap_or_else(PoisonError::into_inner);
        let Some(trust) = &*trust else {
            return Err(refused("No tenant is trusted by this account.", ISSUER));
        };
        let key = DecodingKey::from_ec_pem(trust.key.as_bytes())
            .map_err(|_| Refusal::new(500, "the account's trusted key is no P-256 key"))?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[format!("https://sts.windows.net/{}/", trust.tenant)]);
        validation.set_required_spec_claims(&["exp", "aud", "iss"]);
        validation.leeway = 0;
        let read = jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation);
        read.map(drop).map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => refused("The AAD token has expired.", EXPIRED),
            ErrorKind::InvalidIssuer => refused("The AAD token is of another tenant.", ISSUER),
            ErrorKind::InvalidAudience => {
                refused("The AAD token is for another audience.", WRONG_AUDIENCE)
            }
            ErrorKind::InvalidSignature => {
                refused("The AAD token's signature is wrong.", SIGNATURE)
            }
            _ => refused("The AAD token cannot be read.", FORMAT),
        })
    }

    /// Clients differ in whether they sign names as they are or as they are encoded.
    fn signed(&self, signature: &str, method: &str, path: &str, date: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        let lower = decoded.to_lowercase();
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner);
        // A resource that is addressed by its `_rid` is signed by this alone.
        let (kind, link) = resource(&decoded);
        let rid = link.rsplit('/').next().unwrap_or_default().to_lowercase();
        let by_rid = is_by_rid(path).then_some((kind, rid.as_str()));
        let by_name = [decoded.as_ref(), path, lower.as_str()].map(resource);
        by_name.into_iter().chain(by_rid).any(|(kind, link)| {
            let (method, date) = (method.to_ascii_lowercase(), date.to_ascii_lowercase());
            let mut mac = key.mac.clone();
            mac.update(format!("{method}\n{kind}\n{link}\n{date}\n\n").as_bytes());
            mac.verify_slice(&signature).is_ok()
        })
    }
}

impl Key {
    fn new(base64: &str) -> Result<Self, base64::DecodeError> {
        let bytes = STANDARD.decode(base64)?;
        let mac = Hmac::new_from_slice(&bytes).map_err(|_| base64::DecodeError::InvalidPadding)?;
        Ok(Self { base64: base64.to_owned(), mac })
    }
}

/// The type and link of the resource a path names. A path of odd length names all resources of a
/// kind below a parent.
fn resource(path: &str) -> (&str, &str) {
    let path = path.trim_matches('/');
    let count = path.split('/').count();
    let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
    if path.is_empty() {
        return ("", "");
    }
    if count % 2 == 1 {
        return (last, parent);
    }
    if let Some(container) = path.strip_suffix("/operations/partitionkeydelete") {
        return ("partitionkey", container);
    }
    let kind = parent.rsplit_once('/').map_or(parent, |(_, kind)| kind);
    // An offer is signed by its id alone.
    if kind == "offers" { (kind, last) } else { (kind, path) }
}
