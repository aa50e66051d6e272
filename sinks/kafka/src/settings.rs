//! Options with their secrets in place.

use std::sync::Arc;

use cosmos_bridge_event::Encoder;
use cosmos_bridge_sink::{Secret, TokenSource};

use crate::KafkaOptions;

/// The options of a sink, with its secrets.
#[derive(Clone, Debug)]
pub struct Settings {
    pub options: KafkaOptions,
    pub encoder: Encoder,
    pub sasl: Option<Sasl>,
}

/// How the bridge authenticates.
#[derive(Clone, Debug)]
pub enum Sasl {
    Password {
        mechanism: Mechanism,
        username: String,
        password: Secret,
    },
    /// OAUTHBEARER with a token that another program renews.
    Bearer {
        token: Secret,
    },
    /// OAUTHBEARER with tokens that are requested when the client needs one.
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
