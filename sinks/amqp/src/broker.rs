//! The address of a broker, and TLS for it.

use std::fmt;
use std::sync::Arc;

use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;

/// The address of a broker, with credentials that are never printed.
#[derive(Clone)]
pub struct Broker {
    pub(crate) uri: AMQPUri,
    /// `None` for `amqp://`.
    pub(crate) tls: Option<Arc<RustlsConnector>>,
}

/// The trusted CAs and the client certificate, in PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// The CAs to trust in addition to those of the system.
    pub authorities: Option<Vec<u8>>,
    pub identity: Option<Identity>,
}

/// A client certificate with its chain, and its key.
#[derive(Clone)]
pub struct Identity {
    pub certificates: Vec<u8>,
    pub key: Vec<u8>,
}

/// Why a text is not the address of a broker. The text may hold a password, so it is not printed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    #[error("invalid URI")]
    Uri,
    #[error("the URI has an unescaped `/`, `?`, `#` or `@` in the user, password or virtual host")]
    Unescaped,
    #[error("the scheme is neither `amqp` nor `amqps`")]
    Scheme,
    #[error("the URI has no host")]
    Host,
    #[error("unknown parameter `{0}`, or invalid value of it")]
    Parameter(String),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl BrokerError {
    /// The option to correct, and how.
    pub(crate) fn remedy(&self) -> (&'static str, &'static str) {
        match self {
            Self::Tls(TlsError::Authorities) => ("ca_file", "Write a file in PEM form."),
            Self::Tls(TlsError::Certificates) => {
                ("client.certificate", "Write a file in PEM form.")
            }
            Self::Tls(TlsError::Key) => ("client.key", "Write a key in PEM form."),
            Self::Tls(TlsError::Unencrypted) => {
                ("uri", "Write amqps:// there, or leave the certificates out.")
            }
            Self::Tls(TlsError::Unusable(_)) => {
                ("client.certificate", "Check that certificate and key belong together.")
            }
            Self::Unescaped => {
                ("uri", "Percent-encode them: %2F for /, %3F for ?, %23 for #, %40 for @.")
            }
            _ => ("uri", "Write it like amqps://user:password@broker.example/vhost."),
        }
    }
}

/// Why certificates cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    #[error("no CA certificate in PEM format")]
    Authorities,
    #[error("no client certificate in PEM format")]
    Certificates,
    #[error("no private key in PEM format")]
    Key,
    #[error("the certificates cannot be used: {0}")]
    Unusable(String),
    #[error("certificates need `amqps://`, but the URI has `amqp://`")]
    Unencrypted,
}

/// The allowed query parameters of the URI. Other settings have their own options.
const PARAMETERS: [&str; 3] = ["auth_mechanism", "channel_max", "frame_max"];

impl Broker {
    /// Reads `amqp://user:password@host:port/vhost` or `amqps://...`.
    pub fn new(uri: &str, tls: &Tls) -> Result<Self, BrokerError> {
        let parsed = parse(uri)?;
        let tls = match parsed.scheme {
            AMQPScheme::AMQPS => Some(Arc::new(connector(tls)?)),
            AMQPScheme::AMQP if tls.authorities.is_some() || tls.identity.is_some() => {
                return Err(TlsError::Unencrypted.into());
            }
            AMQPScheme::AMQP => None,
        };
        Ok(Self { uri: parsed, tls })
    }

    pub(crate) fn user(&self) -> &str {
        match self.uri.query.auth_mechanism {
            Some(SASLMechanism::External) => "of the certificate",
            _ => &self.uri.authority.userinfo.username,
        }
    }
}

/// Checks a URI for a broker to which certificates are configured, or are not.
pub(crate) fn check_uri(uri: &str, has_certificates: bool) -> Result<(), BrokerError> {
    match parse(uri)?.scheme {
        AMQPScheme::AMQP if has_certificates => Err(TlsError::Unencrypted.into()),
        AMQPScheme::AMQP | AMQPScheme::AMQPS => Ok(()),
    }
}

/// Checks the key of a client certificate.
pub(crate) fn check_key(pem: &str) -> Result<(), BrokerError> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes());
    key.map(drop).map_err(|_| TlsError::Key.into())
}

/// The host and the virtual host of a URI.
pub(crate) fn place_of(uri: &str) -> Result<(String, String), BrokerError> {
    let AMQPUri { authority, vhost, .. } = parse(uri)?;
    Ok((authority.host.to_ascii_lowercase(), vhost))
}

fn parse(uri: &str) -> Result<AMQPUri, BrokerError> {
    // Editors leave spaces and line breaks around a secret.
    let uri = uri.trim();
    // Before anything is taken for a host or a parameter and printed: it may be a piece of the password.
    let address = uri.split_once("://").map_or(uri, |(_, address)| address);
    let before_host = address.rsplit_once('@').map_or("", |(userinfo, _)| userinfo);
    if before_host.contains(['/', '?', '#', '@']) {
        return Err(BrokerError::Unescaped);
    }
    let url = Url::parse(uri).map_err(|_| BrokerError::Uri)?;
    if !["amqp", "amqps"].contains(&url.scheme()) {
        return Err(BrokerError::Scheme);
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(BrokerError::Host)?;
    let unknown = |name: &str| !PARAMETERS.contains(&name);
    if let Some((name, _)) = url.query_pairs().find(|(name, _)| unknown(name)) {
        return Err(BrokerError::Parameter(name.into_owned()));
    }
    let mut parsed: AMQPUri = url.as_str().parse().map_err(|_| match url.query_pairs().next() {
        Some((name, _)) => BrokerError::Parameter(name.into_owned()),
        None => BrokerError::Uri,
    })?;
    // The client would treat "localhost" as an IPv6 address.
    host.trim_matches(['[', ']']).clone_into(&mut parsed.authority.host);
    Ok(parsed)
}

/// Without credentials.
impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { scheme, authority, vhost, .. } = &self.uri;
        let (host, port) = (&authority.host, authority.port);
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        write!(f, "{scheme}://{host}:{port} (virtual host ")?;
        match vhost.as_str() {
            "" => f.write_str("\"\", because the URI ends with `/`)"),
            vhost => write!(f, "{vhost})"),
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn connector(tls: &Tls) -> Result<RustlsConnector, TlsError> {
    let mut config = RustlsConnectorConfig::new_with_platform_verifier();
    if let Some(pem) = &tls.authorities {
        config.add_parsable_certificates(certificates(pem).ok_or(TlsError::Authorities)?);
    }
    let connector = match &tls.identity {
        None => config.connector_with_no_client_auth(),
        Some(identity) => {
            let chain = certificates(&identity.certificates).ok_or(TlsError::Certificates)?;
            let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|_| TlsError::Key)?;
            config.connector_with_single_cert(chain, key)
        }
    };
    connector.map_err(|error| TlsError::Unusable(error.to_string()))
}

/// The certificates. `None` if there is no certificate, or an invalid one.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown_without_its_password() {
        let table = [
            ("amqp://localhost", "amqp://localhost:5672 (virtual host /)"),
            (" amqp://u:secret@b:1234/orders\n", "amqp://b:1234 (virtual host orders)"),
            ("amqps://u:secret@b/a%2fb", "amqps://b:5671 (virtual host a/b)"),
            ("amqp://u:secret@[::1]:1234/%2f", "amqp://[::1]:1234 (virtual host /)"),
            (
                "amqp://127.0.0.1/",
                "amqp://127.0.0.1:5672 (virtual host \"\", because the URI ends with `/`)",
            ),
        ];
        for (uri, shown) in table {
            let broker = Broker::new(uri, &Tls::default()).unwrap();
            assert_eq!(broker.to_string(), shown);
            assert!(!format!("{broker:?}").contains("secret"));
        }
        let encoded = Broker::new("amqp://u%40x:p%2fw@b/v", &Tls::default()).unwrap();
        let userinfo = &encoded.uri.authority.userinfo;
        assert_eq!((userinfo.username.as_str(), userinfo.password.as_str()), ("u@x", "p/w"));
        let v6 = Broker::new("amqp://[::1]:1234", &Tls::default()).unwrap();
        assert_eq!(v6.uri.authority.host, "::1");
    }

    #[test]
    fn an_invalid_address_is_refused_without_printing_it() {
        let parameter = |name: &str| BrokerError::Parameter(name.to_owned());
        let table = [
            ("", BrokerError::Uri),
            ("broker.example", BrokerError::Uri),
            ("amqp://u:secret@b:port", BrokerError::Uri),
            ("amqp://u:a@secret/b@host:5672/%2f", BrokerError::Unescaped),
            ("amqp://u:sec/ret@host", BrokerError::Unescaped),
            ("amqp://u:1/secret@host", BrokerError::Unescaped),
            ("amqp://u:1#secret@host", BrokerError::Unescaped),
            ("amqp://u:1?secret=1@host", BrokerError::Unescaped),
            ("amqp://u:p@host/?secret=a@b", BrokerError::Unescaped),
            ("https://u:secret@b", BrokerError::Scheme),
            ("localhost:5672", BrokerError::Scheme),
            ("amqp:///vhost", BrokerError::Host),
            ("amqp://b?verify=none", parameter("verify")),
            ("amqp://b?heartbeat=0", parameter("heartbeat")),
            ("amqp://b?frame_max=many", parameter("frame_max")),
        ];
        for (uri, expected) in table {
            let error = Broker::new(uri, &Tls::default()).unwrap_err();
            assert_eq!(error, expected, "{uri}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn certificates_are_checked_immediately() {
        let none = Some(b"no certificate".to_vec());
        let tls = Tls { authorities: none, identity: None };
        let error = Broker::new("amqps://b", &tls).unwrap_err();
        assert_eq!(error, BrokerError::Tls(TlsError::Authorities));
        let error = Broker::new("amqp://b", &tls).unwrap_err();
        assert_eq!(error, BrokerError::Tls(TlsError::Unencrypted));
        let identity = Identity { certificates: Vec::new(), key: Vec::new() };
        let tls = Tls { authorities: None, identity: Some(identity) };
        let error = Broker::new("amqps://b", &tls).unwrap_err();
        assert_eq!(error, BrokerError::Tls(TlsError::Certificates));
        assert!(Broker::new("amqps://b", &Tls::default()).is_ok());
    }

    /// The state is bound to it: another place is another target.
    #[test]
    fn a_uri_names_the_same_place_whatever_its_user_and_its_spelling() {
        let table = [
            ("amqp://localhost", ("localhost", "/")),
            ("amqp://u:secret@Broker.example:1234/orders", ("broker.example", "orders")),
            (" amqps://v:other@broker.example/orders\n", ("broker.example", "orders")),
            ("amqps://broker.example/a%2fb", ("broker.example", "a/b")),
            ("amqp://[::1]/", ("::1", "")),
        ];
        for (uri, (host, vhost)) in table {
            assert_eq!(place_of(uri), Ok((host.to_owned(), vhost.to_owned())), "{uri}");
        }
    }

    #[test]
    fn the_user_is_that_of_the_uri_or_of_the_certificate() {
        let table = [
            ("amqp://orders:secret@b", "orders"),
            ("amqp://b", "guest"),
            ("amqp://orders:secret@b?auth_mechanism=plain", "orders"),
            ("amqp://b?auth_mechanism=external", "of the certificate"),
        ];
        for (uri, user) in table {
            assert_eq!(Broker::new(uri, &Tls::default()).unwrap().user(), user, "{uri}");
        }
    }

    #[test]
    fn a_problem_names_the_option_to_correct() {
        let table = [
            (BrokerError::Tls(TlsError::Authorities), "ca_file"),
            (BrokerError::Tls(TlsError::Certificates), "client.certificate"),
            (BrokerError::Tls(TlsError::Key), "client.key"),
            (BrokerError::Tls(TlsError::Unusable("no match".to_owned())), "client.certificate"),
            (BrokerError::Tls(TlsError::Unencrypted), "uri"),
            (BrokerError::Unescaped, "uri"),
            (BrokerError::Host, "uri"),
        ];
        for (problem, option) in table {
            assert_eq!(problem.remedy().0, option, "{problem}");
        }
    }

    #[test]
    fn a_client_certificate_is_read_with_its_whole_chain() {
        let one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        let table = [
            (String::new(), None),
            ("no certificate".to_owned(), None),
            (one.to_owned(), Some(1)),
            (format!("{one}{one}"), Some(2)),
            (format!("{one}{broken}"), None),
        ];
        for (pem, count) in table {
            assert_eq!(certificates(pem.as_bytes()).map(|all| all.len()), count, "{pem}");
        }
    }
}
