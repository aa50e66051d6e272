//! Keys and connection strings of accounts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cosmos_bridge_options::SecretError;
use cosmos_bridge_sink::Secret;

use super::endpoint::{Endpoint, check_endpoint};

/// Refuses a key that is not base64.
pub(super) fn check_key(key: &Secret) -> Result<(), SecretError> {
    STANDARD.decode(key.expose()).map(drop).map_err(|_| not_a_key(key.expose()))
}

/// Says what a text is that is no account key, without a piece of it.
fn not_a_key(text: &str) -> SecretError {
    let named = text.split_once('=');
    let is_named = |(name, key): (&str, &str)| {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        // The end of a key is nothing but `=`.
        !name.is_empty() && name.trim().bytes().all(is_name) && !key.trim_matches('=').is_empty()
    };
    let (message, hint) = if part(text, "AccountKey").is_some() {
        (
            "the account key is a whole connection string",
            "Write it as `connection_string`, or copy what follows AccountKey=.",
        )
    } else if text.starts_with(['"', '\'']) || text.ends_with(['"', '\'']) {
        ("the account key is in quotes", "Take the quotes away.")
    } else if named.is_some_and(is_named) {
        ("the account key has a name and `=` before it", "Keep only what follows the `=`.")
    } else {
        (
            "the account key is not base64",
            "Copy the primary or secondary key of the account as it is.",
        )
    };
    SecretError::Unfit { message: message.to_owned(), hint }
}

/// Endpoint and key of a connection string.
pub(super) fn parts(text: &Secret) -> Result<(Endpoint, Secret), SecretError> {
    const HINT: &str =
        "It looks like AccountEndpoint=https://NAME.documents.azure.com:443/;AccountKey=..;";
    let unfit = |message| SecretError::Unfit { message, hint: HINT };
    let part = |name| {
        part(text.expose(), name)
            .ok_or_else(|| unfit(format!("the connection string has no {name}")))
    };
    let written = part("AccountEndpoint")?.to_owned();
    let address = check_endpoint(&written).map_err(|error| {
        unfit(format!("the connection string's AccountEndpoint cannot be used: {error}"))
    })?;
    let endpoint = Endpoint { written, address: address.to_string() };
    let key = Secret::new(part("AccountKey")?);
    check_key(&key)?;
    Ok((endpoint, key))
}

/// One part of a connection string; names are compared without case, as the SDKs do.
fn part<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let parts = text.split(';').filter_map(|part| part.split_once('='));
    let mut named = parts.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_key_is_named() {
        check_key(&Secret::new("c2VjcmV0LXNlY3JldC1zZWNyZXQ=")).unwrap();
        for (text, expected) in [
            ("\"c2VjcmV0\"", "the account key is in quotes"),
            ("'c2VjcmV0'", "the account key is in quotes"),
            ("COSMOS_KEY=c2VjcmV0", "the account key has a name and `=` before it"),
            (
                "AccountEndpoint=https://a.example:443/;AccountKey=c2VjcmV0;",
                "the account key is a whole connection string",
            ),
            ("c2Vj cmV0", "the account key is not base64"),
            ("c2VjcmV", "the account key is not base64"),
            ("c2VjcmV=", "the account key is not base64"),
            ("c2VjcmV0LXNlY3JldC1zZWNyZXQ===", "the account key is not base64"),
        ] {
            let error = check_key(&Secret::new(text)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_connection_string_is_endpoint_and_key() {
        let read = |text: &str| parts(&Secret::new(text));
        let (endpoint, key) =
            read("AccountEndpoint=https://a.example:443/;AccountKey=c2VjcmV0;").unwrap();
        assert_eq!(endpoint.written, "https://a.example:443/");
        assert_eq!(endpoint.address, "https://a.example/");
        assert_eq!(key, Secret::new("c2VjcmV0"));
        let message = |text| read(text).unwrap_err().to_string();
        assert_eq!(message("AccountKey=c2VjcmV0"), "the connection string has no AccountEndpoint");
        assert_eq!(
            message("accountendpoint=https://a.example"),
            "the connection string has no AccountKey"
        );
        assert_eq!(
            message("AccountEndpoint=https://a.example;AccountKey=?"),
            "the account key is not base64"
        );
    }
}
