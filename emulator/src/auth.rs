//! Who may ask: requests signed with the account's key, or bearing its token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::percent_decode_str;
use sha2::Sha256;

use crate::answer::Refusal;

/// What an account accepts.
pub struct Credentials {
    /// The key in base64.
    pub key: String,
    /// A bearer token, if the account knows one.
    pub token: Option<String>,
    mac: Hmac<Sha256>,
}

impl Credentials {
    /// Takes a key in base64.
    pub fn new(key: &str, token: Option<String>) -> Result<Self, base64::DecodeError> {
        let bytes = STANDARD.decode(key)?;
        let mac = Hmac::new_from_slice(&bytes).map_err(|_| base64::DecodeError::InvalidPadding)?;
        Ok(Self { key: key.to_owned(), token, mac })
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
            Some("aad") => self.token.as_deref() == Some(signature),
            Some("master") => self.signed(signature, method, path, date),
            _ => header
                .strip_prefix("Bearer ")
                .is_some_and(|token| self.token.as_deref() == Some(token)),
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

    /// Clients differ in whether they sign names as they are or as they are encoded.
    fn signed(&self, signature: &str, method: &str, path: &str, date: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        let lower = decoded.to_lowercase();
        [decoded.as_ref(), path, lower.as_str()].iter().any(|path| {
            let (kind, link) = resource(path);
            let (method, date) = (method.to_ascii_lowercase(), date.to_ascii_lowercase());
            let mut mac = self.mac.clone();
            mac.update(format!("{method}\n{kind}\n{link}\n{date}\n\n").as_bytes());
            mac.verify_slice(&signature).is_ok()
        })
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
    let kind = parent.rsplit_once('/').map_or(parent, |(_, kind)| kind);
    // An offer is signed by its id alone.
    if kind == "offers" { (kind, last) } else { (kind, path) }
}
