//! `[sinks.http.NAME]`.

use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_event::EventOptions;
use cosmos_bridge_options::{
    SecretError, SecretRef, Table, TextOrSecret, Value, certificates, checked_secret, duration,
    filled, http_headers, if_readable, integer, list, options, report_secret, size, text_or_secret,
};
use reqwest::Url;

use crate::content::{self, Invalid, header_value};

options! {
    /// An HTTP endpoint that events are posted to.
    pub struct HttpOptions {
        /// The address. If it holds a secret, as those of Logic Apps do, it is a reference like a key's.
        url: TextOrSecret = required(
            "Write the address, or { env = \"VARIABLE\" } where it holds a secret."
        ), text_or_secret("an address", address);
        /// Sent as "Authorization: Bearer ..".
        bearer: Option<SecretRef> = optional, checked_secret(is_header_value), example { env = "HOOK_TOKEN" };
        /// Sent with every request; values may be secrets: x-functions-key for Functions, aeg-sas-key for
        /// Event Grid.
        headers: Vec<(String, TextOrSecret)> = {}, http_headers();
        /// Authorities to trust in addition to the system's, in PEM form.
        ca_file: Option<PathBuf> = optional, certificates(), example "authority.pem";
        /// Events in one request, as one JSON array; more than 1 needs events without headers:
        /// cloudevents = "structured", or "off" with format = "envelope".
        // Event Grid takes 5,000 events in one request.
        batch: usize = 1, integer(1..=5000);
        /// Bytes of one request's body.
        // Event Grid takes 1 MiB in one request; functions and workflows take more.
        max_body: usize = "1 MiB", size(1024..=128 * 1024 * 1024);
        /// Requests in flight.
        // Answers take some 10 ms: a thousand events per second, and no endpoint is overloaded. One
        // connection carries 100 HTTP/2 streams by default; more than ten connections gain nothing.
        concurrency: usize = 16, integer(1..=1000);
        /// Longest wait for one answer.
        request_timeout: Duration = "30s", duration(Duration::from_millis(100)..=Duration::from_mins(10));
        /// Statuses with which this endpoint rejects an event for good, in addition to 400, 409, 413, 422
        /// and the like.
        refusals: Vec<u16> = [], list(integer(400..=599)), example [500];
        /// How long the endpoint may answer 500 to an event, or another status from 501 to 599 that does not
        /// mean that it is away, while it accepts others. Then the event becomes a dead letter.
        // Amazon SNS gives up an event for an endpoint after at most an hour. Until then nothing else is held
        // up, unless the window is full.
        give_up_after: Duration = "1h", duration(Duration::from_secs(1)..=Duration::from_hours(24 * 7));
        events: EventOptions = flatten;
    }
    rules(table) {
        if let (Some(url), Some(at)) = (&url, table.get("url")) {
            check_text(&at, url, |text| content::address(text).map(drop));
        }
        for (name, value) in headers.iter().flatten() {
            let at = table.get("headers").and_then(|headers| headers.at(name));
            if let Some(at) = at {
                check_text(&at, value, |text| header_value(text).map(drop));
            }
        }
        if let (Some(batch), Some(events)) = (batch, &events) {
            batches_need_no_headers(table, batch, events);
        }
    }
}

fn is_header_value(token: &str) -> Result<(), SecretError> {
    header_value(token).map(drop).map_err(|problem| SecretError::unfit(problem, problem.hint()))
}

/// Checks a text, also if it is a secret that can be read now.
fn check_text(value: &Value<'_>, text: &TextOrSecret, check: impl Fn(&str) -> Result<(), Invalid>) {
    match text {
        TextOrSecret::Text(text) => {
            if let Err(problem) = check(text) {
                value.secret().problem(problem.to_string(), problem.hint());
            }
        }
        TextOrSecret::Secret(reference) => {
            if let Some(Err(problem)) = if_readable(reference, check) {
                report_secret(value, problem, problem.hint());
            }
        }
    }
}

/// Rejects batches of events that need headers of their own.
fn batches_need_no_headers(table: &Table<'_>, batch: usize, events: &EventOptions) {
    if batch > 1 && events.format().needs_attributes() {
        let at = table.get("batch").unwrap_or_else(|| table.value().clone());
        at.problem(
            "each of these events needs its own headers, so a request can hold only one",
            "Write cloudevents = \"structured\" too, or batch = 1.",
        );
    }
}

fn address(value: &Value<'_>) -> Option<String> {
    const HINT: &str = "Write it like \"https://events.example/orders\".";
    let text = filled(value)?;
    // Where a password or a signature would stand, if it were an address.
    let value = if text.contains(['?', '@']) { &value.secret() } else { value };
    let Ok(url) = Url::parse(&text) else {
        value.problem("invalid URL", HINT);
        return None;
    };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        value.problem("the URL must begin with http:// or https://", HINT);
        return None;
    }
    if !url.username().is_empty() || url.password().is_some() || has_a_signature(&url) {
        let hint =
            "Put the whole URL into a file or the environment: url = { env = \"VARIABLE\" }.";
        value.secret().problem("the URL holds a secret", hint);
        return None;
    }
    Some(text)
}

/// Signatures and keys of workflows, functions and storage stand in the query.
fn has_a_signature(url: &Url) -> bool {
    url.query_pairs().any(|(name, _)| {
        matches!(
            &*name.to_ascii_lowercase(),
            "sig" | "code" | "key" | "token" | "api_key" | "apikey"
        )
    })
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_options::from_toml;

    use super::HttpOptions;

    #[test]
    fn an_address_is_one_of_http_and_holds_no_secret() {
        let cases = [
            ("https://events.example/orders", true),
            ("http://events.example:8080/orders?source=a", true),
            ("ftp://events.example/orders", false),
            ("mailto:orders@events.example", false),
            ("https:orders", true),
            ("events.example/orders", false),
            ("https://user@events.example/orders", false),
            ("https://:password@events.example/orders", false),
            ("https://events.example/orders?sv=1&SIG=abc", false),
            ("https://events.example/orders?code=abc", false),
        ];
        for (address, is_accepted) in cases {
            let options = from_toml::<HttpOptions>(&format!("url = '{address}'"));
            assert_eq!(options.is_ok(), is_accepted, "{address}");
        }
    }

    #[test]
    fn events_with_headers_of_their_own_are_posted_one_by_one() {
        let cases = [
            ("binary", 1, true),
            ("binary", 2, false),
            ("structured", 1, true),
            ("structured", 2, true),
        ];
        for (events, batch, is_accepted) in cases {
            let text =
                format!("url = 'https://e.example'\ncloudevents = '{events}'\nbatch = {batch}");
            assert_eq!(from_toml::<HttpOptions>(&text).is_ok(), is_accepted, "{events} {batch}");
        }
    }
}
