//! The address of a namespace.

use std::fmt;
use std::net::IpAddr;

/// The ports of AMQP: with TLS, and without TLS on this machine.
pub(crate) const PORT: u16 = 5671;
pub(crate) const PLAIN_PORT: u16 = 5672;

/// A host, its port, and whether to use TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// False only for an address of this machine.
    pub(crate) tls: bool,
}

/// Why a text is not a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoNamespace {
    #[error("invalid host")]
    Host,
    #[error("invalid port")]
    Port,
    #[error("without encryption, the host must be this machine")]
    Plain,
}

impl Namespace {
    /// Reads `NAME.servicebus.windows.net`, with `:PORT` if the port is not 5671. The prefix `amqp://` is
    /// allowed only for this machine: tokens must not be sent without encryption.
    ///
    /// # Errors
    ///
    /// The text is not a namespace.
    pub fn read(text: &str) -> Result<Self, NoNamespace> {
        let (tls, authority) = match text.split_once("://") {
            None => (true, text),
            Some(("amqp", rest)) => (false, rest),
            Some(("sb" | "amqps", rest)) => (true, rest),
            Some(_) => return Err(NoNamespace::Host),
        };
        let (host, port) = split(authority.trim_end_matches('/'))?;
        if !tls && !is_loopback(host) {
            return Err(NoNamespace::Plain);
        }
        let port = port.unwrap_or(if tls { PORT } else { PLAIN_PORT });
        Ok(Self { host: host.to_owned(), port, tls })
    }

    /// The resource of a token for a hub.
    pub(crate) fn resource(&self, hub: &str) -> String {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        format!("{scheme}://{}/{hub}", self.host)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Splits host and port. An IPv6 host is in brackets.
pub(crate) fn split(authority: &str) -> Result<(&str, Option<u16>), NoNamespace> {
    // The colons of an IPv6 address are in brackets.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() || host.contains(['/', '@', '?', '#', ' ', ';', '=']) {
        return Err(NoNamespace::Host);
    }
    let port = port.map(|port| port.parse().map_err(|_| NoNamespace::Port)).transpose()?;
    if port == Some(0) {
        return Err(NoNamespace::Port);
    }
    Ok((host, port))
}

pub(crate) fn is_loopback(host: &str) -> bool {
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{Namespace, NoNamespace};

    #[test]
    fn a_token_is_for_one_hub_of_the_namespace() {
        for (text, resource) in [
            ("ns.example", "amqps://ns.example/orders"),
            ("amqp://127.0.0.1:7001", "amqp://127.0.0.1/orders"),
        ] {
            assert_eq!(Namespace::read(text).unwrap().resource("orders"), resource);
        }
    }

    #[test]
    fn a_namespace_is_a_host_and_encrypted_unless_it_is_on_this_machine() {
        for (text, host, port, tls) in [
            ("ns.servicebus.windows.net", "ns.servicebus.windows.net", 5671, true),
            ("ns.servicebus.windows.net:5999", "ns.servicebus.windows.net", 5999, true),
            ("sb://ns.example/", "ns.example", 5671, true),
            ("amqp://127.0.0.1:7001", "127.0.0.1", 7001, false),
            ("amqp://localhost", "localhost", 5672, false),
            ("amqp://[::1]", "[::1]", 5672, false),
        ] {
            let expected = Namespace { host: host.to_owned(), port, tls };
            assert_eq!(Namespace::read(text), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("", NoNamespace::Host),
            ("https://ns.example", NoNamespace::Host),
            ("ns.example/orders", NoNamespace::Host),
            ("Endpoint=sb://ns.example/;SharedAccessKey=x", NoNamespace::Host),
            ("ns.example:0", NoNamespace::Port),
            ("ns.example:amqp", NoNamespace::Port),
            ("amqp://ns.example", NoNamespace::Plain),
        ] {
            assert_eq!(Namespace::read(text), Err(expected), "{text}");
        }
    }
}
