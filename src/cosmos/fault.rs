//! An error of the SDK in the bridge's words.

use std::fmt;
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

impl FaultKind {
    /// What an operator has to know first; the service's own words follow.
    fn verdict(self, answer: &Answer) -> String {
        let status = answer.status;
        match self {
            Self::Unreachable => "cannot be reached: ".to_owned(),
            Self::Denied => format!("the credential is refused ({status}): "),
            Self::Missing => format!("it does not exist ({status}): "),
            Self::Throttled => "no request units left (429): ".to_owned(),
            Self::Other => String::new(),
        }
    }
}

/// A request that failed, with the status of the service or of the client library.
#[derive(Clone, Debug)]
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
            let mut fault = Self::replaced(attempt);
            fault.answer.charge = answer.charge;
            return fault;
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
            Class::Throttled | Class::HotKey | Class::MetadataThrottled => FaultKind::Throttled,
            Class::Transient | Class::Busy if matches!(self.answer.status, 408 | 503) => {
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

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = self.kind().verdict(&self.answer);
        write!(f, "{}: {verdict}{}", self.attempt, self.answer.message)
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

/// The status and wait of an error's last attempt, and the charge of all of them.
pub(super) fn answer_of(error: &CosmosError) -> Answer {
    let status = error.status();
    let sub_status = status.sub_status().map_or(0, |sub| u32::from(sub.value()));
    let text = error.to_string();
    // The SDK prints only the first level. Where no answer came, the root of the chain is the
    // whole story; elsewhere it completes what the service said.
    let message = match root_cause(error) {
        Some(root) if u16::from(status.status_code()) == 503 && sub_status >= 20_000 => {
            short(&root)
        }
        Some(root) => format!("{}: {}", short(said(&text)), short(&root)),
        None => short(said(&text)),
    };
    let mut answer = Answer {
        status: u16::from(status.status_code()),
        sub_status,
        message,
        ..Answer::default()
    };
    if let Some(response) = error.response() {
        answer.retry_after = response.headers().retry_after_ms.map(Duration::from_millis);
    }
    // The headers are those of the last attempt alone.
    let diagnostics = error.diagnostics();
    answer.charge = diagnostics.map_or(0.0, |all| all.total_request_charge().value());
    answer
}

/// What the service said, without what the SDK puts before it: its own status, what it was about
/// to do, and the status again.
fn said(text: &str) -> &str {
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
