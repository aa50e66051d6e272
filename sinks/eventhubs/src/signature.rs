//! Shared access signatures.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

use crate::connection_string::Credential;

/// The lifetime of a signature. It is renewed after half of it.
pub(crate) const LIFETIME: Duration = Duration::from_hours(1);

/// The characters that are percent-encoded: all but the unreserved ones.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Credential {
    /// A token for a resource, an address like `amqps://HOST/HUB`, valid from `now` on.
    ///
    /// Source: "Authenticate access to Event Hubs resources using shared access signatures (SAS)",
    /// learn.microsoft.com.
    pub(crate) fn token(&self, resource: &str, now: SystemTime) -> String {
        let (name, key) = match self {
            Self::Signature(signature) => return signature.clone(),
            Self::Key { name, key } => (name, key),
        };
        let expiry = (now + LIFETIME).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let resource = utf8_percent_encode(resource, ENCODED);
        let name = utf8_percent_encode(name, ENCODED);
        let signature = sign(key, &format!("{resource}\n{expiry}"));
        let signature = utf8_percent_encode(&signature, ENCODED);
        format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={name}")
    }
}

fn sign(key: &str, text: &str) -> String {
    // HMAC accepts keys of any length.
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map(|mac| mac.chain_update(text));
    mac.map_or_else(|_| String::new(), |mac| STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::Credential;

    /// Made with Python's hmac and urllib.
    const EXPECTED: &str = "SharedAccessSignature sr=amqp%3A%2F%2F127.0.0.1%2Forders&sig=2tovUqVaNqPjqFN2JcvRdAwCQSLKlID%2FmjXkhy4I6Bo%3D&se=2000000000&skn=sender";

    #[test]
    fn a_signature_is_that_of_the_documentation() {
        let credential = Credential::Key { name: "sender".to_owned(), key: "c2VjcmV0".to_owned() };
        let now = UNIX_EPOCH + Duration::from_secs(2_000_000_000 - 3600);
        assert_eq!(credential.token("amqp://127.0.0.1/orders", now), EXPECTED);
    }
}
