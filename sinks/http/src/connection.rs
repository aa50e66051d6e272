//! The HTTP client, and its replies.

use std::error::Error;
use std::time::Duration;

use cosmos_bridge_sink::{Class, Wait};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Response, redirect};

use crate::message::Message;
use crate::{Settings, classify};

/// The longest pause. If an endpoint asks for a longer one, it is asked again after this: a date far
/// in the future must not stop the sink.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// The bytes of a reply's body that are read so that the connection can be used again. A new
/// connection costs less than reading more.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The result of one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    /// `None` if the endpoint did not answer.
    pub(crate) status: Option<u16>,
    pub(crate) result: Result<(), Failure>,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    /// Holds nothing of the request and nothing of the reply's body.
    pub(crate) reason: String,
    /// The `retry-after` that the endpoint sent, if it sent one.
    retry_after: Option<Duration>,
    /// True if the request may still arrive.
    pub(crate) is_unanswered: bool,
    /// True if the endpoint may have processed the request.
    pub(crate) may_have_arrived: bool,
}

impl Failure {
    /// `None` if no later attempt can succeed.
    pub(crate) fn wait(&self) -> Option<Wait> {
        let cause = self.class.cause()?;
        Some(Wait { cause, retry_after: self.retry_after })
    }
}

impl Reply {
    fn answered(status: u16, retry_after: Option<Duration>, refusals: &[u16]) -> Self {
        let result = classify(status, refusals).map_err(|(class, why)| {
            let reason = format!("the endpoint answered {status}: {why}");
            // A gateway gave up; what it asked may go on.
            let is_unanswered = matches!(status, 408 | 504);
            // Any other answer says that the event was not processed.
            let may_have_arrived = is_unanswered;
            Failure { class, reason, retry_after, is_unanswered, may_have_arrived }
        });
        Self { status: Some(status), result }
    }

    /// An answer with a status, a timeout for 0, and a connection that is refused for 1.
    #[cfg(test)]
    pub(crate) fn of(status: u16) -> Self {
        if status > 1 {
            return Self::answered(status, None, &[]);
        }
        let is_sent = status == 0;
        let failure = Failure {
            class: Class::BUSY,
            reason: "no answer".to_owned(),
            retry_after: None,
            is_unanswered: is_sent,
            may_have_arrived: is_sent,
        };
        Self { status: None, result: Err(failure) }
    }

    /// True if one event of the request may be the reason for the failure.
    pub(crate) fn may_concern_one_event(&self) -> bool {
        match self.result.as_ref().map_err(|failure| failure.class) {
            Err(Class::FAULT) => self.status.is_some_and(|status| (500..600).contains(&status)),
            Err(Class::Rejected | Class::TooLarge) => true,
            Ok(()) | Err(Class::Deferred(_)) => false,
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
            .connect_timeout(settings.options.request_timeout)
            .timeout(settings.options.request_timeout);
        if !settings.roots.is_empty() {
            client = client.tls_certs_merge(settings.roots.iter().cloned());
        }
        Ok(Self { client: client.build()?, settings })
    }

    pub(crate) async fn post(&self, message: Message) -> Reply {
        self.send(Method::POST, message.headers, message.body).await
    }

    /// Asks for the methods that the endpoint allows, without changing anything there.
    ///
    /// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md#4-abuse-protection>
    pub(crate) async fn options(&self) -> Reply {
        let mut headers = HeaderMap::new();
        let origin = HeaderValue::from_static("cosmos-bridge");
        headers.insert("webhook-request-origin", origin);
        self.send(Method::OPTIONS, headers, Vec::new()).await
    }

    async fn send(&self, method: Method, mut headers: HeaderMap, body: Vec<u8>) -> Reply {
        for (name, value) in &self.settings.headers {
            headers.insert(name, value.clone());
        }
        if method == Method::POST && body.is_empty() {
            // The client omits this header, and servers that require it answer 411.
            // https://www.rfc-editor.org/rfc/rfc9110#section-8.6-5
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let request =
            self.client.request(method, self.settings.url.clone()).headers(headers).body(body);
        match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                let retry_after = retry_after(response.headers(), Timestamp::now());
                skip_body(response).await;
                Reply::answered(status, retry_after, &self.settings.options.refusals)
            }
            Err(error) => unanswered(error),
        }
    }
}

/// Reads a body to its end, so that the connection can be used again, unless the body is long.
async fn skip_body(mut response: Response) {
    let mut read = 0;
    // An error in the body does not matter: the status is known.
    while read <= BODY_BYTES_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        read += chunk.len();
    }
}

/// The reply to a request that failed. Omits the address, which may hold a secret.
fn unanswered(error: reqwest::Error) -> Reply {
    let what = if error.is_timeout() { "timeout: no answer" } else { "no answer" };
    // What the endpoint ended itself is not counted: it is rarely processed later.
    let is_unanswered = error.is_timeout() && !error.is_connect();
    let may_have_arrived = !error.is_connect();
    let error = error.without_url();
    let mut causes = Vec::new();
    let mut cause: Option<&dyn Error> = Some(&error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let reason = format!("{what} from the endpoint: {}", causes.join(": "));
    let (class, retry_after) = (Class::BUSY, None);
    let failure = Failure { class, reason, retry_after, is_unanswered, may_have_arrived };
    Reply { status: None, result: Err(failure) }
}

/// Reads seconds or a date. <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>
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
