//! Requests that the vendor's emulator answers.

use bytes::Bytes;

use crate::account::Account;
use crate::answer::{Answer, Refusal};
use crate::backend::{BackendAnswer, BackendError};
use crate::charge;
use crate::request::Request;

/// Headers of the vendor's answers that are passed on.
const PASSED_ON: [&str; 4] = ["etag", "x-ms-continuation", "x-ms-item-count", "x-ms-substatus"];

/// Hands a request to the vendor's emulator.
pub async fn forward(account: &Account, request: &Request, body: Bytes) -> Result<Answer, Refusal> {
    let headers: Vec<(String, String)> = request
        .headers
        .iter()
        .filter(|(name, _)| is_forwarded(name.as_str()))
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect();
    let answer = account.backend.send(request.method.as_str(), &request.path, &headers, body).await;
    answer.map(|answer| pass_on(&answer)).map_err(internal)
}

/// Text answers are wanted, and sessions are the gateway's affair.
pub fn is_forwarded(name: &str) -> bool {
    !matches!(
        name,
        "authorization"
            | "host"
            | "content-length"
            | "x-ms-session-token"
            | "x-ms-cosmos-supported-serialization-formats"
            | "x-ms-cosmos-intended-collection-rid"
    )
}

pub fn pass_on(from: &BackendAnswer) -> Answer {
    let mut answer = Answer::new(from.status, charge::METADATA).bytes(from.body.clone());
    for name in PASSED_ON {
        if let Some(value) = from.header(name) {
            answer = answer.header(name, value);
        }
    }
    answer
}

#[allow(clippy::needless_pass_by_value, reason = "it is given to map_err")]
pub fn internal(error: BackendError) -> Refusal {
    Refusal::new(500, error.to_string())
}
