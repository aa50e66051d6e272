//! Sends one request to a collector with OTLP over HTTP.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, redirect};
use tokio::time::Instant;

use super::error::TracesError;
use super::otlp;
use crate::config::{self, TextOrSecret};
use crate::identity::{Identities, pause_of};

/// The part of a response body that is read; error messages are shorter.
const MAX_BYTES: usize = 64 * 1024;

/// The endpoint that spans are sent to.
#[derive(Debug)]
pub(super) struct Collector {
    client: Client,
    url: String,
    /// The headers as the configuration defines them.
    configured: Vec<(String, TextOrSecret)>,
    headers: HeaderMap,
    identities: Arc<Identities>,
    /// When the secrets were last read.
    last_read: Instant,
}

/// The result of sending a batch. No text contains a secret.
#[derive(Debug)]
pub(super) enum PostResult {
    /// The collector accepted the batch, except this number of spans.
    Accepted { rejected: u64, why: String },
    /// The collector will never accept the batch.
    Rejected { why: String },
    /// The collector may accept the batch later.
    Retry { why: String, retry_after: Option<Duration> },
}

impl Collector {
    pub(super) async fn new(
        config: &config::Traces,
        identities: Arc<Identities>,
    ) -> Result<Self, TracesError> {
        let mut client = Client::builder()
            .user_agent(concat!("cosmos-bridge/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            // Proxies would come from the environment, not from the configuration file.
            .no_proxy()
            .timeout(config.timeout);
        if let Some(file) = &config.ca_file {
            client = client.tls_certs_merge(authorities(file).map_err(TracesError::Authority)?);
        }
        let client = client.build().map_err(|error| TracesError::Setup(chain(&error)))?;
        let configured = config.headers.clone();
        let headers = headers(&configured, &identities).await?;
        let (url, last_read) = (config.endpoint.clone(), Instant::now());
        Ok(Self { client, url, configured, headers, identities, last_read })
    }

    /// Reads the secrets again. If one cannot be read, the headers do not change.
    pub(super) async fn read_headers(&mut self) {
        let pauses = self.configured.iter().filter_map(|(_, text)| match text {
            TextOrSecret::Secret(reference) => Some(pause_of(reference)),
            TextOrSecret::Text(_) => None,
        });
        if Instant::now() < self.last_read + pauses.max().unwrap_or_default() {
            return;
        }
        if let Ok(headers) = headers(&self.configured, &self.identities).await {
            self.headers = headers;
        }
        self.last_read = Instant::now();
    }

    /// Makes one attempt.
    pub(super) async fn post(&self, body: Vec<u8>) -> PostResult {
        let request = self.client.post(&self.url).headers(self.headers.clone());
        let sent = request.header(CONTENT_TYPE, "application/x-protobuf").body(body).send().await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                let why = chain(&error.without_url());
                return PostResult::Retry { why, retry_after: None };
            }
        };
        let status = response.status();
        if status.is_success() {
            let (rejected, why) = otlp::rejected(&text(response).await);
            let why = format!("the collector rejected {rejected} spans: {why}");
            return PostResult::Accepted { rejected, why };
        }
        let why = format!("the collector responded {status}");
        // https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes
        if matches!(status.as_u16(), 429 | 502..=504) {
            return PostResult::Retry { why, retry_after: retry_after(&response) };
        }
        PostResult::Rejected { why }
    }
}

/// The header `Retry-After` in seconds; its form as a date is not supported.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    // A collector that asks for a day is tried again earlier.
    Some(Duration::from_secs(seconds).min(Duration::from_mins(5)))
}

/// The beginning of a response body.
async fn text(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < MAX_BYTES
        && let Ok(Some(more)) = response.chunk().await
    {
        body.extend_from_slice(&more);
    }
    body
}

async fn headers(
    named: &[(String, TextOrSecret)],
    identities: &Identities,
) -> Result<HeaderMap, TracesError> {
    let mut headers = HeaderMap::new();
    for (name, text) in named {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| TracesError::Header)?;
        let value = match text {
            TextOrSecret::Text(text) => HeaderValue::from_str(text),
            TextOrSecret::Secret(reference) => {
                let secret = identities.secret(reference).await.map_err(TracesError::Secret)?;
                HeaderValue::from_str(secret.expose())
            }
        };
        let mut value = value.map_err(|_| TracesError::Header)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn authorities(file: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let pem = std::fs::read(file).map_err(|error| error.to_string())?;
    let authorities = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if authorities.is_empty() {
        Err("it contains no certificate".to_owned())
    } else {
        Ok(authorities)
    }
}

/// An error with its causes: the outermost message alone often says little.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
