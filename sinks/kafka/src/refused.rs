//! Options of the client that would break what the sink guarantees.

/// Options that a configuration may not pass through, and why.
///
/// <https://github.com/confluentinc/librdkafka/blob/v2.12.1/CONFIGURATION.md>
pub const REFUSED: [(&str, &str); 36] = [
    ("acks", ALL),
    ("request.required.acks", ALL),
    ("enable.idempotence", ORDER),
    ("enable.gapless.guarantee", ORDER),
    ("max.in.flight", ORDER),
    ("max.in.flight.requests.per.connection", ORDER),
    ("queuing.strategy", ORDER),
    ("delivery.report.only.error", "without its report no event ever counts as delivered"),
    ("transactional.id", "the sink uses no transactions"),
    ("retries", RETRY),
    ("message.send.max.retries", RETRY),
    ("message.timeout.ms", RETRY),
    ("delivery.timeout.ms", RETRY),
    ("bootstrap.servers", "write `servers`"),
    ("metadata.broker.list", "write `servers`"),
    ("compression.type", "write `compression`"),
    ("compression.codec", "write `compression`"),
    ("linger.ms", "write `linger`"),
    ("queue.buffering.max.ms", "write `linger`"),
    ("message.max.bytes", "write `max_message`"),
    ("security.protocol", "write `tls` and `sasl`"),
    ("ssl.ca.location", "write `tls.ca_file`"),
    ("ssl.certificate.location", "write `tls.certificate_file`"),
    ("ssl.key.location", "write `tls.key_file`"),
    ("sasl.mechanism", "write `sasl.mechanism`"),
    ("sasl.mechanisms", "write `sasl.mechanism`"),
    ("sasl.username", "write `sasl.username`"),
    ("sasl.password", SECRET),
    ("sasl.oauthbearer.client.secret", SECRET),
    ("sasl.oauthbearer.client.credentials.client.secret", SECRET),
    ("sasl.oauthbearer.assertion.private.key.passphrase", SECRET),
    ("sasl.oauthbearer.assertion.private.key.pem", SECRET),
    ("ssl.key.password", SECRET),
    ("ssl.key.pem", SECRET),
    ("ssl.keystore.password", SECRET),
    ("sasl.oauthbearer.config", SECRET),
];

const ALL: &str = "an event counts as safe only when every in-sync replica has it";
pub(crate) const ORDER: &str = "events of one document would no longer be in order";
pub(crate) const RETRY: &str =
    "a message that is given up between two others breaks the order of a document";
const SECRET: &str = "it is a secret, which the configuration only names";

/// Why an option may not be passed through; `None` if it may.
pub fn refused(option: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(name, _)| *name == option).map(|(_, why)| *why)
}

/// As [`refused`], where it depends on the value.
pub(crate) fn refused_value(option: &str, value: &str) -> Option<&'static str> {
    // All others send a key to one partition.
    (option == "partitioner" && value == "random").then_some(ORDER)
}
