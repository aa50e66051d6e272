//! Why traces cannot be sent.

use crate::identity::ReadError;

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error("cannot read a secret of `traces.headers`: {0}")]
    Secret(#[source] ReadError),
    #[error("a value of `traces.headers` contains characters that HTTP does not allow")]
    Header,
    #[error("cannot read the file of `traces.ca_file`: {0}")]
    Authority(String),
    #[error("cannot set up the HTTP client for traces: {0}")]
    Setup(String),
    #[error("the collector of traces does not accept spans: {0}")]
    Collector(String),
}

impl TracesError {
    /// A sentence that says what to do.
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Secret(error) => return error.hint(),
            Self::Header => "Write one line of plain text.",
            Self::Authority(_) => {
                "Name a PEM file; its path is relative to the configuration file."
            }
            Self::Setup(_) => "Check that this machine has CA certificates.",
            Self::Collector(_) => {
                "Check that `traces.endpoint` is the OTLP/HTTP endpoint of the collector."
            }
        };
        hint.to_owned()
    }
}
