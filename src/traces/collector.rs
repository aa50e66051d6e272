//! One request to a collector, by OTLP over HTTP.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, redirect};
use tokio::time::Instant;

use super::{TracesError, otlp};
use crate::config::{self, HeaderText};
use crate::identity::{Identities, pause_of};

/// No answer says more that anybody wants to know.
const MOST_BYTES: usize = 64 * 1024;

/// Where spans are sent.
#[derive(Debug)]
pub(super) struct Collector {
    client: Client,
    url: String,
    /// As the configuration has them.
    named: Vec<(String, HeaderText)>,
    headers: HeaderMap,
    identities: Arc<Identities>,
    /// When secrets were read last.
    read: Instant,
}

/// What a collector says to a batch. No text holds a secret.
#[derive(Debug)]
pub(super) enum Answer {
    /// It took the batch, but for so many spans of it.
    Taken { refused: u64, why: String },
    /// It will never take it.
    Refused { why: String },
    /// It may take it later, after so long if it says so.
    Later { why: String, told: Option<Duration> },
}

impl Collector {
    pub(super) async fn new(
        config: &config::Traces,
        identities: Arc<Identities>,
    ) -> Result<Self, TracesError> {
        let mut client = Client::builder()
            .user_agent(concat!("cosmos-bridge/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            // The environment may name proxies; the file does not.
            .no_proxy()
            .timeout(config.timeout);
        if let Some(file) = &config.ca_file {
            client = client.tls_certs_merge(authorities(file).map_err(TracesError::Authority)?);
        }
        let client = client.build().map_err(|error| TracesError::Setup(chain(&error)))?;
        let named = config.headers.clone();
        let headers = headers(&named, &identities).await?;
        let (url, read) = (config.endpoint.clone(), Instant::now());
        Ok(Self { client, url, named, headers, identities, read })
    }

    /// Reads secrets again. What cannot be read is kept as it was.
    pub(super) async fn read_headers(&mut self) {
        let secrets = self.named.iter().filter_map(|(_, text)| match text {
            HeaderText::Secret(reference) => Some(pause_of(reference)),
            HeaderText::Text(_) => None,
        });
        if Instant::now() < self.read + secrets.max().unwrap_or_default() {
            return;
        }
        if let Ok(headers) = headers(&self.named, &self.identities).await {
            self.headers = headers;
        }
        self.read = Instant::now();
    }

    /// Makes one attempt.
    pub(super) async fn post(&self, body: Vec<u8>) -> Answer {
        let request = self.client.post(&self.url).headers(self.headers.clone());
        let sent = request.header(CONTENT_TYPE, "application/x-protobuf").body(body).send().await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                return Answer::Later { why: chain(&error.without_url()), told: None };
            }
        };
        let status = response.status();
        if status.is_success() {
            let (refused, why) = otlp::refused(&text(response).await);
            let why = format!("the collector refused {refused} spans: {why}");
            return Answer::Taken { refused, why };
        }
        let why = format!("the collector answers {status}");
        // https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes
        if matches!(status.as_u16(), 429 | 502..=504) {
            return Answer::Later { why, told: retry_after(&response) };
        }
        Answer::Refused { why }
    }
}

/// In seconds; a date is not understood.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    // A collector that is away for a day is asked sooner.
    Some(Duration::from_secs(seconds).min(Duration::from_mins(5)))
}

/// The beginning of an answer's body.
async fn text(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < MOST_BYTES
        && let Ok(Some(more)) = response.chunk().await
    {
        body.extend_from_slice(&more);
    }
    body
}

async fn headers(
    named: &[(String, HeaderText)],
    identities: &Identities,
) -> Result<HeaderMap, TracesError> {
    let mut headers = HeaderMap::new();
    for (name, text) in named {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| TracesError::Header)?;
        let value = match text {
            HeaderText::Text(text) => HeaderValue::from_str(text),
            HeaderText::Secret(reference) => {
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
    if authorities.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(authorities) }
}

/// An error with what caused it: the first alone often says nothing.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
