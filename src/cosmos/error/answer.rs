//! Answers of the service, from the errors of the SDK.

use std::time::Duration;

use azure_data_cosmos::CosmosError as SdkError;
use azure_data_cosmos_driver::models::{CosmosResponse, ResponseBody};
use cosmos_bridge_cosmos::{Answer, INTERMEDIARY};
use serde_json::Value;

/// Longest text of the service in a message.
const MESSAGE_CHARS_MAX: usize = 300;

/// Status and retry-after of the last attempt, and the charge of all attempts.
pub(in crate::cosmos) fn answer_of(error: &SdkError) -> Answer {
    let status = error.status();
    let sub_status = status.sub_status().map_or(0, |sub| u32::from(sub.value()));
    let text = error.to_string();
    // The SDK's text covers only the outermost error. Without an answer, the root cause alone is
    // the message; otherwise it completes the message of the service.
    let message = match root_cause(error) {
        Some(root) if u16::from(status.status_code()) == 503 && sub_status >= 20_000 => {
            short(&root)
        }
        Some(root) => format!("{}: {}", short(service_message(&text)), short(&root)),
        None => short(service_message(&text)),
    };
    let mut answer = Answer {
        status: u16::from(status.status_code()),
        sub_status,
        message,
        ..Answer::default()
    };
    if let Some(response) = error.response() {
        if is_intermediary(answer.status, response) {
            answer.sub_status = INTERMEDIARY;
            // Its text may show what it was sent.
            answer.message =
                format!("a proxy or a firewall answered {}, and not the service", answer.status);
        }
        answer.retry_after = response.headers().retry_after_ms.map(Duration::from_millis);
    }
    // The headers only have the charge of the last attempt.
    let diagnostics = error.diagnostics();
    answer.charge = diagnostics.map_or(0.0, |all| all.total_request_charge().value());
    answer
}

/// True if the SDK has an answer that it cannot parse: the service stores a document that no parser
/// takes, or the answer broke off. An error that the service sent is neither.
pub(in crate::cosmos) fn is_unparseable(error: &SdkError) -> bool {
    let sub_status = error.status().sub_status().map(|sub| sub.value());
    sub_status == Some(20_020) && error.response().is_none()
}

/// True if the refusal of a request is not the service's. Each answer of the service has at least one of
/// these headers, and each of its refusals a body with the name of the status. A status from 500 on means the
/// same from whom it may come.
fn is_intermediary(status: u16, response: &CosmosResponse) -> bool {
    let headers = response.headers();
    let has_headers = headers.activity_id.is_some()
        || headers.request_charge.is_some()
        || headers.substatus.is_some();
    (300..500).contains(&status) && !has_headers && !names_its_status(response.body())
}

fn names_its_status(body: &ResponseBody) -> bool {
    let ResponseBody::Bytes(body) = body else { return false };
    let body: Result<Value, _> = serde_json::from_slice(body);
    body.is_ok_and(|body| body.get("code").is_some_and(Value::is_string))
}

/// The message of the service, without the SDK's prefix: its status, its operation, and the status
/// again.
fn service_message(text: &str) -> &str {
    match text.rsplit_once("Details: ") {
        Some((_, details)) => details,
        None => match text.split_once(": ") {
            Some((status, rest)) if status.starts_with(|c: char| c.is_ascii_digit()) => rest,
            _ => text,
        },
    }
}

fn short(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS_MAX).map(flat).collect()
}

/// Replaces control characters, so that the message is one line in the log.
fn flat(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

fn root_cause(error: &SdkError) -> Option<String> {
    let mut cause = std::error::Error::source(error)?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(cause.to_string())
}
