//! The client, and what came back.

use std::error::Error;
use std::time::Duration;

use cosmos_bridge_sink::Cause;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Response, redirect};

use crate::message::Message;
use crate::{Class, Settings, classify};

/// An endpoint that asks for more is asked again after this: a date far away, or a number that no clock
/// has, must not end the sink.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// Bytes of an answer's body that are read for the sake of the connection; a new one costs less than
/// more of them.
const PASSED_OVER: usize = 64 * 1024;

/// What became of one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) class: Class,
    /// Why, without any of the request or of the answer's body.
    pub(crate) reason: String,
    /// The `retry-after` that the endpoint sent, if it sent one.
    pub(crate) retry_after: Option<Duration>,
    /// `None` where nothing came back.
    pub(crate) status: Option<u16>,
}

impl Answer {
    /// Whether one event may be what it was answered for: refused, or the endpoint failed over it.
    pub(crate) fn may_concern_one_event(&self) -> bool {
        match self.class {
            Class::Rejected => true,
            Class::Deferred(Cause::Fault) => {
                self.status.is_some_and(|status| (500..600).contains(&status))
            }
            Class::Delivered | Class::Deferred(_) => false,
        }
    }
}

/// A client for one endpoint.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    settings: Settings,
}

impl Connection {
    /// # Errors
    ///
    /// The system's trusted authorities cannot be read.
    pub(crate) fn new(settings: Settings) -> Result<Self, reqwest::Error> {
        let mut client = Client::builder()
            .user_agent(concat!("cosmos-bridge/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(settings.timeout)
            .timeout(settings.timeout);
        if !settings.roots.is_empty() {
            client = client.tls_certs_merge(settings.roots.iter().cloned());
        }
        Ok(Self { client: client.build()?, settings })
    }

    pub(crate) async fn post(&self, message: Message) -> Answer {
        self.send(Method::POST, message.headers, message.body).await
    }

    /// Asks what the endpoint allows, which changes nothing there.
    ///
    /// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md#4-abuse-protection>
    pub(crate) async fn options(&self) -> Answer {
        let mut headers = HeaderMap::new();
        let origin = HeaderValue::from_static("cosmos-bridge");
        headers.insert("webhook-request-origin", origin);
        self.send(Method::OPTIONS, headers, Vec::new()).await
    }

    async fn send(&self, method: Method, mut headers: HeaderMap, body: Vec<u8>) -> Answer {
        for (name, value) in &self.settings.headers {
            headers.insert(name, value.clone());
        }
        if method == Method::POST && body.is_empty() {
            // The client leaves it out, and servers that insist on one answer 411.
            // https://www.rfc-editor.org/rfc/rfc9110#section-8.6-5
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let request =
            self.client.request(method, self.settings.url.clone()).headers(headers).body(body);
        match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                let retry_after = retry_after(response.headers(), Timestamp::now());
                pass_over(response).await;
                let (class, why) = classify(status, &self.settings.refusals);
                let reason = format!("the endpoint answered {status}: {why}");
                Answer { class, reason, retry_after, status: Some(status) }
            }
            Err(error) => unanswered(error),
        }
    }
}

/// Reads a body to its end, or the connection cannot be used again, unless it is a long one.
async fn pass_over(mut response: Response) {
    let mut read = 0;
    // Whatever is wrong with the body, the status has answered.
    while read <= PASSED_OVER
        && let Ok(Some(chunk)) = response.chunk().await
    {
        read += chunk.len();
    }
}

/// The address stays out of it: it may hold a secret.
fn unanswered(error: reqwest::Error) -> Answer {
    let what = if error.is_timeout() { "no answer in time" } else { "no answer" };
    let error = error.without_url();
    let mut causes = Vec::new();
    let mut cause: Option<&dyn Error> = Some(&error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let reason = format!("{what} from the endpoint: {}", causes.join(": "));
    Answer { class: Class::Deferred(Cause::Busy), reason, retry_after: None, status: None }
}

/// Seconds, or a date. <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds).min(LONGEST_WAIT));
    }
    let at = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Duration::try_from(at.duration_since(now)).ok().map(|asked| asked.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-01-31T00:00:00Z".parse().unwrap();
        let cases = [
            ("120", Some(120)),
            ("18446744073709551615", Some(3600)),
            ("Thu, 31 Jan 2126 00:00:00 GMT", Some(3600)),
            ("Sat, 31 Jan 2026 00:01:00 GMT", Some(60)),
            ("Fri, 30 Jan 2026 00:01:00 GMT", None),
            ("soon", None),
        ];
        for (text, seconds) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
