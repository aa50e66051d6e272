//! What an error of the client or a code of the broker means.
//!
//! Sources: the reply codes of AMQP 0-9-1 (<https://www.rabbitmq.com/amqp-0-9-1-reference#constants>),
//! when `RabbitMQ` sends which (<https://www.rabbitmq.com/docs/specification>, and for connecting
//! `rabbit_reader.erl`, for publishing `rabbit_channel.erl`), and the client's `ErrorKind`.

use cosmos_bridge_sink::{Cause, SinkError};
use lapin::{Error, ErrorKind};

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Opening a connection, up to the virtual host.
    Connecting,
    /// Opening a channel, asking for the exchange, publishing.
    Publishing,
}

/// What an answer calls for. A change is given up for none but `TooLarge`: everything else can be
/// mended at the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The broker has trouble of its own, or is not there. Less at once, later and later.
    Busy,
    /// It says no to these messages until a person does something.
    Refused,
    /// A message is larger than it takes.
    TooLarge,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub stage: Stage,
    pub code: u16,
    pub meaning: Meaning,
    /// A sentence that says what to do.
    pub hint: Option<&'static str>,
}

const fn row(stage: Stage, code: u16, meaning: Meaning, hint: &'static str) -> Row {
    Row { stage, code, meaning, hint: Some(hint) }
}

const fn plain(stage: Stage, code: u16, meaning: Meaning) -> Row {
    Row { stage, code, meaning, hint: None }
}

const LOGIN: &str =
    "Check the user and the password in `uri`, and that the user may log in from here.";
const VHOST: &str =
    "Check the virtual host at the end of `uri`; create it, or give the user permissions in it.";
const EXCHANGE: &str = "Declare the exchange, or correct `exchange`.";
const PERMISSION: &str = "Give the user write permission for the exchange.";
const LARGE: &str = "Set `max_message` to what the broker takes, or raise its `max_message_size`.";

/// The first row that fits is the one that counts.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    row(Stage::Connecting, 403,   Meaning::Refused, LOGIN),       // access-refused
    row(Stage::Connecting, 402,   Meaning::Refused, VHOST),       // invalid-path
    row(Stage::Connecting, 530,   Meaning::Refused, VHOST),       // not-allowed
    row(Stage::Publishing, 311,   Meaning::TooLarge, LARGE),      // content-too-large
    row(Stage::Publishing, 403,   Meaning::Refused, PERMISSION),  // access-refused
    row(Stage::Publishing, 404,   Meaning::Refused, EXCHANGE),    // not-found
    plain(Stage::Publishing, 406, Meaning::Refused),              // precondition-failed, but see below
    plain(Stage::Connecting, 320, Meaning::Busy),                 // connection-forced: shutting down,
    plain(Stage::Publishing, 320, Meaning::Busy),                 // or closed by an operator
    plain(Stage::Connecting, 506, Meaning::Busy),                 // resource-error
    plain(Stage::Publishing, 506, Meaning::Busy),
    plain(Stage::Connecting, 541, Meaning::Busy),                 // internal-error
    plain(Stage::Publishing, 541, Meaning::Busy),
];

/// What stood in the way of a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trouble {
    pub(crate) meaning: Meaning,
    /// What happened, as a fragment; never holds a message or a credential.
    pub(crate) reason: String,
    pub(crate) hint: Option<&'static str>,
    /// The most bytes of a message's body, where the broker told.
    pub(crate) largest: Option<usize>,
    /// What the broker answered.
    pub(crate) code: Option<u16>,
}

impl Trouble {
    /// The broker is silent or not there.
    pub(crate) fn busy(reason: impl Into<String>) -> Self {
        Self {
            meaning: Meaning::Busy,
            reason: reason.into(),
            hint: None,
            largest: None,
            code: None,
        }
    }

    pub(crate) fn cause(&self) -> Cause {
        match self.meaning {
            Meaning::Busy => Cause::Busy,
            Meaning::Refused | Meaning::TooLarge => Cause::Fault,
        }
    }

    /// Whether the broker refused one message and ended its channel for it. Which one is not said.
    pub(crate) fn is_refusal(&self) -> bool {
        self.meaning == Meaning::Refused && self.code.is_some()
    }

    pub(crate) fn into_sink_error(self) -> SinkError {
        SinkError {
            message: self.reason,
            hint: self.hint.map(str::to_owned),
            transient: self.meaning == Meaning::Busy,
            source: None,
        }
    }
}

/// What an error of the client means; `what` says what failed: "connecting to ...".
pub(crate) fn classify(stage: Stage, what: &str, error: &Error) -> Trouble {
    match error.kind() {
        ErrorKind::ProtocolError(said) => {
            answered(stage, what, said.get_id(), said.get_message().as_str())
        }
        ErrorKind::IOError(io) => unreachable(what, io),
        ErrorKind::MissingHeartbeatError => {
            Trouble::busy(format!("{what}: nothing was heard of the broker for two heartbeats"))
        }
        ErrorKind::ChannelsLimitReached => Trouble {
            meaning: Meaning::Refused,
            reason: format!("{what}: the broker allows no more channels on a connection"),
            hint: Some("Lower `concurrency`, or raise the broker's `channel_max`."),
            largest: None,
            code: None,
        },
        // What follows another error: the first one is what counts, and was met elsewhere.
        ErrorKind::InvalidChannelState(..)
        | ErrorKind::InvalidConnectionState(_)
        | ErrorKind::InvalidChannel(_) => Trouble::busy(format!("{what}: the connection was lost")),
        // The rest says nothing of messages, and nothing is known that would bring it about.
        other => Trouble::busy(format!("{what}: {}", Error::from(other.clone()))),
    }
}

/// What a code that the broker sent means.
pub(crate) fn answered(stage: Stage, what: &str, code: u16, text: &str) -> Trouble {
    let largest = largest(code, text);
    let row = TABLE.iter().find(|row| row.stage == stage && row.code == code);
    let meaning = match (largest, row) {
        (Some(_), _) => Meaning::TooLarge,
        (None, Some(row)) => row.meaning,
        // 5xx end the connection: neither side may know which message was meant.
        (None, None) => Meaning::Refused,
    };
    let hint = if largest.is_some() { Some(LARGE) } else { row.and_then(|row| row.hint) };
    let reason = format!("{what}: the broker answered {code} {text}");
    Trouble { meaning, reason, hint, largest, code: Some(code) }
}

/// `RabbitMQ`: `PRECONDITION_FAILED - message size 134217729 is larger than configured max size
/// 134217728`. It closes the channel then, without saying which message was meant.
fn largest(code: u16, text: &str) -> Option<usize> {
    let (_, after) = text.split_once("message size").filter(|_| code == 406 || code == 311)?;
    after.rsplit(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse().ok()
}

fn unreachable(what: &str, error: &std::io::Error) -> Trouble {
    let text = error.to_string();
    let certificate = text.contains("certificate") || text.contains("CertificateUnknown");
    let (meaning, hint) = match error.kind() {
        _ if certificate => (
            Meaning::Refused,
            Some("Check `ca_file` and the host in `uri`, and what the broker wants to be shown."),
        ),
        std::io::ErrorKind::InvalidData => {
            (Meaning::Busy, Some("Check that the port in `uri` is the one for its scheme."))
        }
        std::io::ErrorKind::ConnectionRefused => {
            (Meaning::Busy, Some("Check the host and the port in `uri`, and that the broker runs."))
        }
        _ => (Meaning::Busy, None),
    };
    Trouble { meaning, reason: format!("{what}: {text}"), hint, largest: None, code: None }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_code_means_what_its_row_says() {
        let table = [
            (Stage::Connecting, 403, "ACCESS_REFUSED", Meaning::Refused),
            (Stage::Connecting, 530, "NOT_ALLOWED - vhost x not found", Meaning::Refused),
            (Stage::Connecting, 320, "CONNECTION_FORCED", Meaning::Busy),
            (Stage::Publishing, 320, "CONNECTION_FORCED", Meaning::Busy),
            (Stage::Publishing, 403, "ACCESS_REFUSED", Meaning::Refused),
            (Stage::Publishing, 404, "NOT_FOUND", Meaning::Refused),
            (
                Stage::Publishing,
                406,
                "PRECONDITION_FAILED - message size 9 is larger than \
              configured max size 8",
                Meaning::TooLarge,
            ),
            (Stage::Publishing, 406, "PRECONDITION_FAILED - other", Meaning::Refused),
            (Stage::Publishing, 541, "INTERNAL_ERROR", Meaning::Busy),
            (Stage::Publishing, 504, "CHANNEL_ERROR", Meaning::Refused),
        ];
        for (stage, code, text, meaning) in table {
            let trouble = answered(stage, "publishing", code, text);
            assert_eq!(trouble.meaning, meaning, "{code} {text}");
            assert_eq!(trouble.reason, format!("publishing: the broker answered {code} {text}"));
        }
    }

    #[test]
    fn every_row_is_reached() {
        for (at, row) in TABLE.iter().enumerate() {
            let first = TABLE.iter().position(|r| (r.stage, r.code) == (row.stage, row.code));
            assert_eq!(first, Some(at), "{row:?}");
        }
    }

    #[test]
    fn the_largest_message_is_read_from_the_brokers_text() {
        let told = "PRECONDITION_FAILED - message size 134217729 is larger than configured max \
                    size 134217728";
        let table = [
            (406, told, Some(134_217_728)),
            (406, "PRECONDITION_FAILED - message size is odd", None),
            (406, "PRECONDITION_FAILED - 12 apples", None),
            (404, told, None),
        ];
        for (code, text, expected) in table {
            assert_eq!(largest(code, text), expected, "{text}");
        }
    }

    #[test]
    fn an_error_of_the_network_passes_and_one_of_certificates_does_not() {
        let table = [
            (io::ErrorKind::ConnectionRefused, "refused", Meaning::Busy),
            (io::ErrorKind::ConnectionReset, "reset", Meaning::Busy),
            (
                io::ErrorKind::InvalidData,
                "invalid peer certificate: UnknownIssuer",
                Meaning::Refused,
            ),
            (io::ErrorKind::InvalidData, "received corrupt message", Meaning::Busy),
        ];
        for (kind, text, meaning) in table {
            let error = Error::from(io::Error::new(kind, text));
            let trouble = classify(Stage::Connecting, "connecting", &error);
            assert_eq!((trouble.meaning, trouble.reason), (meaning, format!("connecting: {text}")));
        }
    }
}
