//! An error of the SDK in the bridge's words.

use std::fmt;
use std::time::Duration;

use azure_data_cosmos::CosmosError as SdkError;
use cosmos_bridge_cosmos::{Answer, Class, NO_STATUS, classify, remedy};
use cosmos_bridge_sink::SinkError;

use crate::identity::ReadError;

/// Longest text of the service that is passed on to people.
const MESSAGE_CHARS_MAX: usize = 300;

/// The client library's own substatuses for requests that got no answer.
const TRANSPORT: std::ops::Range<u32> = 20_003..20_020;

/// The client library's own substatuses for what every region refused: 404/1002, 403/3, 403/1008.
const NO_REGION: std::ops::RangeInclusive<u32> = 20_310..=20_312;

/// What kind of trouble it is, as far as anybody acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CosmosErrorKind {
    Denied,
    Unreachable,
    /// It answers, but no region of it takes the request: mostly while it moves between regions.
    Unready,
    Missing,
    Throttled,
    Other,
}

impl CosmosErrorKind {
    /// What an operator has to know first; the service's own words follow.
    fn verdict(self, answer: &Answer) -> String {
        let status = answer.status;
        match self {
            Self::Unreachable => "cannot be reached: ".to_owned(),
            Self::Unready => "no region of it is ready: ".to_owned(),
            Self::Denied => format!("the credential is refused ({status}): "),
            Self::Missing => format!("it does not exist ({status}): "),
            Self::Throttled => "no request units left (429): ".to_owned(),
            Self::Other => String::new(),
        }
    }
}

/// A request that failed, with the status of the service or of the client library.
#[derive(Clone, Debug)]
pub struct CosmosError {
    /// What was being attempted.
    pub attempt: String,
    pub answer: Answer,
}

impl CosmosError {
    pub(super) fn new(attempt: impl Into<String>, error: &SdkError) -> Self {
        let answer = answer_of(error);
        // The service speaks of ids that do not match, which tells nobody what happened.
        if classify(answer.status, answer.sub_status) == Class::ContainerReplaced {
            let mut fault = Self::replaced(attempt);
            fault.answer.charge = answer.charge;
            return fault;
        }
        Self { attempt: attempt.into(), answer }
    }

    /// What the client library gave us, or we it, makes no sense to the other side. In no mode is
    /// that a word of the service about a position.
    pub(super) fn defect(attempt: impl Into<String>, message: impl Into<String>) -> Self {
        let answer = Answer { status: NO_STATUS, message: message.into(), ..Answer::default() };
        Self { attempt: attempt.into(), answer }
    }

    /// The library's iterator ended, which a change feed never does. The next plan makes a new one.
    pub(super) fn ended(attempt: impl Into<String>) -> Self {
        let message = "the client library ended a feed that has no end".to_owned();
        // The library's own status for a feed that it drained by mistake.
        let answer = Answer { status: 500, sub_status: 20_212, message, ..Answer::default() };
        Self { attempt: attempt.into(), answer }
    }

    /// What is set up in a way that cannot work, found before or while connecting.
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

    pub fn kind(&self) -> CosmosErrorKind {
        if TRANSPORT.contains(&self.answer.sub_status) {
            return CosmosErrorKind::Unreachable;
        }
        if NO_REGION.contains(&self.answer.sub_status) {
            return CosmosErrorKind::Unready;
        }
        match self.class() {
            Class::Denied => CosmosErrorKind::Denied,
            Class::Missing | Class::ContainerMissing => CosmosErrorKind::Missing,
            Class::Throttled | Class::HotKey | Class::MetadataThrottled => {
                CosmosErrorKind::Throttled
            }
            Class::Transient | Class::Busy if matches!(self.answer.status, 408 | 503) => {
                CosmosErrorKind::Unreachable
            }
            _ => CosmosErrorKind::Other,
        }
    }

    pub fn retry_after(&self) -> Option<Duration> {
        self.answer.retry_after
    }

    /// For a log, while it is waited for: with what is missing, where a credential is refused.
    pub fn message(&self) -> String {
        match self.hint().filter(|_| self.kind() == CosmosErrorKind::Denied) {
            Some(hint) => format!("{self}. {hint}"),
            None => self.to_string(),
        }
    }

    /// A sentence that says what to do, where something can be done.
    pub fn hint(&self) -> Option<String> {
        match self.class() {
            Class::ContainerReplaced => {
                let hint = "Nothing of the new container was touched. To copy it from its start, \
                            give the pipeline a new name.";
                return Some(hint.to_owned());
            }
            Class::Defect => {
                let hint = "This is a defect of the bridge or of the client library in it. \
                            Positions and target are untouched: report the message, and go on \
                            with the version that ran before.";
                return Some(hint.to_owned());
            }
            _ => {}
        }
        Some(match self.kind() {
            CosmosErrorKind::Denied => {
                remedy(self.answer.status, self.answer.sub_status)?.to_owned()
            }
            CosmosErrorKind::Unreachable => {
                "Check the endpoint in the configuration, the network, and \
                                       that the account is up."
                    .to_owned()
            }
            CosmosErrorKind::Missing => {
                "Create the database and the container, or correct their names \
                                   in the configuration."
                    .to_owned()
            }
            CosmosErrorKind::Unready | CosmosErrorKind::Throttled | CosmosErrorKind::Other => {
                return None;
            }
        })
    }
}

impl std::error::Error for CosmosError {}

impl fmt::Display for CosmosError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = self.kind().verdict(&self.answer);
        write!(f, "{}: {verdict}{}", self.attempt, self.answer.message)
    }
}

/// Why an account cannot be connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Cosmos(#[from] CosmosError),
    /// Nobody asked the account.
    #[error("connecting to account `{account}`: {source}")]
    Secret { account: String, source: ReadError },
}

impl From<CosmosError> for SinkError {
    fn from(fault: CosmosError) -> Self {
        Self {
            message: fault.to_string(),
            hint: fault.hint(),
            transient: matches!(
                fault.kind(),
                CosmosErrorKind::Unreachable | CosmosErrorKind::Unready
            ),
            source: None,
        }
    }
}

/// The status and wait of an error's last attempt, and the charge of all of them.
pub(super) fn answer_of(error: &SdkError) -> Answer {
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

fn root_cause(error: &SdkError) -> Option<String> {
    let mut cause = std::error::Error::source(error)?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(cause.to_string())
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_cosmos::{Answer, Class};

    use super::{CosmosError, CosmosErrorKind};
    use crate::exit_code;

    fn answered(status: u16, sub_status: u32) -> CosmosError {
        let answer = Answer { status, sub_status, ..Answer::default() };
        CosmosError { attempt: "reading".to_owned(), answer }
    }

    #[test]
    fn what_an_operator_is_told_fits_the_code() {
        let (denied, missing) = (CosmosErrorKind::Denied, CosmosErrorKind::Missing);
        for (fault, kind, code, hint) in [
            (answered(401, 0), denied, exit_code::DENIED, "key"),
            (answered(401, 20_402), denied, exit_code::DENIED, "[credentials]"),
            (answered(403, 5301), denied, exit_code::DENIED, "readMetadata"),
            (answered(403, 5302), denied, exit_code::DENIED, "Cosmos DB Built-in Data Reader"),
            (answered(404, 0), missing, exit_code::MISSING, "Create"),
            (answered(404, 1003), missing, exit_code::MISSING, "Create"),
            (
                answered(408, 20_008),
                CosmosErrorKind::Unreachable,
                exit_code::UNREACHABLE,
                "endpoint",
            ),
            (
                answered(503, 20_010),
                CosmosErrorKind::Unreachable,
                exit_code::UNREACHABLE,
                "endpoint",
            ),
            (answered(503, 0), CosmosErrorKind::Unreachable, exit_code::UNREACHABLE, "endpoint"),
            (answered(503, 20_311), CosmosErrorKind::Unready, exit_code::UNREACHABLE, ""),
            (answered(429, 3200), CosmosErrorKind::Throttled, exit_code::UNREACHABLE, ""),
            (answered(400, 0), CosmosErrorKind::Other, exit_code::FAILED, ""),
            (answered(500, 20_203), CosmosErrorKind::Other, exit_code::FAILED, "defect"),
            (CosmosError::defect("", ""), CosmosErrorKind::Other, exit_code::FAILED, "defect"),
            (CosmosError::ours("", ""), CosmosErrorKind::Other, exit_code::FAILED, ""),
            (CosmosError::ended(""), CosmosErrorKind::Other, exit_code::FAILED, ""),
            (CosmosError::replaced(""), CosmosErrorKind::Other, exit_code::FAILED, "new name"),
        ] {
            assert_eq!(fault.kind(), kind, "{fault:?}");
            assert_eq!(fault.exit_code(), code, "{fault:?}");
            let told = fault.hint().unwrap_or_default();
            assert_eq!(told.is_empty(), hint.is_empty(), "{fault:?}: {told}");
            assert!(told.contains(hint), "{fault:?}: {told}");
        }
    }

    /// In all-versions mode a refusal means that the position has left the retention window.
    #[test]
    fn a_defect_of_our_own_is_no_refusal_and_a_feed_that_ended_is_neither() {
        assert_eq!(CosmosError::defect("", "").class(), Class::Defect);
        assert_eq!(CosmosError::ended("").class(), Class::Busy);
        assert_eq!(answered(400, 0).class(), Class::Refused);
    }
}
