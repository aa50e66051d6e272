//! What an error of the client or the broker means: one table.

use std::borrow::Cow;

use cosmos_bridge_sink::Class;
use rdkafka::types::RDKafkaErrorCode as Code;

/// The errors, the class of each, and its text for logs. An error that is not listed is deferred as a
/// fault: no event is lost because of an unknown error.
///
/// Sources: <https://kafka.apache.org/protocol#protocol_error_codes> for codes of the broker, and
/// librdkafka 2.12.1, `rdkafka.h`, for those of the client (`Local` here). An error that an operator can
/// correct, such as a missing topic or permission, is deferred.
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
    (Code::SSL, MISSING, "the TLS connection failed"),
    (Code::PolicyViolation, MISSING, "a policy of the broker forbids it"),
    (Code::UnsupportedCompressionType, MISSING, "the broker does not support this compression"),
    (Code::ThrottlingQuotaExceeded, Class::THROTTLED, "the quota is used up"),
    (Code::AllBrokersDown, BUSY, "no broker can be reached"),
    (Code::BrokerTransportFailure, BUSY, "the connection to the broker is broken"),
    (Code::Resolve, BUSY, "the name of the broker cannot be resolved"),
    (Code::QueueFull, BUSY, "the queue of the client is full"),
    (Code::PurgeQueue, BUSY, "the client was replaced before it sent the message"),
    (Code::PurgeInflight, BUSY, "the client was replaced before the broker answered"),
    (Code::Fatal, BUSY, "the client has to be replaced"),
    (Code::GaplessGuarantee, BUSY, "an earlier message was refused; the client has to be replaced"),
    (Code::LeaderNotAvailable, BUSY, "a partition has no leader"),
    (Code::NotEnoughReplicas, BUSY, "too few replicas are in sync"),
    (Code::KafkaStorageError, BUSY, "the disk of the broker failed"),
];

/// Needs operator action; other topics are not affected.
const MISSING: Class = Class::FAULT;
const BUSY: Class = Class::BUSY;
const NO_TOPIC: &str = "the topic does not exist; create it";

/// The class of an error, and its text.
pub fn classify(code: Code) -> (Class, &'static str) {
    let row = TABLE.iter().find(|(known, ..)| *known == code);
    row.map_or((Class::FAULT, "the client failed"), |(_, class, why)| (*class, why))
}

/// The text of an error. An error that is not in the table adds its name.
pub(crate) fn describe(code: Code) -> Cow<'static, str> {
    let (_, why) = classify(code);
    let is_known = TABLE.iter().any(|(known, ..)| *known == code);
    if is_known { Cow::Borrowed(why) } else { Cow::Owned(format!("{why}: {code:?}")) }
}

/// True if the message was given up because the client was closed. The reason for that is another
/// error.
pub(crate) fn is_end(code: Code) -> bool {
    matches!(code, Code::PurgeQueue | Code::PurgeInflight | Code::Fatal)
}

/// True if the broker refuses every message for the topic, but accepts messages for other topics.
pub(crate) fn is_of_topic(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed | Code::PolicyViolation | Code::UnsupportedCompressionType
    )
}

/// Corrects the code of a client error. The client reports every failed handshake as an error of
/// authentication, even if the connection broke and no broker refused the credentials.
///
/// librdkafka 2.12.1, `rd_kafka_broker_handle_SaslHandshake` and `rd_kafka_handle_SaslAuthenticate`.
pub(crate) fn actual_code(code: Code, text: &str) -> Code {
    const BROKEN: [&str; 2] =
        ["failed: Local: Broker transport failure", "failed: Local: Timed out"];
    let is_broken = BROKEN.iter().any(|sign| text.contains(sign));
    if code == Code::Authentication && is_broken { Code::BrokerTransportFailure } else { code }
}

/// What to do about an error, if there is something to do.
pub(crate) fn hint(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition => {
            "Create the topic, or correct `topic`; the bridge does not create topics."
        }
        Code::TopicAuthorizationFailed => {
            "Allow the user WRITE and DESCRIBE on the topic, and DESCRIBE_CONFIGS so that the bridge can \
             read its largest message size."
        }
        Code::ClusterAuthorizationFailed => "Allow the user WRITE on the topic.",
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "Check `sasl.mechanism`, `sasl.username` and the secret; add `tls` if the broker requires \
             it."
        }
        Code::SSL => {
            "Set `tls.ca_file` to the CA of the broker's certificate, and use a server name that is in \
             the certificate."
        }
        Code::LeaderNotAvailable => {
            "Check the brokers: one is down, or its disk is full or failed. The broker serves its \
             partitions again after a restart with free disk space."
        }
        Code::Resolve => "Check the names in `servers`.",
        Code::AllBrokersDown | Code::BrokerTransportFailure | Code::OperationTimedOut => {
            "Check `servers`, that the broker runs, and whether it requires `tls` or `sasl`."
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Code, actual_code, describe};

    #[test]
    fn an_error_that_is_not_in_the_table_is_named() {
        for (code, expected) in [
            (Code::KafkaStorageError, "the disk of the broker failed"),
            (Code::OutOfOrderSequenceNumber, "the client failed: OutOfOrderSequenceNumber"),
        ] {
            assert_eq!(describe(code), expected);
        }
    }

    #[test]
    fn a_broken_handshake_is_not_a_refusal() {
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
            assert_eq!(actual_code(code, text), expected, "{text}");
        }
    }
}
