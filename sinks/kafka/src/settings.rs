//! What a Kafka sink is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_event::Encoder;
use cosmos_bridge_sink::{Secret, Template, TokenSource};

/// Where to publish, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port`, several with commas; the client learns of the others from them.
    pub servers: String,
    pub topic: Template,
    /// Messages of one key are in one partition, and so in order.
    pub key: Template,
    /// More headers. One whose field a change does not have is left out.
    pub headers: Vec<(String, Template)>,
    /// A delete is a message without a value, which compaction takes as the end of the key.
    pub tombstones: bool,
    pub encoder: Encoder,
    pub compression: Compression,
    /// The longest wait for more messages before a batch is sent.
    pub linger: Duration,
    /// The longest wait for acknowledgements before the bridge is told to come again.
    pub timeout: Duration,
    /// Bytes of the largest message, key and headers included, before compression.
    pub max_message: usize,
    pub tls: Option<Tls>,
    pub sasl: Option<Sasl>,
    /// Options of librdkafka by their names, over everything above.
    pub options: Vec<(String, String)>,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Whom to trust, and who the bridge is. Files are in PEM form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities; those of the system where none are named.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// How the bridge proves who it is.
#[derive(Clone, Debug)]
pub enum Sasl {
    Password {
        mechanism: Mechanism,
        username: String,
        password: Secret,
    },
    /// OAUTHBEARER with a token that somebody else renews.
    Bearer {
        token: Secret,
    },
    /// OAUTHBEARER with tokens that are asked for whenever the client needs one.
    Tokens {
        source: Arc<dyn TokenSource>,
    },
}

/// A mechanism with a user's name and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Settings {
    /// Settings for a broker without TLS and SASL.
    pub fn new(
        servers: impl Into<String>,
        topic: Template,
        key: Template,
        encoder: Encoder,
    ) -> Self {
        Self {
            servers: servers.into(),
            topic,
            key,
            headers: Vec::new(),
            tombstones: false,
            encoder,
            compression: Compression::Zstd,
            linger: Duration::from_millis(5),
            timeout: Duration::from_secs(10),
            max_message: 1_000_000,
            tls: None,
            sasl: None,
            options: Vec::new(),
        }
    }
}
