//! Addresses of accounts.

use url::{Host, Url};

/// The address of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub written: String,
    /// In one spelling: two accounts of one address are one.
    pub address: String,
}

/// Why an address cannot be that of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("invalid web address")]
    NotUrl,
    #[error("the address must begin with https://")]
    Scheme,
    #[error("only an account on this machine may be reached without encryption")]
    Plain,
    #[error("the address holds a user name or password")]
    User,
    #[error("the address continues after the host")]
    Path,
}

impl EndpointError {
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::NotUrl | Self::Scheme => {
                "An account's address looks like \"https://NAME.documents.azure.com\"."
            }
            Self::Plain => {
                "Write https://. Plain http:// is only for localhost, 127.0.0.1 and [::1]."
            }
            Self::User => "Name the account's key with `key = { file = \"..\" }` instead.",
            Self::Path => "End it after the host or the port; databases are named elsewhere.",
        }
    }
}

/// The SDK refuses plain http to other machines (status 400, sub-status 20108).
pub(super) fn check_endpoint(text: &str) -> Result<Url, EndpointError> {
    let url = Url::parse(text).map_err(|_| EndpointError::NotUrl)?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address == std::net::Ipv4Addr::LOCALHOST,
        Some(Host::Ipv6(address)) => address == std::net::Ipv6Addr::LOCALHOST,
        None => return Err(EndpointError::NotUrl),
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err(EndpointError::Plain),
        _ => return Err(EndpointError::Scheme),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EndpointError::User);
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(EndpointError::Path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_reached_by_https_or_on_this_machine() {
        let cases = [
            ("https://a.documents.azure.com", Ok("https://a.documents.azure.com/")),
            ("https://A.documents.azure.com:443/", Ok("https://a.documents.azure.com/")),
            ("http://localhost:8081", Ok("http://localhost:8081/")),
            ("http://127.0.0.1:8081/", Ok("http://127.0.0.1:8081/")),
            ("http://[::1]:8081", Ok("http://[::1]:8081/")),
            ("http://a.documents.azure.com", Err(EndpointError::Plain)),
            ("http://127.0.0.2", Err(EndpointError::Plain)),
            ("ftp://a.example", Err(EndpointError::Scheme)),
            ("a.documents.azure.com", Err(EndpointError::NotUrl)),
            ("localhost:8081", Err(EndpointError::NotUrl)),
            ("", Err(EndpointError::NotUrl)),
            ("https://me:secret@a.example", Err(EndpointError::User)),
            ("https://a.example/shop", Err(EndpointError::Path)),
            ("https://a.example/?x", Err(EndpointError::Path)),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|url| Url::parse(url).unwrap());
            assert_eq!(check_endpoint(text), expected, "{text}");
        }
    }
}
