//! The settings of one sink.

use std::fmt;

use cosmos_bridge_event::Encoder;
use cosmos_bridge_sink::{Grouping, Limits, Secret, Template};

use crate::{Expiry, Server, ServerOptions};

/// How a server or cluster is written to.
#[derive(Clone, Debug)]
pub struct Settings {
    pub server: ServerOptions,
    /// The files of `tls`.
    pub certificates: Certificates,
    /// The secret of `password`.
    pub password: Option<Secret>,
    pub key: Template,
    pub mode: Mode,
}

/// How a change is stored.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// The document as JSON text in a string.
    Set(Expiry),
    /// The document as a value of the module `RedisJSON`.
    Json(Expiry),
    /// Each field at the top of the document as a field of a hash.
    Hash(Expiry),
    /// An event in a stream.
    Stream(Stream),
}

/// How events are written to streams.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub encoder: Encoder,
    /// The most bytes of one event, attributes included.
    pub max_message: usize,
    /// The server removes the oldest entries of longer streams.
    pub max_length: Option<u32>,
}

/// Certificates in PEM form.
#[derive(Clone, Default)]
pub struct Certificates {
    /// The authorities to trust; `None` for the system's.
    pub authorities: Option<Vec<u8>>,
    /// The client's certificate chain and its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Shows no certificate and no key.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

/// Of documents in one write, which are held twice while it is in flight.
const WRITE_BYTES: usize = 8 * 1024 * 1024;

impl Settings {
    pub(crate) fn limits(&self) -> Limits {
        let ServerOptions { batch, concurrency, .. } = self.server;
        Limits { grouping: Grouping::Any, changes: batch, bytes: WRITE_BYTES, concurrency }
    }

    /// The address without credentials: `rediss://cache.example:6380/2`.
    pub(crate) fn address(&self) -> String {
        let ServerOptions { servers, cluster, database, tls, .. } = &self.server;
        let scheme = if tls.is_some() { "rediss" } else { "redis" };
        let servers: Vec<String> = servers.iter().map(Server::to_string).collect();
        let servers = servers.join(",");
        if *cluster {
            format!("{scheme}://{servers} (cluster)")
        } else {
            format!("{scheme}://{servers}/{database}")
        }
    }
}
