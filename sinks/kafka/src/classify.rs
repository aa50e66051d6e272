//! What an error of the client or the broker means: one table.

use std::borrow::Cow;

use cosmos_bridge_sink::Cause;
use rdkafka::types::RDKafkaErrorCode as Code;

/// What is to be done after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The broker will never take this message.
    Rejected,
    /// The message, or the batch that it was in, is larger than the broker takes.
    TooLarge,
    /// Another time.
    Deferred(Cause),
}

/// Errors and what they mean. What is not here is deferred as a fault: events are not given up for an
/// error that nobody has thought of.
///
/// Sources: <https://kafka.apache.org/protocol#protocol_error_codes> for codes of the broker, and
/// librdkafka 2.12.1, `rdkafka.h`, for those of the client (`Local` here). What an operator can mend,
/// such as a missing topic or right, waits for that.
pub const TABLE: [(Code, Class, &str); 25] = [
    (Code::MessageSizeTooLarge, Class::TooLarge, "larger than the topic's max.message.bytes"),
    (Code::InvalidTopic, Class::Rejected, "the topic's name is not allowed"),
    (Code::InvalidRecord, Class::Rejected, "the broker refuses the record"),
    (Code::UnknownTopic, MISSING, NO_TOPIC),
    (Code::UnknownTopicOrPartition, MISSING, NO_TOPIC),
    (Code::UnknownPartition, MISSING, "the topic has fewer partitions than before"),
    (Code::TopicAuthorizationFailed, MISSING, "the user may not write to the topic"),
    (Code::ClusterAuthorizationFailed, MISSING, "the user may not write as an idempotent producer"),
    (Code::Authentication, MISSING, "the broker does not accept the credentials"),
    (Code::SaslAuthenticationFailed, MISSING, "the broker does not accept the credentials"),
    (Code::SSL, MISSING, "no encrypted connection can be made"),
    (Code::PolicyViolation, MISSING, "a policy of the broker forbids it"),
    (Code::UnsupportedCompressionType, MISSING, "the broker does not take this compression"),
    (Code::ThrottlingQuotaExceeded, Class::Deferred(Cause::Throttled), "the quota is used up"),
    (Code::AllBrokersDown, BUSY, "no broker can be reached"),
    (Code::BrokerTransportFailure, BUSY, "the connection to the broker is broken"),
    (Code::Resolve, BUSY, "the broker's name cannot be found"),
    (Code::QueueFull, BUSY, "the client holds as many messages as it may"),
    (Code::PurgeQueue, BUSY, "the client was replaced before it sent the message"),
    (Code::PurgeInflight, BUSY, "the client was replaced before the broker answered"),
    (Code::Fatal, BUSY, "the client has to be replaced"),
    (Code::GaplessGuarantee, BUSY, "an earlier message was refused; the client has to be replaced"),
    (Code::LeaderNotAvailable, BUSY, "a partition has no leader"),
    (Code::NotEnoughReplicas, BUSY, "too few replicas are in sync"),
    (Code::KafkaStorageError, BUSY, "the broker's disk fails"),
];

/// Somebody has to do something; other topics may go on.
const MISSING: Class = Class::Deferred(Cause::Fault);
/// The broker has trouble of its own.
const BUSY: Class = Class::Deferred(Cause::Busy);
const NO_TOPIC: &str = "the broker has no such topic; create it";

/// The class of an error, and what to say about it.
pub fn classify(code: Code) -> (Class, &'static str) {
    let row = TABLE.iter().find(|(known, ..)| *known == code);
    row.map_or((Class::Deferred(Cause::Fault), "the client failed"), |(_, class, why)| {
        (*class, why)
    })
}

/// What to say about an error. One that is not in the table has nothing but its name.
pub(crate) fn told(code: Code) -> Cow<'static, str> {
    let (_, why) = classify(code);
    let is_known = TABLE.iter().any(|(known, ..)| *known == code);
    if is_known { Cow::Borrowed(why) } else { Cow::Owned(format!("{why}: {code:?}")) }
}

/// Whether a message was given up because the client came to an end; what ended it is another error.
pub(crate) fn is_end(code: Code) -> bool {
    matches!(code, Code::PurgeQueue | Code::PurgeInflight | Code::Fatal)
}

/// Whether the broker refuses whatever is written to the topic, and takes what is for others.
pub(crate) fn is_of_topic(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed | Code::PolicyViolation | Code::UnsupportedCompressionType
    )
}

/// What an error that the client tells means. It calls whatever ends a handshake an error of
/// authentication, a connection that breaks meanwhile too; then nobody has refused anything.
///
/// librdkafka 2.12.1, `rd_kafka_broker_handle_SaslHandshake` and `rd_kafka_handle_SaslAuthenticate`.
pub(crate) fn meant(code: Code, text: &str) -> Code {
    const BROKEN: [&str; 2] =
        ["failed: Local: Broker transport failure", "failed: Local: Timed out"];
    let is_broken = BROKEN.iter().any(|sign| text.contains(sign));
    if code == Code::Authentication && is_broken { Code::BrokerTransportFailure } else { code }
}

/// A sentence that says what to do, where there is something.
pub(crate) fn hint(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition => {
            "Create the topic, or correct `topic`; the bridge creates none."
        }
        Code::TopicAuthorizationFailed => {
            "Allow the user WRITE and DESCRIBE on the topic, and DESCRIBE_CONFIGS so that its largest \
             message is known."
        }
        Code::ClusterAuthorizationFailed => "Allow the user WRITE on the topic.",
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "Check `sasl.mechanism`, `sasl.username` and the secret; with `tls` where the broker asks \
             for it."
        }
        Code::SSL => {
            "Name the authority of the broker's certificate in `tls.ca_file`, and use a name for the \
             server that is in the certificate."
        }
        Code::LeaderNotAvailable => {
            "Look at the brokers: one is away, or its disk is full or fails. It takes its partitions \
             up again when it is started with room."
        }
        Code::Resolve => "Check the names in `servers`.",
        Code::AllBrokersDown | Code::BrokerTransportFailure | Code::OperationTimedOut => {
            "Check `servers`, that the broker runs, and whether it asks for `tls` or `sasl`."
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Code, meant, told};

    #[test]
    fn what_is_not_in_the_table_is_called_by_its_name() {
        for (code, expected) in [
            (Code::KafkaStorageError, "the broker's disk fails"),
            (Code::OutOfOrderSequenceNumber, "the client failed: OutOfOrderSequenceNumber"),
        ] {
            assert_eq!(told(code), expected);
        }
    }

    #[test]
    fn a_handshake_that_breaks_off_is_no_refusal() {
        let refused = "SASL authentication error: {\"status\":\"invalid_token\"} (after 8ms in state AUTH_REQ)";
        let of_mechanism = "SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: \
                            broker's supported mechanisms: SCRAM-SHA-256 (after 1ms in state AUTH_HANDSHAKE)";
        let broken = "SASL OAUTHBEARER mechanism handshake failed: Local: Broker transport failure: \
                      broker's supported mechanisms: (n/a) (after 0ms in state DOWN)";
        let late =
            "SaslAuthenticateRequest failed: Local: Timed out (after 60000ms in state AUTH_REQ)";
        for (code, text, expected) in [
            (Code::Authentication, refused, Code::Authentication),
            (Code::Authentication, of_mechanism, Code::Authentication),
            (Code::Authentication, broken, Code::BrokerTransportFailure),
            (Code::Authentication, late, Code::BrokerTransportFailure),
            (Code::SSL, broken, Code::SSL),
        ] {
            assert_eq!(meant(code, text), expected, "{text}");
        }
    }
}
