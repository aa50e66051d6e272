//! An error of the SDK in the bridge's words.

use std::time::Duration;

use azure_data_cosmos::CosmosError;
use cosmos_bridge_cosmos::{Answer, Class, classify};
use cosmos_bridge_sink::SinkError;

/// Longest text of the service that is passed on to people.
const MESSAGE_CHARS_MAX: usize = 300;

/// The client library's own substatus range for requests that got no answer.
const TRANSPORT: std::ops::Range<u32> = 20_010..20_020;

/// What kind of trouble it is, as far as anybody acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    Denied,
    Unreachable,
    Missing,
    Throttled,
    Other,
}

/// A request that failed, with the status of the service or of the client library.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{attempt}: {}", .answer.message)]
pub struct Fault {
    /// What was being attempted.
    pub attempt: String,
    pub answer: Answer,
}

impl Fault {
    pub(super) fn new(attempt: impl Into<String>, error: &CosmosError) -> Self {
        let answer = answer_of(error);
        // The service speaks of ids that do not match, which tells nobody what happened.
        if classify(answer.status, answer.sub_status) == Class::ContainerReplaced {
            return Self::replaced(attempt);
        }
        Self { attempt: attempt.into(), answer }
    }

    /// A fault found on our side, before or after the service answered.
    pub(super) fn ours(attempt: impl Into<String>, message: impl Into<String>) -> Self {
        let answer = Answer { status: 400, message: message.into(), ..Answer::default() };
        Self { attempt: attempt.into(), answer }
    }

    /// The container is no longer the one whose positions are stored.
    pub(super) fn replaced(attempt: impl Into<String>) -> Self {
        let message = "the container was deleted and created again under the same name".to_owned();
        let answer = Answer { status: 400, sub_status: 1024, message, ..Answer::default() };
        Self { attempt: attempt.into(), answer }
    }

    pub fn class(&self) -> Class {
        classify(self.answer.status, self.answer.sub_status)
    }

    pub fn kind(&self) -> FaultKind {
        if TRANSPORT.contains(&self.answer.sub_status) {
            return FaultKind::Unreachable;
        }
        match self.class() {
            Class::Denied => FaultKind::Denied,
            Class::Missing | Class::ContainerMissing => FaultKind::Missing,
            Class::Throttled => FaultKind::Throttled,
            Class::Transient if self.answer.status == 408 || self.answer.status == 503 => {
                FaultKind::Unreachable
            }
            _ => FaultKind::Other,
        }
    }

    pub fn retry_after(&self) -> Option<Duration> {
        self.answer.retry_after
    }

    /// A sentence that says what to do, where something can be done.
    pub fn hint(&self) -> Option<String> {
        if self.class() == Class::ContainerReplaced {
            let hint = "Nothing of the new container was touched. To copy it from its start, give \
                        the pipeline a new name.";
            return Some(hint.to_owned());
        }
        Some(match self.kind() {
            FaultKind::Denied => "Check the account's key in the configuration: it is wrong, was \
                                  regenerated, or key access is switched off for the account."
                .to_owned(),
            FaultKind::Unreachable => "Check the endpoint in the configuration, the network, and \
                                       that the account is up."
                .to_owned(),
            FaultKind::Missing => "Create the database and the container, or correct their names \
                                   in the configuration."
                .to_owned(),
            FaultKind::Throttled | FaultKind::Other => return None,
        })
    }
}

impl From<Fault> for SinkError {
    fn from(fault: Fault) -> Self {
        Self {
            message: fault.to_string(),
            hint: fault.hint(),
            transient: fault.kind() == FaultKind::Unreachable,
            source: None,
        }
    }
}

/// The status, charge and wait of an error; all its attempts are charged.
pub(super) fn answer_of(error: &CosmosError) -> Answer {
    let status = error.status();
    let mut message: String = error.to_string().chars().take(MESSAGE_CHARS_MAX).map(flat).collect();
    // The root of the chain tells why a connection failed; the SDK prints only the first level.
    if let Some(root) = root_cause(error) {
        message.push_str(": ");
        message.extend(root.chars().take(MESSAGE_CHARS_MAX).map(flat));
    }
    let mut answer = Answer {
        status: u16::from(status.status_code()),
        sub_status: status.sub_status().map_or(0, |sub| u32::from(sub.value())),
        message,
        ..Answer::default()
    };
    if let Some(response) = error.response() {
        let headers = response.headers();
        answer.charge = headers.request_charge.map_or(0.0, f64::from);
        answer.retry_after = headers.retry_after_ms.map(Duration::from_millis);
    }
    answer
}

/// One line for a log, whatever the service sent.
fn flat(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

fn root_cause(error: &CosmosError) -> Option<String> {
    let mut cause = std::error::Error::source(error)?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(cause.to_string())
}
