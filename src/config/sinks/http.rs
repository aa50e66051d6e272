//! `[sinks.http.<name>]`: an endpoint that events are posted to.

use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_event::Format;

use super::super::reader::Value;
use super::super::table::Table;
use super::super::{SecretRef, defaults};
use super::as_usize;
use super::events::{Events, events};

/// `[sinks.http.<name>]`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSink {
    pub url: Address,
    /// Sent as `Authorization: Bearer ..`.
    pub bearer: Option<SecretRef>,
    /// Sent with every request.
    pub headers: Vec<(String, HeaderText)>,
    /// Authorities to trust beside the system's, in PEM form.
    pub ca_file: Option<PathBuf>,
    /// Events in one request.
    pub batch: usize,
    /// Bytes of one request's body.
    pub max_body: usize,
    /// Requests under way at once.
    pub concurrency: usize,
    /// Longest wait for one answer.
    pub request_timeout: Duration,
    /// More statuses with which the endpoint refuses an event for good.
    pub refusals: Vec<u16>,
    pub events: Events,
}

/// An address, which is a secret where it carries a signature.
#[derive(Clone, Debug, PartialEq)]
pub enum Address {
    Url(String),
    Secret(SecretRef),
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq)]
pub enum HeaderText {
    Text(String),
    Secret(SecretRef),
}

pub(super) fn read(value: &Value<'_>) -> Option<HttpSink> {
    let table = value.table("a table", "")?;
    let url = table
        .required("url", "Write the address, or { env = \"VARIABLE\" } where it holds a secret.")
        .and_then(|url| address(&url));
    let bearer = table.maybe("bearer", Value::secret_reference);
    let headers = table.or("headers", Vec::new(), headers);
    let ca_file = table.maybe("ca_file", Value::file);
    let batch = table.or("batch", 1, |batch| batch.integer(defaults::HTTP_BATCHES));
    let max_body = table
        .or("max_body", as_usize(defaults::MAX_BODY), |bytes| bytes.size(&defaults::BODY_SIZES));
    let concurrency = table.or("concurrency", defaults::HTTP_CONCURRENCY, |concurrency| {
        concurrency.integer(defaults::CONCURRENCIES)
    });
    let request_timeout = table.or("request_timeout", defaults::REQUEST_TIMEOUT, |timeout| {
        timeout.duration(&defaults::REQUEST_TIMEOUTS)
    });
    let refusals = table.or("refusals", Vec::new(), |statuses| {
        statuses.all(|status| u16::try_from(status.integer(400..=599)?).ok())
    });
    let events = events(&table).filter(|events| fits(&table, batch, events.format));
    table.finish();
    Some(HttpSink {
        url: url?,
        bearer: bearer?,
        headers: headers?,
        ca_file: ca_file?,
        batch: batch? as usize,
        max_body: max_body?,
        concurrency: concurrency? as usize,
        request_timeout: request_timeout?,
        refusals: refusals?,
        events: events?,
    })
}

impl HttpSink {
    pub(super) fn secrets(&self) -> Vec<(&'static str, SecretRef)> {
        let url = match &self.url {
            Address::Secret(secret) => Some(("url", secret)),
            Address::Url(_) => None,
        };
        let bearer = self.bearer.as_ref().map(|secret| ("bearer", secret));
        let headers = self.headers.iter().filter_map(|(_, text)| match text {
            HeaderText::Secret(secret) => Some(("headers", secret)),
            HeaderText::Text(_) => None,
        });
        let secrets = url.into_iter().chain(bearer).chain(headers);
        secrets.map(|(option, secret)| (option, secret.clone())).collect()
    }
}

fn address(value: &Value<'_>) -> Option<Address> {
    const HINT: &str = "Write it like \"https://events.example/orders\".";
    if value.node.is_table() {
        return value.secret_reference().map(Address::Secret);
    }
    let text = value.filled()?;
    // Where a password or a signature would stand, if it were an address.
    let value = if text.contains(['?', '@']) { &value.secret() } else { value };
    let Ok(url) = url::Url::parse(&text) else {
        value.problem("this is no URL", HINT);
        return None;
    };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        value.problem("this is no URL that can be posted to", HINT);
        return None;
    }
    if !url.username().is_empty() || url.password().is_some() || has_a_signature(&url) {
        let hint =
            "Put the whole URL into a file or the environment: url = { env = \"VARIABLE\" }.";
        value.secret().problem("the URL holds a secret", hint);
        return None;
    }
    Some(Address::Url(text))
}

/// Signatures and keys of workflows, functions and storage stand in the query.
fn has_a_signature(url: &url::Url) -> bool {
    url.query_pairs().any(|(name, _)| {
        matches!(
            &*name.to_ascii_lowercase(),
            "sig" | "code" | "key" | "token" | "api_key" | "apikey"
        )
    })
}

pub(in crate::config) fn headers(value: &Value<'_>) -> Option<Vec<(String, HeaderText)>> {
    let entries = value.named("a table of headers")?;
    let mut headers = Vec::new();
    for (name, value) in entries {
        // One option, whatever the header is called.
        let value = value.shaped("headers");
        if !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte))
        {
            value.problem_unshown(
                "HTTP allows no such header",
                "Write a name like x-functions-key.",
            );
            headers.push(None);
            continue;
        }
        let text = if value.node.is_table() {
            value.secret_reference().map(HeaderText::Secret)
        } else {
            value.filled().map(HeaderText::Text)
        };
        headers.push(text.map(|text| (name.to_owned(), text)));
    }
    headers.into_iter().collect()
}

/// Refuses batches of events that need headers of their own.
fn fits(table: &Table<'_>, batch: Option<u32>, format: Format) -> bool {
    if !format.needs_attributes() || batch.is_none_or(|batch| batch == 1) {
        return true;
    }
    let at = table.get("batch").unwrap_or_else(|| table.value().clone());
    at.problem(
        "these events need headers of their own, so one request holds one",
        "Write cloudevents = \"structured\" beside it, or batch = 1.",
    );
    false
}
