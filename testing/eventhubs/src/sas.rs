//! Shared access signatures.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::percent_decode_str;
use sha2::Sha256;

/// The rights of a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The path below the namespace; empty for all of it.
    pub(crate) path: String,
    pub(crate) expires: SystemTime,
    /// True if it allows sending: a key does, and an identity with the role.
    pub(crate) may_send: bool,
    /// The same for receiving.
    pub(crate) may_listen: bool,
}

/// What a token must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    Send,
    Listen,
    /// Reading the properties of a hub, which producers and consumers do.
    Either,
}

impl Grant {
    /// True if it covers an entity now. A path covers everything below it.
    pub(crate) fn covers(&self, hub: &str, claim: Claim, now: SystemTime) -> bool {
        let first = self.path.split('/').next().unwrap_or_default();
        let allowed = match claim {
            Claim::Send => self.may_send,
            Claim::Listen => self.may_listen,
            Claim::Either => self.may_send || self.may_listen,
        };
        now < self.expires && allowed && (first.is_empty() || first.eq_ignore_ascii_case(hub))
    }
}

/// Checks a token: `SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={name}`,
/// where the signature is HMAC-SHA256 of the encoded resource, a line feed and the expiry.
///
/// Source: "Authenticate access to Event Hubs resources using shared access signatures (SAS)",
/// the vendor's documentation. The errors are texts of a status 401.
pub(crate) fn check(
    token: &str,
    key_name: &str,
    key: &str,
    now: SystemTime,
) -> Result<Grant, &'static str> {
    let fields = token.strip_prefix("SharedAccessSignature ").ok_or("MalformedToken")?;
    let field = |name: &str| {
        fields.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    };
    let resource = field("sr").ok_or("MalformedToken: sr is missing")?;
    let expiry = field("se").ok_or("MalformedToken: se is missing")?;
    let seconds = expiry.parse().map_err(|_| "MalformedToken: se is not a number")?;
    let signature = decoded(field("sig").ok_or("MalformedToken: sig is missing")?);
    let signature = STANDARD.decode(signature).map_err(|_| "MalformedToken: sig")?;
    if field("skn").map(decoded).as_deref() != Some(key_name) {
        return Err("InvalidSignature: The token has an invalid signature. The key is unknown.");
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|_| "InvalidKey")?;
    mac.update(format!("{resource}\n{expiry}").as_bytes());
    mac.verify_slice(&signature)
        .map_err(|_| "InvalidSignature: The token has an invalid signature.")?;
    let expires = UNIX_EPOCH + Duration::from_secs(seconds);
    if expires <= now {
        return Err("ExpiredToken: The token is expired.");
    }
    let path = path(&decoded(resource)).to_owned();
    Ok(Grant { path, expires, may_send: true, may_listen: true })
}

/// The path of an address, which may be a whole URL or the path alone.
pub(crate) fn path(address: &str) -> &str {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => address,
    };
    path.trim_matches('/')
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::{Claim, Grant, check, path};

    /// Made with Python's hmac and urllib for the key `c2VjcmV0` named `sender`.
    const TOKEN: &str = "SharedAccessSignature sr=amqp%3A%2F%2F127.0.0.1%2Forders&sig=2tovUqVaNqPjqFN2JcvRdAwCQSLKlID%2FmjXkhy4I6Bo%3D&se=2000000000&skn=sender";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_signature_is_checked_with_name_key_and_time() {
        let good = || check(TOKEN, "sender", "c2VjcmV0", at(1_900_000_000));
        let expected = Grant {
            path: "orders".to_owned(),
            expires: at(2_000_000_000),
            may_send: true,
            may_listen: true,
        };
        assert_eq!(good(), Ok(expected));
        let wrong = [
            check(TOKEN, "other", "c2VjcmV0", at(1_900_000_000)),
            check(TOKEN, "sender", "c2VjcmV1", at(1_900_000_000)),
            check(&TOKEN.replace("orders", "orderz"), "sender", "c2VjcmV0", at(1_900_000_000)),
            check(TOKEN, "sender", "c2VjcmV0", at(2_000_000_000)),
            check("Bearer x", "sender", "c2VjcmV0", at(0)),
        ];
        for refused in wrong {
            assert!(refused.is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_grant_covers_its_hub_and_what_lies_below() {
        for (granted, hub, expected) in [
            ("orders", "orders", true),
            ("orders/Partitions/1", "orders", true),
            ("", "orders", true),
            ("orders", "order", false),
        ] {
            let path = granted.to_owned();
            let grant = Grant { path, expires: at(10), may_send: true, may_listen: false };
            for claim in [Claim::Send, Claim::Either] {
                assert_eq!(grant.covers(hub, claim, at(9)), expected, "{granted} for {hub}");
                assert!(!grant.covers(hub, claim, at(10)));
            }
            assert!(!grant.covers(hub, Claim::Listen, at(9)));
        }
    }

    #[test]
    fn an_address_is_a_url_or_a_path() {
        for (address, expected) in [
            ("amqps://host/hub/Partitions/0", "hub/Partitions/0"),
            ("sb://host:5672/", ""),
            ("sb://host", ""),
            ("hub", "hub"),
            ("/hub", "hub"),
        ] {
            assert_eq!(path(address), expected, "{address}");
        }
    }
}
