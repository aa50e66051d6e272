//! Errors of Cosmos DB, converted from the SDK's.

use std::fmt;
use std::time::Duration;

use azure_data_cosmos::CosmosError as SdkError;
use cosmos_bridge_cosmos::{Answer, Class, NO_STATUS, classify};
use cosmos_bridge_sink::{SinkError, SinkErrorKind};

use crate::identity::{ReadError, TokenError, TokenErrorKind};
use crate::model::Position;

mod answer;
mod remedy;

pub(super) use answer::{answer_of, is_unparseable};

/// The SDK's own substatuses for requests without an answer.
pub(super) const NO_ANSWER: std::ops::Range<u32> = 20_003..20_020;

/// The SDK's own substatuses for requests that every region rejected with 404/1002, 403/3 or
/// 403/1008.
const NO_REGION: std::ops::RangeInclusive<u32> = 20_310..=20_312;

/// The bridge's own substatuses, which neither the service nor the SDK uses: a stored position is of no
/// use, and a container of which no history is kept.
const UNUSABLE_POSITION: u32 = 29_400;
const NO_HISTORY: u32 = 29_401;
/// A stored position that has left the history of all versions and deletes.
const LOST_POSITION: u32 = 29_403;

/// The kind of an error, as far as the reaction depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CosmosErrorKind {
    Denied,
    Unreachable,
    /// The account answers, but no region accepts the request, mostly during a failover.
    Unready,
    /// A proxy or a firewall on the way refused the request.
    Intermediary,
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
            Self::Intermediary | Self::Other => String::new(),
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

    /// The service told no physical partitions of a container.
    pub(super) fn no_partitions(attempt: impl Into<String>) -> Self {
        let message = "the physical partitions of the container are not known".to_owned();
        // The SDK's own status for the same failure.
        let answer = Answer { status: 503, sub_status: 20_305, message, ..Answer::default() };
        Self { attempt: attempt.into(), answer }
    }

    /// The container is not the one whose positions are stored.
    pub(super) fn replaced(attempt: impl Into<String>) -> Self {
        let message = "the container was deleted and created again under the same name".to_owned();
        let answer = Answer { status: 400, sub_status: 1024, message, ..Answer::default() };
        Self { attempt: attempt.into(), answer }
    }

    /// A stored position is ahead of the feed: the newest log sequence number there is `head`.
    pub fn ahead(position: &Position, head: i64) -> Self {
        let etag = position.changes_after().unwrap_or_default();
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

    /// The same of a position in all versions and deletes, of which the service has no history any more.
    pub(super) fn lost_position(self, position: &Position) -> Self {
        let mut lost = self.refused_position(position);
        lost.answer.sub_status = LOST_POSITION;
        lost
    }

    /// True if the history that follows a stored position is lost.
    pub fn is_lost_position(&self) -> bool {
        self.answer.sub_status == LOST_POSITION
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
        matches!(self.answer.sub_status, UNUSABLE_POSITION | LOST_POSITION)
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
            Class::Intermediary => CosmosErrorKind::Intermediary,
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

    /// The text for the log while the request is retried. If the request is refused, it includes the missing
    /// role or right, or where to look.
    pub fn message(&self) -> String {
        let is_refused =
            matches!(self.kind(), CosmosErrorKind::Denied | CosmosErrorKind::Intermediary);
        match self.hint().filter(|_| is_refused) {
            Some(hint) => format!("{self}. {hint}"),
            None => self.to_string(),
        }
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
                | CosmosErrorKind::Intermediary
                | CosmosErrorKind::Throttled => SinkErrorKind::Unreachable,
                CosmosErrorKind::Denied => SinkErrorKind::Denied,
                CosmosErrorKind::Missing => SinkErrorKind::Missing,
                CosmosErrorKind::Other => SinkErrorKind::Other,
            },
            source: None,
        }
    }
}

#[cfg(test)]
mod tests;
