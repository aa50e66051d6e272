//! `[traces]`: the collector of traces.

use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_options::{
    Form, Kind, SecretRef, TextOrSecret, Value, duration, file, http_headers, kind, options,
    read_now, text,
};
use serde_json::json;
use toml::de::DeValue;
use url::Url;

options! {
    /// docs/traces.md has the spans; no variable of the environment changes anything about them.
    pub struct Traces {
        /// The address of a collector that accepts OTLP over HTTP; /v1/traces is added if not written.
        endpoint: String = required(ENDPOINT), endpoint(), example "http://127.0.0.1:4318";
        /// Sent with each request; values may be references to secrets.
        headers: Vec<(String, TextOrSecret)> = {}, http_headers().check(is_readable);
        /// Authorities of TLS to trust in addition to the system's, in PEM form.
        ca_file: Option<PathBuf> = optional, file(), example "authority.pem";
        /// The share of changes that are traced: 1.0 is all. The id of a trace decides, so all sinks and
        /// every delivery agree, and so does a sampler with a larger share.
        // At ten thousand changes per second a hundred traces, which collectors accept without effort.
        sample: f64 = 0.01, share();
        /// The service name of the spans.
        service_name: String = "cosmos-bridge", text();
        /// Longest wait for one answer of the collector. Nothing else waits for it.
        // The default of OpenTelemetry's exporters; a collector is near.
        timeout: Duration = "10s", duration(Duration::from_millis(100)..=Duration::from_mins(10));
    }
}

const ENDPOINT: &str = "Write the address of a collector: \"http://127.0.0.1:4318\".";

/// Ends with the path that the protocol has for traces, which need not be written.
///
/// <https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>
fn endpoint() -> impl Kind<Output = String> {
    const PATH: &str = "/v1/traces";
    kind(Form::pattern("the address of a collector", "^https?://"), |value| {
        let text = value.text_like("the address of a collector", ENDPOINT)?;
        let url = Url::parse(text).ok().filter(Url::has_host);
        let Some(mut url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) else {
            value.problem("invalid web address", ENDPOINT);
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            let hint = "Put what the collector requires into `headers`, as { env = \"VARIABLE\" }.";
            value.secret().problem("the address holds more than host, port and path", hint);
            return None;
        }
        if url.port() == Some(4317) {
            value.problem(
                "this is the port of OTLP over gRPC, which is not supported",
                "Write the port of OTLP over HTTP, which is 4318.",
            );
            return None;
        }
        let path = url.path().trim_end_matches('/');
        let path = if path.ends_with(PATH) { path.to_owned() } else { format!("{path}{PATH}") };
        url.set_path(&path);
        Some(url.into())
    })
}

/// Finds secrets that cannot be read before anything is started.
#[expect(clippy::ptr_arg, reason = "the kind's own type")]
fn is_readable(value: &Value<'_>, headers: &Vec<(String, TextOrSecret)>) -> bool {
    let unreadable = headers.iter().filter(|(name, text)| {
        let TextOrSecret::Secret(SecretRef::Local(place)) = text else { return false };
        read_now(&value.at(name).unwrap_or_else(|| value.clone()), place).is_none()
    });
    unreadable.count() == 0
}

fn share() -> impl Kind<Output = f64> {
    const HINT: &str = "Write 1.0 for every change, or 0.01 for one of a hundred.";
    let schema = json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 });
    kind(Form::of("a number above 0, at most 1", schema), |value| {
        let share = match value.node() {
            DeValue::Float(written) => written.as_str().parse::<f64>().ok(),
            DeValue::Integer(written) => written.as_str().parse::<f64>().ok(),
            _ => None,
        };
        let share = share.filter(|share| *share > 0.0 && *share <= 1.0);
        if share.is_none() {
            value.problem("invalid share of the changes", HINT);
        }
        share
    })
}
