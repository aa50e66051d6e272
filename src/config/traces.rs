//! `[traces]`: the collector that is told what becomes of changes.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;
use url::Url;

use super::reader::Value;
use super::sinks::headers;
use super::table::Table;
use super::{HeaderText, SecretRef, defaults};

/// `[traces]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// Where spans are posted to, its path included.
    pub endpoint: String,
    /// Sent with every request.
    pub headers: Vec<(String, HeaderText)>,
    /// Authorities to trust beside the system's, in PEM form.
    pub ca_file: Option<PathBuf>,
    /// The share of changes that are traced: more than 0, at most 1.
    pub sample: f64,
    pub service_name: String,
    /// Longest wait for one answer.
    pub timeout: Duration,
}

#[expect(clippy::option_option, reason = "the outer one is whether there was a problem")]
pub(super) fn traces(root: &Table<'_>) -> Option<Option<Traces>> {
    const HINT: &str = "Write the address of a collector: \"http://127.0.0.1:4318\".";
    let Some(value) = root.get("traces") else { return Some(None) };
    let table =
        value.table("a table", "Write [traces] and in it endpoint = \"http://HOST:4318\".")?;
    let endpoint = table.required("endpoint", HINT).and_then(|value| endpoint(&value, HINT));
    let headers = table.or("headers", Vec::new(), |value| readable(value, headers(value)?));
    let ca_file = table.maybe("ca_file", Value::file);
    let sample = table.or("sample", defaults::TRACE_SAMPLE, share);
    let service_name = table.or("service_name", defaults::SERVICE_NAME.to_owned(), Value::filled);
    let timeout = table.or("timeout", defaults::TRACE_TIMEOUT, |timeout| {
        timeout.duration(&defaults::REQUEST_TIMEOUTS)
    });
    table.finish();
    Some(Some(Traces {
        endpoint: endpoint?,
        headers: headers?,
        ca_file: ca_file?,
        sample: sample?,
        service_name: service_name?,
        timeout: timeout?,
    }))
}

impl Traces {
    pub(super) fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        self.headers.iter().filter_map(|(_, text)| match text {
            HeaderText::Secret(secret) => Some(secret),
            HeaderText::Text(_) => None,
        })
    }
}

/// Ends with the path that the protocol has for traces, which need not be written.
///
/// <https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>
fn endpoint(value: &Value<'_>, hint: &str) -> Option<String> {
    const PATH: &str = "/v1/traces";
    let text = value.text_like("the address of a collector", hint)?;
    let url = Url::parse(text).ok().filter(Url::has_host);
    let Some(mut url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) else {
        value.problem("this is no web address", hint);
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        let hint = "Put what the collector asks for into `headers`, as { env = \"VARIABLE\" }.";
        value.secret().problem("the address holds more than host, port and path", hint);
        return None;
    }
    if url.port() == Some(4317) {
        value.problem(
            "this is the port of OTLP over gRPC, which the bridge does not speak",
            "Write the port of OTLP over HTTP, which is 4318.",
        );
        return None;
    }
    let path = url.path().trim_end_matches('/');
    let path = if path.ends_with(PATH) { path.to_owned() } else { format!("{path}{PATH}") };
    url.set_path(&path);
    Some(url.into())
}

/// Secrets that cannot be read are found before anything is started.
fn readable(
    value: &Value<'_>,
    headers: Vec<(String, HeaderText)>,
) -> Option<Vec<(String, HeaderText)>> {
    let mut is_readable = true;
    for (name, text) in &headers {
        let HeaderText::Secret(SecretRef::Local(place)) = text else { continue };
        let Err(error) = place.read() else { continue };
        is_readable = false;
        value.at(name).unwrap_or_else(|| value.clone()).secret_problem(&error);
    }
    is_readable.then_some(headers)
}

fn share(value: &Value<'_>) -> Option<f64> {
    const HINT: &str = "Write 1.0 for every change, or 0.01 for one of a hundred.";
    value.is_a(|| "a number above 0, at most 1".to_owned());
    let share = match value.node {
        DeValue::Float(written) => written.as_str().parse::<f64>().ok(),
        DeValue::Integer(written) => written.as_str().parse::<f64>().ok(),
        _ => None,
    };
    let share = share.filter(|share| *share > 0.0 && *share <= 1.0);
    if share.is_none() {
        value.problem("this is no share of the changes", HINT);
    }
    share
}
