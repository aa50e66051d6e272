//! Why a request failed, built from the errors of the client.

use std::time::Duration;

use cosmos_bridge_sink::{Answers, Cause, Class, SinkErrorKind, Wait};
use fe2o3_amqp::connection::ConnectionStopReason;
use fe2o3_amqp::link::{
    DetachError, LinkStateError, ReceiverAttachError, RecvError, SendError, SenderAttachError,
    SessionStopReason,
};
use fe2o3_amqp::session::BeginError;
use fe2o3_amqp_management::error::{AttachError, Error as RequestError};
use fe2o3_amqp_types::definitions;
use serde_amqp::Value;

use crate::classify::{NOT_FOUND, UNAUTHORIZED, classify, retry_after};

/// Longer descriptions of the service are cut off.
const DESCRIPTION_CHARACTERS_MAX: usize = 300;

/// Why a request failed, and what that means for the change, the link and the connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    pub(crate) retry_after: Option<Duration>,
    /// Holds no document and no secret.
    pub(crate) reason: String,
    /// True if the whole connection must be given up, not only the link.
    pub(crate) ends_connection: bool,
    pub(crate) told_by: ToldBy,
    /// True if the service refused the credential or the permission.
    pub(crate) is_unauthorized: bool,
    /// What it is at the start, if waiting does not end it.
    pub(crate) kind: SinkErrorKind,
}

/// How a failure became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToldBy {
    /// By the service's outcome for the event, so that the link stays usable.
    Outcome,
    /// By an error of the link or the connection.
    Error,
    /// No answer came within the timeout: the events may still arrive.
    Silence,
}

impl Failure {
    /// An error without a condition: the connection cannot be used any more.
    pub(crate) fn broken(reason: impl Into<String>) -> Self {
        Self {
            class: Class::BUSY,
            retry_after: None,
            reason: reason.into(),
            ends_connection: true,
            told_by: ToldBy::Error,
            is_unauthorized: false,
            kind: SinkErrorKind::Other,
        }
    }

    /// An error that the service sent, with a condition.
    pub(crate) fn of_condition(
        what: &str,
        error: &definitions::Error,
        ends_connection: bool,
    ) -> Self {
        let condition = match serde_amqp::to_value(&error.condition) {
            Ok(Value::Symbol(symbol)) => symbol.0,
            _ => String::new(),
        };
        let (class, why) = classify(&condition);
        let description = error.description.as_deref().unwrap_or_default();
        let description: String = description.chars().take(DESCRIPTION_CHARACTERS_MAX).collect();
        let reason = format!("{what}: {why} ({condition}: {description})");
        let is_unauthorized = UNAUTHORIZED.contains(&condition.as_str());
        let retry_after = retry_after(class);
        let kind = kind(is_unauthorized, condition.as_str() == NOT_FOUND);
        Self { class, retry_after, ends_connection, is_unauthorized, kind, ..Self::broken(reason) }
    }

    /// A status of `$cbs` or `$management`. These are the statuses of HTTP.
    fn status(what: &str, code: u16, description: &str) -> Self {
        let (cause, why) = match code {
            401 | 403 => (Cause::Fault, "the token is wrong or does not grant access"),
            404 => (Cause::Fault, "the hub does not exist"),
            429 | 503 => (Cause::Throttled, "the service is busy"),
            500.. => (Cause::Busy, "the service failed"),
            _ => (Cause::Fault, "the service refused it"),
        };
        let class = Class::Deferred(cause);
        let description: String = description.chars().take(DESCRIPTION_CHARACTERS_MAX).collect();
        let reason = format!("{what}: {why} ({code}: {description})");
        let is_unauthorized = matches!(code, 401 | 403);
        let (kind, retry_after) = (kind(is_unauthorized, code == 404), retry_after(class));
        Self { class, retry_after, is_unauthorized, kind, ..Self::broken(reason) }
    }

    /// An error of the link concerns all events, so no change is rejected for it.
    pub(crate) fn of_link(self) -> Self {
        let class = match self.class {
            Class::TooLarge | Class::Rejected => Class::FAULT,
            class @ Class::Deferred(_) => class,
        };
        Self { class, ..self }
    }

    /// True if a later attempt can succeed.
    pub(crate) fn is_deferred(&self) -> bool {
        self.class.cause().is_some()
    }

    pub(crate) fn wait(&self) -> Wait {
        let cause = self.class.cause().unwrap_or(Cause::Fault);
        Wait { cause, retry_after: self.retry_after }
    }

    /// Counts the request as throttled if it was.
    pub(crate) fn count(&self, answers: &mut Answers<'_>) {
        if self.class == Class::THROTTLED {
            answers.throttled();
        }
    }

    pub(crate) fn of_send(error: &SendError) -> Self {
        match error {
            SendError::MessageSizeExceeded(_) => {
                let reason = error.to_string();
                let (class, ends_connection) = (Class::TooLarge, false);
                Self { class, ends_connection, told_by: ToldBy::Outcome, ..Self::broken(reason) }
            }
            SendError::LinkStateError(state) => Self::of_link_state(state).of_link(),
            SendError::Detached(error) => Self::of_detach(error).of_link(),
            other => Self::broken(format!("the event was not sent: {other}")),
        }
    }

    pub(crate) fn of_begin(error: &BeginError) -> Self {
        let what = "no session";
        match error {
            BeginError::RemoteEndedWithError(error) => {
                Self::of_condition(what, error, true).of_link()
            }
            BeginError::ConnectionStopped(reason) => Self::of_connection_stop(reason),
            other => Self::broken(format!("{what}: {other}")),
        }
    }

    pub(crate) fn of_sender_attach(error: &SenderAttachError) -> Self {
        let what = "no link";
        match error {
            SenderAttachError::RemoteClosedWithError(error) => {
                Self::of_condition(what, error, false).of_link()
            }
            SenderAttachError::SessionStopped(reason) => Self::of_session_stop(reason),
            other => Self::broken(format!("{what}: {other}")),
        }
    }

    fn of_receiver_attach(error: &ReceiverAttachError) -> Self {
        match error {
            ReceiverAttachError::SessionStopped(reason) => Self::of_session_stop(reason),
            other => Self::broken(format!("no link for answers: {other}")),
        }
    }

    pub(crate) fn of_node_attach(error: &AttachError) -> Self {
        match error {
            AttachError::Sender(error) => Self::of_sender_attach(error),
            AttachError::Receiver(error) => Self::of_receiver_attach(error),
        }
    }

    pub(crate) fn of_request(what: &str, error: &RequestError) -> Self {
        match error {
            RequestError::Status(status) => {
                let description = status.description.as_deref().unwrap_or_default();
                Self::status(what, status.code.0.get(), description)
            }
            RequestError::Send(error) => Self { ends_connection: true, ..Self::of_send(error) },
            RequestError::Recv(RecvError::LinkStateError(state)) => {
                Self { ends_connection: true, ..Self::of_link_state(state).of_link() }
            }
            other => Self::broken(format!("{what}: {other}")),
        }
    }

    fn of_link_state(error: &LinkStateError) -> Self {
        match error {
            LinkStateError::RemoteDetachedWithError(error)
            | LinkStateError::RemoteClosedWithError(error) => {
                Self::of_condition("the link was detached", error, false)
            }
            LinkStateError::RemoteDetached | LinkStateError::RemoteClosed => {
                Self { ends_connection: false, ..Self::broken("the service detached the link") }
            }
            LinkStateError::SessionStopped(reason) => Self::of_session_stop(reason),
            other => Self::broken(format!("the link was lost: {other}")),
        }
    }

    fn of_detach(error: &DetachError) -> Self {
        match error {
            DetachError::RemoteDetachedWithError(error)
            | DetachError::RemoteClosedWithError(error) => {
                Self::of_condition("the link was detached", error, false)
            }
            DetachError::SessionStopped(reason) => Self::of_session_stop(reason),
            other => Self::broken(format!("the link was lost: {other}")),
        }
    }

    fn of_session_stop(reason: &SessionStopReason) -> Self {
        match reason {
            SessionStopReason::RemoteEndedWithError(error) => {
                Self::of_condition("the session was ended", error, true).of_link()
            }
            SessionStopReason::ConnectionStopped(reason) => Self::of_connection_stop(reason),
            _ => Self::broken("the session was ended"),
        }
    }

    fn of_connection_stop(reason: &ConnectionStopReason) -> Self {
        match reason {
            ConnectionStopReason::RemoteClosedWithError(error) => {
                Self::of_condition("the connection was closed", error, true).of_link()
            }
            _ => Self::broken("the connection was lost"),
        }
    }
}

fn kind(is_unauthorized: bool, is_missing: bool) -> SinkErrorKind {
    match (is_unauthorized, is_missing) {
        (true, _) => SinkErrorKind::Denied,
        (_, true) => SinkErrorKind::Missing,
        _ => SinkErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp::link::{LinkStateError, SendError};
    use fe2o3_amqp_types::definitions::{Error, ErrorCondition};
    use fe2o3_amqp_types::primitives::Symbol;

    use super::*;

    fn error(condition: &str) -> Error {
        let condition = ErrorCondition::Custom(Symbol::from(condition));
        Error { condition, description: Some("as said".to_owned()), info: None }
    }

    #[test]
    fn a_condition_of_a_detached_link_never_rejects_an_event() {
        for (condition, cause) in [
            ("com.microsoft:argument-error", Cause::Fault),
            ("amqp:link:message-size-exceeded", Cause::Fault),
            ("com.microsoft:server-busy", Cause::Throttled),
            ("amqp:link:detach-forced", Cause::Busy),
        ] {
            let state = LinkStateError::RemoteClosedWithError(error(condition));
            let failure = Failure::of_send(&SendError::LinkStateError(state));
            assert_eq!(failure.class, Class::Deferred(cause), "{condition}");
            assert!(!failure.ends_connection);
            assert!(failure.reason.contains(condition) && failure.reason.contains("as said"));
        }
    }

    #[test]
    fn a_lost_connection_is_given_up() {
        let stopped = SessionStopReason::ConnectionStopped(ConnectionStopReason::RemoteClosed);
        let failure =
            Failure::of_send(&SendError::LinkStateError(LinkStateError::SessionStopped(stopped)));
        assert!(failure.ends_connection);
        assert_eq!(failure.class, Class::BUSY);
    }

    #[test]
    fn statuses_are_those_of_http() {
        use SinkErrorKind::{Denied, Missing, Other};
        let denied = "the token is wrong or does not grant access";
        for (code, cause, kind, asks_for_a_pause, why) in [
            (401, Cause::Fault, Denied, false, denied),
            (403, Cause::Fault, Denied, false, denied),
            (404, Cause::Fault, Missing, false, "the hub does not exist"),
            (429, Cause::Throttled, Other, true, "the service is busy"),
            (503, Cause::Throttled, Other, true, "the service is busy"),
            (500, Cause::Busy, Other, false, "the service failed"),
            (400, Cause::Fault, Other, false, "the service refused it"),
        ] {
            let failure = Failure::status("x", code, "y");
            assert_eq!(failure.reason, format!("x: {why} ({code}: y)"));
            assert_eq!(failure.class, Class::Deferred(cause), "{code}");
            assert_eq!((failure.kind, failure.retry_after.is_some()), (kind, asks_for_a_pause));
            assert_eq!(failure.is_unauthorized, kind == Denied, "{code}");
        }
    }
}
