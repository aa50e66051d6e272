//! Where the hubs of a namespace are.

use std::fmt;
use std::net::IpAddr;

/// Of AMQP over TLS, and of what is on this machine without it.
pub(crate) const PORT: u16 = 5671;
pub(crate) const PLAIN_PORT: u16 = 5672;

/// A host, its port, and whether it is reached with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Off on this machine alone.
    pub(crate) tls: bool,
}

/// Why a text is no namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoNamespace {
    #[error("this is no host")]
    Host,
    #[error("the port is no port")]
    Port,
    #[error("only a stand-in on this machine may be reached without encryption")]
    Plain,
}

impl Namespace {
    /// Reads `NAME.servicebus.windows.net`, with `:PORT` where it is not 5671. `amqp://` before it
    /// is for a stand-in on this machine: tokens must not travel without encryption.
    ///
    /// # Errors
    ///
    /// It is something else.
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

    /// What a token for a hub is put for.
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

/// Host, in brackets where it is an address of IPv6, and port.
pub(crate) fn split(authority: &str) -> Result<(&str, Option<u16>), NoNamespace> {
    // An address of IPv6 has colons of its own, in brackets.
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
