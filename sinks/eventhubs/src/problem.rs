//! What went wrong, from whichever error of the client.

use std::time::Duration;

use cosmos_bridge_sink::{Cause, Wait};
use fe2o3_amqp::connection::ConnectionStopReason;
use fe2o3_amqp::link::{
    DetachError, LinkStateError, ReceiverAttachError, RecvError, SendError, SenderAttachError,
    SessionStopReason,
};
use fe2o3_amqp::session::BeginError;
use fe2o3_amqp_management::error::{AttachError, Error as RequestError};
use fe2o3_amqp_types::definitions;
use serde_amqp::Value;

use crate::Class;
use crate::classify::{UNAUTHORIZED, classify, retry_after};

/// A description of the service is not longer; what it wraps is cut off.
const DESCRIPTION_CHARACTERS_MAX: usize = 300;

/// Why something did not work, and what to think of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) class: Class,
    pub(crate) retry_after: Option<Duration>,
    /// Without any document or secret.
    pub(crate) reason: String,
    /// Whether the whole connection is to be given up, not the link alone.
    pub(crate) ends_connection: bool,
    /// Whether the service answered for the event, so that the link is as good as before.
    pub(crate) is_outcome: bool,
    /// Whether the service does not let the bridge in, or not to this.
    pub(crate) is_unauthorized: bool,
}

impl Problem {
    /// Trouble that names no condition: the connection is worth nothing any more.
    pub(crate) fn broken(reason: impl Into<String>) -> Self {
        let class = Class::Deferred(Cause::Busy);
        Self {
            class,
            retry_after: None,
            reason: reason.into(),
            ends_connection: true,
            is_outcome: false,
            is_unauthorized: false,
        }
    }

    /// What the service said.
    pub(crate) fn said(what: &str, error: &definitions::Error, ends_connection: bool) -> Self {
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
        Self { class, retry_after, reason, ends_connection, is_outcome: false, is_unauthorized }
    }

    /// A status of `$cbs` or `$management`, which are those of HTTP.
    fn status(what: &str, code: u16, description: &str) -> Self {
        let (cause, why) = match code {
            401 | 403 => (Cause::Fault, "it is wrong or does not allow this"),
            404 => (Cause::Fault, "there is no such hub"),
            429 | 503 => (Cause::Throttled, "the service is busy"),
            500.. => (Cause::Busy, "the service has trouble of its own"),
            _ => (Cause::Fault, "the service refused it"),
        };
        let class = Class::Deferred(cause);
        let description: String = description.chars().take(DESCRIPTION_CHARACTERS_MAX).collect();
        let reason = format!("{what}: {why} ({code}: {description})");
        let is_unauthorized = matches!(code, 401 | 403);
        Self { class, retry_after: retry_after(class), is_unauthorized, ..Self::broken(reason) }
    }

    /// What concerns the link and not one event cannot be the event's fault.
    pub(crate) fn of_link(self) -> Self {
        let class = match self.class {
            Class::TooLarge | Class::Rejected => Class::Deferred(Cause::Fault),
            class @ Class::Deferred(_) => class,
        };
        Self { class, ..self }
    }

    /// Unless the class is not one that waits.
    pub(crate) fn wait(&self) -> Option<Wait> {
        match self.class {
            Class::Deferred(cause) => Some(Wait { cause, retry_after: self.retry_after }),
            Class::TooLarge | Class::Rejected => None,
        }
    }

    pub(crate) fn of_send(error: &SendError) -> Self {
        match error {
            SendError::MessageSizeExceeded(_) => {
                let reason = error.to_string();
                let (class, ends_connection) = (Class::TooLarge, false);
                Self { class, ends_connection, is_outcome: true, ..Self::broken(reason) }
            }
            SendError::LinkStateError(state) => Self::of_link_state(state).of_link(),
            SendError::Detached(error) => Self::of_detach(error).of_link(),
            other => Self::broken(format!("the event was not sent: {other}")),
        }
    }

    pub(crate) fn of_begin(error: &BeginError) -> Self {
        let what = "no session";
        match error {
            BeginError::RemoteEndedWithError(error) => Self::said(what, error, true).of_link(),
            BeginError::ConnectionStopped(reason) => Self::of_connection_stop(reason),
            other => Self::broken(format!("{what}: {other}")),
        }
    }

    pub(crate) fn of_sender_attach(error: &SenderAttachError) -> Self {
        let what = "no link";
        match error {
            SenderAttachError::RemoteClosedWithError(error) => {
                Self::said(what, error, false).of_link()
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
                Self::said("the link was detached", error, false)
            }
            LinkStateError::RemoteDetached | LinkStateError::RemoteClosed => {
                Self { ends_connection: false, ..Self::broken("the service detached the link") }
            }
            LinkStateError::SessionStopped(reason) => Self::of_session_stop(reason),
            other => Self::broken(format!("the link is gone: {other}")),
        }
    }

    fn of_detach(error: &DetachError) -> Self {
        match error {
            DetachError::RemoteDetachedWithError(error)
            | DetachError::RemoteClosedWithError(error) => {
                Self::said("the link was detached", error, false)
            }
            DetachError::SessionStopped(reason) => Self::of_session_stop(reason),
            other => Self::broken(format!("the link is gone: {other}")),
        }
    }

    fn of_session_stop(reason: &SessionStopReason) -> Self {
        match reason {
            SessionStopReason::RemoteEndedWithError(error) => {
                Self::said("the session was ended", error, true).of_link()
            }
            SessionStopReason::ConnectionStopped(reason) => Self::of_connection_stop(reason),
            _ => Self::broken("the session was ended"),
        }
    }

    fn of_connection_stop(reason: &ConnectionStopReason) -> Self {
        match reason {
            ConnectionStopReason::RemoteClosedWithError(error) => {
                Self::said("the connection was closed", error, true).of_link()
            }
            _ => Self::broken("the connection was lost"),
        }
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
    fn a_condition_of_a_detached_link_never_gives_up_an_event() {
        for (condition, cause) in [
            ("com.microsoft:argument-error", Cause::Fault),
            ("amqp:link:message-size-exceeded", Cause::Fault),
            ("com.microsoft:server-busy", Cause::Throttled),
            ("amqp:link:detach-forced", Cause::Busy),
        ] {
            let state = LinkStateError::RemoteClosedWithError(error(condition));
            let problem = Problem::of_send(&SendError::LinkStateError(state));
            assert_eq!(problem.class, Class::Deferred(cause), "{condition}");
            assert!(!problem.ends_connection);
            assert!(problem.reason.contains(condition) && problem.reason.contains("as said"));
        }
    }

    #[test]
    fn a_lost_connection_is_worth_nothing_any_more() {
        let stopped = SessionStopReason::ConnectionStopped(ConnectionStopReason::RemoteClosed);
        let problem =
            Problem::of_send(&SendError::LinkStateError(LinkStateError::SessionStopped(stopped)));
        assert!(problem.ends_connection);
        assert_eq!(problem.class, Class::Deferred(Cause::Busy));
    }

    #[test]
    fn statuses_are_those_of_http() {
        for (code, cause) in [
            (401, Cause::Fault),
            (404, Cause::Fault),
            (503, Cause::Throttled),
            (500, Cause::Busy),
            (400, Cause::Fault),
        ] {
            assert_eq!(Problem::status("x", code, "").class, Class::Deferred(cause), "{code}");
        }
    }
}
