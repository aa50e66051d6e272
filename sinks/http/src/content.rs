//! What secrets and files may hold.

use reqwest::Url;
use reqwest::header::HeaderValue;

/// Why settings cannot be used. No message holds any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the address is no URL that begins with http:// or https://")]
    Url,
    #[error("a header has a name that HTTP does not allow")]
    HeaderName,
    #[error("a header has a value that HTTP does not allow")]
    HeaderValue,
    #[error("the file of certificates holds none in PEM form")]
    Certificates,
}

impl Invalid {
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Url => "Write it like \"https://events.example/orders\".",
            Self::HeaderName => "Write a name like x-functions-key.",
            Self::HeaderValue => "Write it in one line, without control characters.",
            Self::Certificates => "Write a file in PEM form.",
        }
    }
}

/// An address that events can be posted to.
pub(crate) fn address(text: &str) -> Result<Url, Invalid> {
    let url = Url::parse(text).map_err(|_| Invalid::Url)?;
    let is_http = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    if is_http { Ok(url) } else { Err(Invalid::Url) }
}

/// The value of a header, which is never printed.
pub(crate) fn header_value(text: &str) -> Result<HeaderValue, Invalid> {
    let mut value = HeaderValue::try_from(text).map_err(|_| Invalid::HeaderValue)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::Invalid;

    #[test]
    fn a_problem_has_a_hint_about_what_is_invalid() {
        for (invalid, about) in [
            (Invalid::Url, "\"https://"),
            (Invalid::HeaderName, "a name"),
            (Invalid::HeaderValue, "in one line"),
            (Invalid::Certificates, "PEM"),
        ] {
            assert!(invalid.hint().contains(about), "{invalid}: {}", invalid.hint());
        }
    }
}
