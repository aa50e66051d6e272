//! `Endpoint=sb://..;SharedAccessKeyName=..;SharedAccessKey=..;EntityPath=..`.

use std::fmt;
use std::time::SystemTime;

use crate::namespace::{self, Namespace, NoNamespace, PLAIN_PORT, PORT};

/// A parsed connection string. It is printed without its secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString {
    /// Without TLS only for an emulator on this machine or in the same container network.
    pub(crate) namespace: Namespace,
    pub(crate) credential: Credential,
    /// The hub, if the string names one.
    pub(crate) entity: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// Signatures are made with this key, and renewed before they expire.
    Key { name: String, key: String },
    /// A ready signature, valid until it expires.
    Signature(String),
}

/// Why a text is not a connection string. No message contains a part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the connection string has no {0}")]
    Missing(&'static str),
    #[error("the connection string has {0} twice")]
    Twice(&'static str),
    #[error("a part of the connection string is not NAME=VALUE")]
    Part,
    #[error("Endpoint of the connection string is not sb://HOST or sb://HOST:PORT")]
    Endpoint,
    #[error("invalid port in Endpoint of the connection string")]
    Port,
    #[error("UseDevelopmentEmulator of the connection string is neither true nor false")]
    Emulator,
    #[error(
        "UseDevelopmentEmulator=true of the connection string turns encryption off, which is allowed \
         only for localhost and for a container in the same network, whose name has no dot; remove it"
    )]
    Plain,
}

const NAMES: [&str; 6] = [
    "Endpoint",
    "SharedAccessKeyName",
    "SharedAccessKey",
    "SharedAccessSignature",
    "EntityPath",
    "UseDevelopmentEmulator",
];

impl ConnectionString {
    /// Reads a connection string as the vendor's clients do. Unknown names are ignored.
    ///
    /// # Errors
    ///
    /// Something is missing or malformed.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        let mut values: [Option<&str>; 6] = [None; 6];
        for part in text.trim().split(';').map(str::trim).filter(|part| !part.is_empty()) {
            // A base64 value may end with `=`.
            let (name, value) = part.split_once('=').ok_or(Malformed::Part)?;
            let known = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name.trim()));
            if let Some(at) = known
                && values[at].replace(value.trim()).is_some()
            {
                return Err(Malformed::Twice(NAMES[at]));
            }
        }
        let [endpoint, key_name, key, signature, entity, emulator] =
            values.map(|value| value.filter(|value| !value.is_empty()));
        let is_emulator = match emulator {
            None => false,
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(text) if text.eq_ignore_ascii_case("false") => false,
            Some(_) => return Err(Malformed::Emulator),
        };
        let credential = match (key_name, key, signature) {
            (_, _, Some(signature)) => Credential::Signature(signature.to_owned()),
            (None, _, None) => return Err(Malformed::Missing("SharedAccessKeyName")),
            (_, None, None) => return Err(Malformed::Missing("SharedAccessKey")),
            (Some(name), Some(key), None) => {
                Credential::Key { name: name.to_owned(), key: key.to_owned() }
            }
        };
        let (host, port) = address(endpoint.ok_or(Malformed::Missing("Endpoint"))?)?;
        if is_emulator && !is_nearby(&host) {
            return Err(Malformed::Plain);
        }
        let port = port.unwrap_or(if is_emulator { PLAIN_PORT } else { PORT });
        let entity = entity.map(str::to_owned);
        let namespace = Namespace { host, port, tls: !is_emulator };
        Ok(Self { namespace, credential, entity })
    }

    /// A token for a resource, valid for an hour from now; or the ready signature, if there is one.
    pub fn token(&self, resource: &str) -> String {
        self.credential.token(resource, SystemTime::now())
    }

    /// The hub, if the string names one.
    pub fn entity(&self) -> Option<&str> {
        self.entity.as_deref()
    }
}

/// What a connection string leads to, and the hub that it or the configuration names.
///
/// # Errors
///
/// It is no connection string, or the name of the hub is not clear: the problem, and what to do.
pub(crate) fn connect(
    text: &str,
    hub: Option<&str>,
) -> Result<(ConnectionString, String), (String, &'static str)> {
    let connection = ConnectionString::read(text).map_err(|problem| {
        let hint = "Copy it from the hub's or the namespace's shared access policies.";
        (problem.to_string(), hint)
    })?;
    let hub = match (hub, connection.entity()) {
        (Some(hub), Some(entity)) if !hub.eq_ignore_ascii_case(entity) => {
            let message = format!("the connection string is for the hub {entity}, not for {hub}");
            return Err((message, "Leave `hub` out, or take another connection string."));
        }
        (Some(hub), _) | (None, Some(hub)) => hub.to_owned(),
        (None, None) => {
            let hint = "Write `hub`, or take the connection string of a hub, with EntityPath.";
            return Err(("no hub is named".to_owned(), hint));
        }
    };
    Ok((connection, hub))
}

fn address(endpoint: &str) -> Result<(String, Option<u16>), Malformed> {
    let (scheme, rest) = endpoint.split_once("://").ok_or(Malformed::Endpoint)?;
    if !["sb", "amqp", "amqps"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return Err(Malformed::Endpoint);
    }
    let (host, port) =
        namespace::split(rest.trim_end_matches('/')).map_err(|problem| match problem {
            NoNamespace::Port => Malformed::Port,
            NoNamespace::Host | NoNamespace::Plain => Malformed::Endpoint,
        })?;
    Ok((host.to_owned(), port))
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionString")
            .field("namespace", &self.namespace)
            .field("entity", &self.entity)
            .finish_non_exhaustive()
    }
}

/// True if the host is this machine, or has a name without a dot, as containers in one network have.
fn is_nearby(host: &str) -> bool {
    namespace::is_loopback(host) || !host.contains(['.', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_port_and_emulator_are_read() {
        let key = "SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0==";
        for (endpoint, more, host, port, tls) in [
            ("sb://ns.servicebus.windows.net/", "", "ns.servicebus.windows.net", 5671, true),
            ("sb://ns.servicebus.windows.net:5999", "", "ns.servicebus.windows.net", 5999, true),
            ("sb://localhost", ";UseDevelopmentEmulator=true", "localhost", 5672, false),
            ("sb://127.0.0.1:7001/", ";UseDevelopmentEmulator=TRUE;", "127.0.0.1", 7001, false),
            ("sb://[::1]:7001", ";UseDevelopmentEmulator=false", "[::1]", 7001, true),
            ("amqps://[::1]", "", "[::1]", 5671, true),
        ] {
            let read = ConnectionString::read(&format!("Endpoint={endpoint};{key}{more}")).unwrap();
            let expected = Namespace { host: host.to_owned(), port, tls };
            assert_eq!(read.namespace, expected, "{endpoint}");
            let expected = Credential::Key { name: "k".to_owned(), key: "c2VjcmV0==".to_owned() };
            assert!(read.credential == expected, "the key of {endpoint}");
        }
    }

    #[test]
    fn a_hub_and_a_ready_signature_are_read_and_no_secret_is_printed() {
        let text = "Endpoint=sb://h/;EntityPath=orders;\
                    SharedAccessSignature=SharedAccessSignature sr=x&sig=secret%3D&se=1&skn=k";
        let read = ConnectionString::read(text).unwrap();
        assert_eq!(read.entity(), Some("orders"));
        assert!(matches!(&read.credential, Credential::Signature(text) if text.ends_with("skn=k")));
        assert!(!format!("{read:?}").contains("secret"));
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        for (text, expected) in [
            ("", Malformed::Missing("SharedAccessKeyName")),
            ("Endpoint=sb://h;SharedAccessKeyName=k", Malformed::Missing("SharedAccessKey")),
            ("Endpoint=sb://h;SharedAccessKey=s", Malformed::Missing("SharedAccessKeyName")),
            ("SharedAccessKeyName=k;SharedAccessKey=s", Malformed::Missing("Endpoint")),
            ("Endpoint=h;SharedAccessKeyName=k;SharedAccessKey=s", Malformed::Endpoint),
            ("Endpoint=http://h;SharedAccessKeyName=k;SharedAccessKey=s", Malformed::Endpoint),
            ("Endpoint=sb://h/x;SharedAccessKeyName=k;SharedAccessKey=s", Malformed::Endpoint),
            ("Endpoint=sb://h:x;SharedAccessKeyName=k;SharedAccessKey=s", Malformed::Port),
            ("Endpoint=sb://h;Endpoint=sb://h", Malformed::Twice("Endpoint")),
            ("Endpoint", Malformed::Part),
            ("UseDevelopmentEmulator=maybe", Malformed::Emulator),
            (
                "Endpoint=sb://10.0.0.7;SharedAccessKeyName=k;SharedAccessKey=s;\
                 UseDevelopmentEmulator=true",
                Malformed::Plain,
            ),
            (
                "Endpoint=sb://ns.example;SharedAccessKeyName=k;SharedAccessKey=s;\
                 UseDevelopmentEmulator=true",
                Malformed::Plain,
            ),
        ] {
            assert_eq!(ConnectionString::read(text), Err(expected), "{text}");
        }
    }
}
