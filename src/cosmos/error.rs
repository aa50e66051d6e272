//! Errors of Cosmos DB, converted from the SDK's.

use std::fmt;
use std::time::Duration;

use azure_data_cosmos::CosmosError as SdkError;
use cosmos_bridge_cosmos::{Answer, Class, NO_STATUS, classify, remedy};
use cosmos_bridge_sink::{SinkError, SinkErrorKind};

use crate::exit_code;
use crate::identity::{ReadError, TokenError, TokenErrorKind};
use crate::model::Position;

/// Longest text of the service in a message.
const MESSAGE_CHARS_MAX: usize = 300;

/// The SDK's own substatuses for requests without an answer.
pub(super) const NO_ANSWER: std::ops::Range<u32> = 20_003..20_020;

/// The SDK's own substatuses for requests that every region rejected with 404/1002, 403/3 or
/// 403/1008.
const NO_REGION: std::ops::RangeInclusive<u32> = 20_310..=20_312;

/// The bridge's own substatuses, which neither the service nor the SDK uses: a stored position is of no
/// use, and a container of which no history is kept.
const UNUSABLE_POSITION: u32 = 29_400;
const NO_HISTORY: u32 = 29_401;

/// The kind of an error, as far as the reaction depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CosmosErrorKind {
    Denied,
    Unreachable,
    /// The account answers, but no region accepts the request, mostly during a failover.
    Unready,
    Missing,
    Throttled,
    Other,
}

impl CosmosErrorKind {
    /// The start of the message for an operator; the service's own message follows.
    fn prefix(self, answer: &Answer) -> String {
        let status = answer.status;
        match self {
            Self::Unreachable => "cannot be reached: ".to_owned(),
            Self::Unready => "no region is ready: ".to_owned(),
            Self::Denied => format!("the credential is refused ({status}): "),
            Self::Missing => format!("it does not exist ({status}): "),
            Self::Throttled => "no request units left (429): ".to_owned(),
            Self::Other => String::new(),
        }
    }
}

/// A failed request, with the status of the service or of the SDK.
#[derive(Clone, Debug)]
pub struct CosmosError {
    /// The operation that failed, as the start of the message.
    pub attempt: String,
    pub answer: Answer,
}

impl CosmosError {
    pub(super) fn new(attempt: impl Into<String>, error: &SdkError) -> Self {
        let answer = answer_of(error);
        // The service's own message only says that ids do not match.
        if classify(answer.status, answer.sub_status) == Class::ContainerReplaced {
            let mut replaced = Self::replaced(attempt);
            replaced.answer.charge = answer.charge;
            return replaced;
        }
        Self { attempt: attempt.into(), answer }
    }

    /// A bug: the bridge or the SDK passed a value that the other cannot use. The service was not
    /// asked, so this never means that a position is out of the retention window.
    pub(super) fn internal(attempt: impl Into<String>, message: impl Into<String>) -> Self {
        let answer = Answer { status: NO_STATUS, message: message.into(), ..Answer::default() };
        Self { attempt: attempt.into(), answer }
    }

    /// The SDK's iterator ended, which a change feed never does. The next read opens a new one.
    pub(super) fn ended(attempt: impl Into<String>) -> Self {
        let message = "the client library ended a change feed, which has no end".to_owned();
        // The SDK's own status for a feed that it drained by mistake.
        let answer = Answer { status: 500, sub_status: 20_212, message, ..Answer::default() };
        Self { attempt: attempt.into(), answer }
    }

    /// The text of an answer ends in its middle.
    pub(super) fn broken_off(attempt: impl Into<String>) -> Self {
        let message = "the answer is no whole page".to_owned();
        // The SDK's own status for an answer that it cannot parse.
        let answer = Answer { status: 500, sub_status: 20_020, message, ..Answer::default() };
        Self { attempt: attempt.into(), answer }
    }

    /// An invalid configuration or setup, found by the bridge before or while connecting.
    pub(super) fn invalid(attempt: impl Into<String>, message: impl Into<String>) -> Self {
        let answer = Answer { status: 400, message: message.into(), ..Answer::default() };
        Self { attempt: attempt.into(), answer }
    }

    /// No token for an account, so no request was sent.
    pub(super) fn no_token(attempt: &str, error: &TokenError) -> Self {
        // The SDK's own statuses for the same failures.
        let (status, sub_status) = match error.kind {
            TokenErrorKind::Unreachable => (503, 20_003),
            TokenErrorKind::Refused | TokenErrorKind::Setup => (401, 20_402),
        };
        let message = format!("{error}. {}", error.hint());
        let answer = Answer { status, sub_status, message, ..Answer::default() };
        Self { attempt: attempt.to_owned(), answer }
    }

    /// The container is not the one whose positions are stored.
    pub(super) fn replaced(attempt: impl Into<String>) -> Self {
        let message = "the container was deleted and created again under the same name".to_owned();
        let answer = Answer { status: 400, sub_status: 1024, message, ..Answer::default() };
        Self { attempt: attempt.into(), answer }
    }

    /// A stored position is ahead of the feed: the newest log sequence number there is `head`.
    pub fn ahead(position: &Position, head: i64) -> Self {
        let etag = position.etag.as_deref().unwrap_or_default();
        let message = format!(
            "the stored position {etag} is ahead of the feed, whose newest log sequence number is {head}"
        );
        Self::of_position(format!("reading feed range {}", position.range), message)
    }

    /// The service refuses a stored position for this reason, and reads the range without it.
    pub(super) fn refused_position(self, position: &Position) -> Self {
        let etag = position.etag.as_deref().unwrap_or_default();
        let message =
            format!("the service refuses the stored position {etag:?}: {}", self.answer.message);
        let charge = self.answer.charge;
        let mut refused = Self::of_position(self.attempt, message);
        refused.answer.charge = charge;
        refused
    }

    /// The service does not serve all versions and deletes of the container.
    pub(super) fn without_history(mut self) -> Self {
        self.answer.sub_status = NO_HISTORY;
        self
    }

    /// True if the service does not serve all versions and deletes of the container.
    pub fn is_without_history(&self) -> bool {
        self.answer.sub_status == NO_HISTORY
    }

    fn of_position(attempt: String, message: String) -> Self {
        let (status, sub_status) = (400, UNUSABLE_POSITION);
        Self { attempt, answer: Answer { status, sub_status, message, ..Answer::default() } }
    }

    /// True if a stored position can never be read from.
    pub fn is_about_position(&self) -> bool {
        self.answer.sub_status == UNUSABLE_POSITION
    }

    pub fn class(&self) -> Class {
        classify(self.answer.status, self.answer.sub_status)
    }

    pub fn kind(&self) -> CosmosErrorKind {
        if NO_ANSWER.contains(&self.answer.sub_status) {
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

    /// The text for the log while the request is retried. If the credential is refused, it includes
    /// the missing role or right.
    pub fn message(&self) -> String {
        match self.hint().filter(|_| self.kind() == CosmosErrorKind::Denied) {
            Some(hint) => format!("{self}. {hint}"),
            None => self.to_string(),
        }
    }

    /// The exit code of a start that fails with this error.
    pub fn exit_code(&self) -> u8 {
        match self.kind() {
            CosmosErrorKind::Other if self.is_without_history() => exit_code::CONFIG,
            CosmosErrorKind::Denied => exit_code::DENIED,
            CosmosErrorKind::Unreachable
            | CosmosErrorKind::Unready
            | CosmosErrorKind::Throttled => exit_code::UNREACHABLE,
            CosmosErrorKind::Missing => exit_code::MISSING,
            CosmosErrorKind::Other => exit_code::FAILED,
        }
    }

    /// What the operator can do, if anything.
    pub fn hint(&self) -> Option<String> {
        if self.is_about_position() {
            let hint = "The position has left the history of the account, is not of this container, or \
                        the account lost changes: after a restore, or a failover with a loss. Restore \
                        the state file that belongs to the account, or give the pipeline or the sink a \
                        new name, to copy from the configured start.";
            return Some(hint.to_owned());
        }
        if self.is_without_history() {
            let hint = "Switch on continuous backup for the account, or write mode = \
                        \"latest-version\".";
            return Some(hint.to_owned());
        }
        match self.class() {
            Class::ContainerReplaced => {
                let hint = "The new container was not touched. To copy it from its beginning, give \
                            the pipeline a new name.";
                return Some(hint.to_owned());
            }
            Class::Defect => {
                let hint = "This is a bug in the bridge or in its client library. Positions and \
                            target are unchanged. Report the message, and run the previous \
                            version until it is fixed.";
                return Some(hint.to_owned());
            }
            _ => {}
        }
        Some(match self.kind() {
            CosmosErrorKind::Denied => {
                remedy(self.answer.status, self.answer.sub_status)?.to_owned()
            }
            CosmosErrorKind::Unreachable => {
                "Check the endpoint in the configuration, the network, and that the account is \
                 available."
                    .to_owned()
            }
            CosmosErrorKind::Missing => {
                "Create the database and the container, or correct their names in the \
                 configuration."
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
        let prefix = self.kind().prefix(&self.answer);
        write!(f, "{}: {prefix}{}", self.attempt, self.answer.message)
    }
}

/// Why an account cannot be connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Cosmos(#[from] CosmosError),
    /// The account's secret cannot be read, so no request was sent.
    #[error("connecting to account `{account}`: {source}")]
    Secret { account: String, source: ReadError },
}

impl From<CosmosError> for SinkError {
    fn from(error: CosmosError) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint(),
            kind: match error.kind() {
                CosmosErrorKind::Unreachable
                | CosmosErrorKind::Unready
                | CosmosErrorKind::Throttled => SinkErrorKind::Unreachable,
                CosmosErrorKind::Denied => SinkErrorKind::Denied,
                CosmosErrorKind::Missing => SinkErrorKind::Missing,
                CosmosErrorKind::Other => SinkErrorKind::Other,
            },
            source: None,
        }
    }
}

/// Status and retry-after of the last attempt, and the charge of all attempts.
pub(super) fn answer_of(error: &SdkError) -> Answer {
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
        answer.retry_after = response.headers().retry_after_ms.map(Duration::from_millis);
    }
    // The headers only have the charge of the last attempt.
    let diagnostics = error.diagnostics();
    answer.charge = diagnostics.map_or(0.0, |all| all.total_request_charge().value());
    answer
}

/// True if the SDK has an answer that it cannot parse: the service stores a document that no parser
/// takes, or the answer broke off. An error that the service sent is neither.
pub(super) fn is_unparseable(error: &SdkError) -> bool {
    let sub_status = error.status().sub_status().map(|sub| sub.value());
    sub_status == Some(20_020) && error.response().is_none()
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

#[cfg(test)]
mod tests {
    use cosmos_bridge_cosmos::{Answer, Class};

    use super::{CosmosError, CosmosErrorKind};
    use crate::exit_code;
    use crate::model::{FeedRange, Position};

    fn answered(status: u16, sub_status: u32) -> CosmosError {
        let answer = Answer { status, sub_status, ..Answer::default() };
        CosmosError { attempt: "reading".to_owned(), answer }
    }

    #[test]
    fn hint_and_exit_code_fit_the_status() {
        let (denied, missing) = (CosmosErrorKind::Denied, CosmosErrorKind::Missing);
        for (error, kind, code, hint) in [
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
            (answered(500, 20_203), CosmosErrorKind::Other, exit_code::FAILED, "bug"),
            (CosmosError::internal("", ""), CosmosErrorKind::Other, exit_code::FAILED, "bug"),
            (CosmosError::invalid("", ""), CosmosErrorKind::Other, exit_code::FAILED, ""),
            (CosmosError::ended(""), CosmosErrorKind::Other, exit_code::FAILED, ""),
            (CosmosError::replaced(""), CosmosErrorKind::Other, exit_code::FAILED, "new name"),
        ] {
            assert_eq!(error.kind(), kind, "{error:?}");
            assert_eq!(error.exit_code(), code, "{error:?}");
            let text = error.hint().unwrap_or_default();
            assert_eq!(text.is_empty(), hint.is_empty(), "{error:?}: {text}");
            assert!(text.contains(hint), "{error:?}: {text}");
        }
    }

    /// In all-versions mode a refusal means that the position has left the retention window.
    #[test]
    fn a_bug_is_not_a_refusal_and_an_ended_feed_is_neither() {
        assert_eq!(CosmosError::internal("", "").class(), Class::Defect);
        assert_eq!(CosmosError::ended("").class(), Class::Busy);
        assert_eq!(answered(400, 0).class(), Class::Refused);
    }

    #[test]
    fn a_position_that_is_of_no_use_is_told_with_a_remedy() {
        let position = Position { range: FeedRange::whole(), etag: Some("\"99\"".to_owned()) };
        let ahead = CosmosError::ahead(&position, 50);
        let expected = "reading feed range [,FF): the stored position \"99\" is ahead of the feed, \
                        whose newest log sequence number is 50";
        assert_eq!(ahead.to_string(), expected);
        let refused = answered(400, 0).refused_position(&position);
        for error in [ahead, refused] {
            // Others of the range may have a position that the service takes.
            assert!(error.is_about_position() && error.class() == Class::Refused);
            assert!(error.hint().unwrap().contains("new name"), "{error}");
        }
        assert!(!answered(400, 0).is_about_position());
        let without = answered(400, 0).without_history();
        assert_eq!((without.class(), without.exit_code()), (Class::Refused, exit_code::CONFIG));
        assert!(without.hint().unwrap().contains("continuous backup"));
    }
}
