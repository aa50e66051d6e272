//! Decides which page a request is for, and whether it is allowed. Pure: values in, a value out.

use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderMap};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode};
use sha2::{Digest, Sha256};

use crate::config::Secret;

/// The pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// The status for a browser.
    Home,
    Metrics,
    Live,
    Ready,
    Status,
}

impl Page {
    /// Health checks work without a token: orchestrators need them, and they contain only names and durations.
    pub(super) fn needs_token(self) -> bool {
        matches!(self, Self::Home | Self::Metrics | Self::Status)
    }
}

/// Why a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestError {
    /// The request has no `Host` header, more than one, or an invalid one.
    NoHost,
    /// The request is for another host. Without this check a web page whose name resolves to this address
    /// (DNS rebinding) could read the responses.
    OtherHost,
    /// No request to this address has a body.
    Body,
    Method,
    Missing,
    Token,
}

impl RequestError {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::OtherHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Body => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Missing => StatusCode::NOT_FOUND,
            Self::Token => StatusCode::UNAUTHORIZED,
        }
    }

    /// The body of the response.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::NoHost => "the request has no valid Host header\n",
            Self::OtherHost => "unknown host; add it to admin.hosts\n",
            Self::Body => "requests with a body are not allowed\n",
            Self::Method => "only GET and HEAD are allowed\n",
            Self::Missing => "not found; the pages are /, /metrics, /live, /ready and /status\n",
            Self::Token => "the token of admin.token is required: Authorization: Bearer ..\n",
        }
    }
}

/// The page that a request is for; its token is not checked here. `reached` is the local address of the
/// connection; `hosts` are further allowed names, in lower case.
pub(super) fn page(
    request: &Parts,
    has_body: bool,
    reached: IpAddr,
    hosts: &[String],
) -> Result<Page, RequestError> {
    let mut named = request.headers.get_all(HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else { return Err(RequestError::NoHost) };
    let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    let host = host.ok_or(RequestError::NoHost)?;
    let is_served = |host: &Authority| is_served(host, reached, hosts);
    if !is_served(&host) || !request.uri.authority().is_none_or(is_served) {
        return Err(RequestError::OtherHost);
    }
    if has_body {
        return Err(RequestError::Body);
    }
    if request.method != Method::GET && request.method != Method::HEAD {
        return Err(RequestError::Method);
    }
    match request.uri.path() {
        "/" => Ok(Page::Home),
        "/metrics" => Ok(Page::Metrics),
        "/live" => Ok(Page::Live),
        "/ready" => Ok(Page::Ready),
        "/status" => Ok(Page::Status),
        _ => Err(RequestError::Missing),
    }
}

/// An address cannot be rebound, only a name can, so the local address is always allowed.
fn is_served(host: &Authority, reached: IpAddr, hosts: &[String]) -> bool {
    if host.as_str().contains('@') {
        return false;
    }
    let name = host.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let reached = reached.to_canonical();
    name.parse::<IpAddr>().is_ok_and(|named| named.to_canonical() == reached)
        || (name == "localhost" && reached.is_loopback())
        || hosts.iter().any(|known| known == name)
}

/// True if a request has the right token.
pub(super) fn has_token(headers: &HeaderMap, token: &Secret) -> bool {
    let given = headers.get(AUTHORIZATION).map(hyper::header::HeaderValue::as_bytes);
    // Comparing hashes takes a time that says nothing about the token.
    let is_right = |given: &[u8]| Sha256::digest(given) == Sha256::digest(token.expose());
    given.is_some_and(|given| match given.split_at_checked(BEARER.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(BEARER) => is_right(token),
        _ => password(given).is_some_and(|password| is_right(&password)),
    })
}

const BEARER: &[u8] = b"bearer ";
const BASIC: &[u8] = b"basic ";

/// What a browser sends after it has asked for a name and a password; the name does not matter.
fn password(given: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = given.split_at_checked(BASIC.len())?;
    let decoded = STANDARD.decode(scheme.eq_ignore_ascii_case(BASIC).then_some(encoded)?).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    decoded.get(colon + 1..).map(<[u8]>::to_vec)
}

/// True if the client accepts `OpenMetrics`; otherwise it gets Prometheus' own older format.
pub(super) fn accepts_openmetrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    accepted.flat_map(|accept| accept.split(',')).any(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim() == "application/openmetrics-text")
    })
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::{Page, RequestError, accepts_openmetrics, has_token, page};
    use crate::config::LocalSecret;

    fn parts(method: &str, target: &str, headers: &[(&str, &str)]) -> hyper::http::request::Parts {
        let request = Request::builder().method(method).uri(target);
        let request = headers.iter().fold(request, |request, (k, v)| request.header(*k, *v));
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_host_is_allowed_by_its_address_and_by_the_configured_names() {
        const LOCAL: &str = "127.0.0.1";
        const OTHER: &str = "10.1.2.3";
        let served = Ok(Page::Live);
        let (other, none) = (Err(RequestError::OtherHost), Err(RequestError::NoHost));
        for (reached, host, expected) in [
            (LOCAL, "127.0.0.1:8090", served),
            (LOCAL, "127.0.0.1", served),
            (LOCAL, "localhost:8090", served),
            (LOCAL, "LOCALHOST.", served),
            (LOCAL, "127.0.0.2", other),
            (LOCAL, "[::1]:8090", other),
            ("::1", "[::1]:8090", served),
            ("::1", "localhost", served),
            ("::ffff:10.1.2.3", "10.1.2.3:8090", served),
            (OTHER, "10.1.2.3:8090", served),
            (OTHER, "localhost", other),
            (OTHER, "127.0.0.1", other),
            (OTHER, "10.1.2.4", other),
            (OTHER, "Bridge.Monitoring.svc:8090", served),
            (LOCAL, "bridge.monitoring.svc", served),
            (LOCAL, "evil.example", other),
            (LOCAL, "localhost.evil.example", other),
            (LOCAL, "evil.example@127.0.0.1", other),
            (LOCAL, "127.0.0.1@evil.example", other),
            (LOCAL, "0x7f000001", other),
            (LOCAL, "", none),
            (LOCAL, "a b", none),
        ] {
            let request = parts("GET", "/live", &[("host", host)]);
            let hosts = ["bridge.monitoring.svc".to_owned()];
            let found = page(&request, false, reached.parse().unwrap(), &hosts);
            assert_eq!(found, expected, "{host} at {reached}");
        }
    }

    #[test]
    fn invalid_requests_are_rejected() {
        const HOST: (&str, &str) = ("host", "127.0.0.1:8090");
        type Case<'a> =
            (&'a str, &'a str, &'a [(&'a str, &'a str)], bool, Result<Page, RequestError>);
        let cases: &[Case<'_>] = &[
            ("GET", "/metrics", &[HOST], false, Ok(Page::Metrics)),
            ("HEAD", "/ready", &[HOST], false, Ok(Page::Ready)),
            ("GET", "/status?x=y", &[HOST], false, Ok(Page::Status)),
            ("GET", "http://127.0.0.1:8090/live", &[HOST], false, Ok(Page::Live)),
            ("GET", "http://evil.example/live", &[HOST], false, Err(RequestError::OtherHost)),
            ("GET", "/live", &[], false, Err(RequestError::NoHost)),
            ("GET", "/live", &[HOST, HOST], false, Err(RequestError::NoHost)),
            ("GET", "/live", &[HOST], true, Err(RequestError::Body)),
            ("POST", "/live", &[HOST], false, Err(RequestError::Method)),
            ("DELETE", "/metrics", &[HOST], false, Err(RequestError::Method)),
            ("OPTIONS", "/metrics", &[HOST], false, Err(RequestError::Method)),
            ("GET", "/", &[HOST], false, Ok(Page::Home)),
            ("GET", "/index.html", &[HOST], false, Err(RequestError::Missing)),
            ("GET", "/metrics/", &[HOST], false, Err(RequestError::Missing)),
            ("GET", "/../status", &[HOST], false, Err(RequestError::Missing)),
        ];
        for (method, target, headers, has_body, expected) in cases {
            let request = parts(method, target, headers);
            let found = page(&request, *has_body, "127.0.0.1".parse().unwrap(), &[]);
            assert_eq!(found, *expected, "{method} {target} {headers:?}");
        }
    }

    #[test]
    fn only_the_exact_token_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "tulip\n").unwrap();
        let token = LocalSecret::File(file).read().unwrap();
        for (given, expected) in [
            (Some("Bearer tulip"), true),
            (Some("bearer tulip"), true),
            (Some("Bearer tulips"), false),
            (Some("Bearer "), false),
            (Some("Basic b3BlcmF0b3I6dHVsaXA="), true), // operator:tulip
            (Some("basic OnR1bGlw"), true),             // :tulip
            (Some("Basic dHVsaXA6"), false),            // tulip:
            (Some("Basic dHVsaXA="), false),            // tulip
            (Some("Basic tulip"), false),
            (Some("tulip"), false),
            (Some(""), false),
            (None, false),
        ] {
            let headers: Vec<_> = given.iter().map(|given| ("authorization", *given)).collect();
            let request = parts("GET", "/status", &headers);
            assert_eq!(has_token(&request.headers, &token), expected, "{given:?}");
        }
    }

    #[test]
    fn each_scraper_gets_the_format_that_it_accepts() {
        for (accept, expected) in [
            ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", true),
            ("text/plain;version=0.0.4, application/openmetrics-text; version=1.0.0", true),
            ("text/plain;version=0.0.4", false),
            ("*/*", false),
        ] {
            let request = parts("GET", "/metrics", &[("accept", accept)]);
            assert_eq!(accepts_openmetrics(&request.headers), expected, "{accept}");
        }
    }
}
