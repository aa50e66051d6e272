//! Classifies the errors of the client and the reply codes of the broker.
//!
//! Sources: the reply codes of AMQP 0-9-1 (<https://www.rabbitmq.com/amqp-0-9-1-reference#constants>),
//! when `RabbitMQ` sends which (<https://www.rabbitmq.com/docs/specification>, and for connecting
//! `rabbit_reader.erl`, for publishing `rabbit_channel.erl`), and the client's `ErrorKind`.

use cosmos_bridge_sink::{Cause, Class, SinkError, SinkErrorKind};
use lapin::{Error, ErrorKind};

/// The operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Opening a connection, up to the virtual host.
    Connecting,
    /// Opening a channel, checking the exchange, publishing.
    Publishing,
}

/// One row of the table. No class is `Rejected`: an operator can correct everything at the broker but
/// a message that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub stage: Stage,
    pub code: u16,
    pub class: Class,
    /// A sentence that says what to do.
    pub hint: Option<&'static str>,
}

const fn row(stage: Stage, code: u16, class: Class, hint: &'static str) -> Row {
    Row { stage, code, class, hint: Some(hint) }
}

const fn plain(stage: Stage, code: u16, class: Class) -> Row {
    Row { stage, code, class, hint: None }
}

const LOGIN: &str =
    "Check the user and the password in `uri`, and that the user may log in from here.";
const VHOST: &str =
    "Check the virtual host at the end of `uri`; create it, or give the user permissions in it.";
const EXCHANGE: &str = "Declare the exchange, or correct `exchange`.";
const PERMISSION: &str = "Give the user write permission for the exchange.";
const INTERNAL: &str = "The exchange is internal: name one that clients may publish to.";
const LARGE: &str =
    "Set `max_message` to the limit of the broker, or raise its `max_message_size`.";

/// The first row that fits is the one that counts.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    row(Stage::Connecting, 403,   Class::FAULT, LOGIN),       // access-refused
    row(Stage::Connecting, 402,   Class::FAULT, VHOST),       // invalid-path
    row(Stage::Connecting, 530,   Class::FAULT, VHOST),       // not-allowed
    row(Stage::Publishing, 311,   Class::TooLarge, LARGE),      // content-too-large
    row(Stage::Publishing, 403,   Class::FAULT, PERMISSION),  // access-refused
    row(Stage::Publishing, 404,   Class::FAULT, EXCHANGE),    // not-found
    plain(Stage::Publishing, 406, Class::FAULT),              // precondition-failed, but see below
    plain(Stage::Connecting, 320, Class::BUSY),                 // connection-forced: shutting down,
    plain(Stage::Publishing, 320, Class::BUSY),                 // or closed by an operator
    plain(Stage::Connecting, 506, Class::BUSY),                 // resource-error
    plain(Stage::Publishing, 506, Class::BUSY),
    plain(Stage::Connecting, 541, Class::BUSY),                 // internal-error
    plain(Stage::Publishing, 541, Class::BUSY),
];

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    /// A fragment; holds no message and no credential.
    pub(crate) reason: String,
    pub(crate) hint: Option<&'static str>,
    /// The largest body, in bytes, if the broker stated it.
    pub(crate) largest: Option<usize>,
    /// The reply code of the broker.
    pub(crate) code: Option<u16>,
    /// True if the connection was given up because nothing came, so that messages may still arrive.
    pub(crate) is_silence: bool,
}

impl Failure {
    /// The broker is unreachable or does not answer.
    pub(crate) fn busy(reason: impl Into<String>) -> Self {
        Self {
            class: Class::BUSY,
            reason: reason.into(),
            hint: None,
            largest: None,
            code: None,
            is_silence: false,
        }
    }

    /// The broker does not answer any more, on a connection that is given up.
    pub(crate) fn silence(reason: impl Into<String>) -> Self {
        Self { is_silence: true, ..Self::busy(reason) }
    }

    /// The cause of the wait. A message that is too large waits too: the next attempt knows the limit.
    pub(crate) fn cause(&self) -> Cause {
        self.class.cause().unwrap_or(Cause::Fault)
    }

    /// True if the broker refused one message and closed the channel. It does not say which message.
    pub(crate) fn is_refusal(&self) -> bool {
        self.class == Class::FAULT && self.code.is_some()
    }

    /// By the reply code, as AMQP 0-9-1 defines it.
    fn kind(&self) -> SinkErrorKind {
        match self.code {
            _ if self.class == Class::BUSY => SinkErrorKind::Unreachable,
            Some(404) => SinkErrorKind::Missing,
            // RabbitMQ answers so for a virtual host that does not exist, and for one that is not allowed.
            Some(530) if self.reason.contains("not found") => SinkErrorKind::Missing,
            Some(403 | 530) => SinkErrorKind::Denied,
            _ => SinkErrorKind::Other,
        }
    }

    pub(crate) fn into_sink_error(self) -> SinkError {
        let (kind, hint) = (self.kind(), self.hint.map(str::to_owned));
        SinkError { message: self.reason, hint, kind, source: None }
    }
}

/// Classifies an error of the client. `what` is the operation: "connecting to ...".
pub(crate) fn classify(stage: Stage, what: &str, error: &Error) -> Failure {
    match error.kind() {
        ErrorKind::ProtocolError(said) => {
            answered(stage, what, said.get_id(), said.get_message().as_str())
        }
        ErrorKind::IOError(io) => unreachable(what, io),
        ErrorKind::MissingHeartbeatError => {
            Failure::silence(format!("{what}: no data from the broker for two heartbeats"))
        }
        ErrorKind::ChannelsLimitReached => Failure {
            class: Class::FAULT,
            hint: Some("Lower `concurrency`, or raise the broker's `channel_max`."),
            ..Failure::busy(format!("{what}: the broker allows no more channels on a connection"))
        },
        // The consequence of an earlier error, which another call has reported.
        ErrorKind::InvalidChannelState(..)
        | ErrorKind::InvalidConnectionState(_)
        | ErrorKind::InvalidChannel(_) => Failure::busy(format!("{what}: the connection was lost")),
        // The other errors do not concern messages, and no case is known in which they occur.
        other => Failure::busy(format!("{what}: {}", Error::from(other.clone()))),
    }
}

/// Classifies a reply code of the broker.
pub(crate) fn answered(stage: Stage, what: &str, code: u16, text: &str) -> Failure {
    let largest = largest(code, text);
    let row = TABLE.iter().find(|row| row.stage == stage && row.code == code);
    let class = match (largest, row) {
        (Some(_), _) => Class::TooLarge,
        (None, Some(row)) => row.class,
        // 5xx close the connection, without naming the message.
        (None, None) => Class::FAULT,
    };
    let hint = match row {
        _ if largest.is_some() => Some(LARGE),
        Some(_) if text.contains("internal exchange") => Some(INTERNAL),
        row => row.and_then(|row| row.hint),
    };
    let reason = format!("{what}: the broker answered {code} {text}");
    Failure { class, hint, largest, code: Some(code), ..Failure::busy(reason) }
}

/// Reads the limit from the text of `RabbitMQ`: `PRECONDITION_FAILED - message size 134217729 is larger
/// than configured max size 134217728`. The broker closes the channel without naming the message.
fn largest(code: u16, text: &str) -> Option<usize> {
    let (_, after) = text.split_once("message size").filter(|_| code == 406 || code == 311)?;
    after.rsplit(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse().ok()
}

fn unreachable(what: &str, error: &std::io::Error) -> Failure {
    let text = error.to_string();
    let certificate = text.contains("certificate") || text.contains("CertificateUnknown");
    let (class, hint) = match error.kind() {
        _ if certificate => (
            Class::FAULT,
            Some(
                "Check `ca_file`, the host in `uri`, and whether the broker requires a client certificate.",
            ),
        ),
        std::io::ErrorKind::InvalidData => {
            (Class::BUSY, Some("Check that the port in `uri` is the one for its scheme."))
        }
        std::io::ErrorKind::ConnectionRefused => {
            (Class::BUSY, Some("Check the host and the port in `uri`, and that the broker runs."))
        }
        _ => (Class::BUSY, None),
    };
    Failure { class, hint, ..Failure::busy(format!("{what}: {text}")) }
}

#[cfg(test)]
mod tests;
