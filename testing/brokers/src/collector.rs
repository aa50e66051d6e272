//! A receiver of traces: OTLP over HTTP, decoded by OpenTelemetry's own classes for Python.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::endpoint::Endpoint;
use crate::error::BrokerError;

/// A running receiver. Its answers are set at its endpoint.
#[derive(Debug)]
pub struct Collector(pub Endpoint);

/// A received span.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Span {
    /// Ids are in hexadecimal; without a parent that is empty.
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    /// `consumer`, `producer`, `client` ..
    pub kind: String,
    pub flags: u32,
    /// Nanoseconds since the epoch.
    pub start: u64,
    pub end: u64,
    pub attributes: Map<String, Value>,
    pub error: bool,
    pub resource: Map<String, Value>,
    pub scope: String,
}

impl Collector {
    /// # Errors
    ///
    /// As [`Endpoint::start`].
    pub async fn start() -> Result<Self, BrokerError> {
        Endpoint::begin("collect_traces.py", false).await.map(Self)
    }

    /// Serves HTTPS, with a certificate that a private authority has signed.
    ///
    /// # Errors
    ///
    /// As [`Endpoint::start`].
    pub async fn start_with_tls() -> Result<Self, BrokerError> {
        Endpoint::begin("collect_traces.py", true).await.map(Self)
    }

    /// The address without a path.
    pub fn url(&self) -> String {
        self.0.url().trim_end_matches('/').to_owned()
    }

    /// Every received span.
    ///
    /// # Errors
    ///
    /// When its file holds anything else.
    pub fn spans(&self) -> Result<Vec<Span>, BrokerError> {
        let mut spans = Vec::new();
        for request in self.0.taken()? {
            let parsed: Result<Vec<Span>, _> = serde_json::from_str(&request.body);
            spans.extend(parsed.map_err(|error| BrokerError::Failed {
                program: "collect_traces.py".to_owned(),
                said: error.to_string(),
            })?);
        }
        Ok(spans)
    }
}
