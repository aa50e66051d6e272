//! What to start, and why it cannot.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::backend::BackendError;

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    pub accounts: Vec<String>,
    /// The port of the first account, the others follow; 0: free ports.
    pub port: u16,
    pub management_port: u16,
    /// A loopback address.
    pub address: IpAddr,
    pub tls: bool,
    /// A bearer token that every account accepts in addition to its key.
    pub token: Option<String>,
    /// The seconds of history that the containers of every account keep; none: no account keeps any.
    pub history_seconds: Option<u32>,
    /// The regions of every account, in the order of their failover, each with an endpoint on a free
    /// port next to that of the account; none or one: the account has the one endpoint.
    pub regions: Vec<String>,
    /// All regions write, instead of the first.
    pub multiple_writes: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            accounts: Vec::new(),
            port: 0,
            management_port: 0,
            address: Ipv4Addr::LOCALHOST.into(),
            tls: false,
            token: None,
            history_seconds: None,
            regions: Vec::new(),
            multiple_writes: false,
        }
    }
}

/// Why local accounts cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("`{0}` is not a loopback address")]
    NotLoopback(IpAddr),
    #[error("could not listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("could not make an account key")]
    Key(#[from] base64::DecodeError),
    #[error("could not make a certificate")]
    Certificate(#[from] crate::tls::TlsError),
}
