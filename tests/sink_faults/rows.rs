//! The table: the fault, the broker, the message and the expected behaviour.

use crate::amqp::AmqpFault;
use crate::http::HttpFault;
use crate::hubs::HubFault;
use crate::kafka::KafkaFault;
use crate::redis::RedisFault;

/// The broker with the fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Case {
    Amqp(AmqpFault),
    Kafka(KafkaFault),
    Hub(HubFault),
    Http(HttpFault),
    Redis(RedisFault),
}

/// The message and exit code of `check --live`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Check {
    Passes,
    /// Exit code, message, and a hint where there is one.
    Fails(i32, &'static str, &'static str),
}

/// The behaviour of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Does {
    /// Retries until the fault is gone, and logs the reason. Nothing is lost or out of order.
    Waits(&'static str),
    /// Stores the change as a dead letter with this cause, and continues.
    Letter(&'static str),
    /// Sends a reference in place of the document, and continues.
    Claim(&'static str),
}

pub(crate) struct Row {
    pub(crate) case: Case,
    /// The name in the documentation.
    pub(crate) fault: &'static str,
    pub(crate) check: Check,
    pub(crate) does: Does,
}

/// Addresses of brokers are `HOST:PORT`. In messages of the Kafka client a broker's id, or `bootstrap`
/// before it is known, is `ID`, and times are `N`.
#[expect(clippy::too_many_lines, reason = "a table reads best in one piece")]
pub(crate) fn table() -> Vec<Row> {
    let row = |case, fault, check, does| Row { case, fault, check, does };
    vec![
        row(
            Case::Amqp(AmqpFault::NoExchange),
            "AMQP: the exchange is missing",
            Check::Fails(
                66,
                "asking amqp://HOST:PORT (virtual host /) for exchange `changes`: the \
                 broker answered 404 NOT_FOUND - no exchange 'changes' in vhost '/'",
                "Declare the exchange, or correct `exchange`.",
            ),
            Does::Waits(
                "publishing to amqp://HOST:PORT (virtual host /): the broker answered 404 \
                 NOT_FOUND - no exchange 'changes' in vhost '/'",
            ),
        ),
        row(
            Case::Amqp(AmqpFault::Unroutable),
            "AMQP: no queue takes it",
            Check::Passes,
            Does::Letter(
                "no queue is bound for exchange `changes` and the routing key of the change (312 NO_ROUTE)",
            ),
        ),
        row(
            Case::Amqp(AmqpFault::UnroutableWaits),
            "AMQP: no queue takes it, `unroutable = \"wait\"`",
            Check::Passes,
            Does::Waits(
                "no queue is bound for exchange `changes` and the routing key of the change (312 NO_ROUTE)",
            ),
        ),
        row(
            Case::Amqp(AmqpFault::WrongPassword),
            "AMQP: the password is wrong",
            Check::Fails(
                77,
                "connecting to amqp://HOST:PORT (virtual host /) as user writer: the \
                 broker answered 403 ACCESS_REFUSED - Login was refused using \
                 authentication mechanism PLAIN. For details see the broker logfile.",
                "Check the user and the password in `uri`, and that the user may log in \
                 from here.",
            ),
            Does::Waits(
                "connecting to amqp://HOST:PORT (virtual host /) as user writer: the \
                 broker answered 403 ACCESS_REFUSED - Login was refused using \
                 authentication mechanism PLAIN. For details see the broker logfile.",
            ),
        ),
        row(
            Case::Amqp(AmqpFault::NoPermission),
            "AMQP: the user may not write",
            Check::Fails(
                77,
                "asking amqp://HOST:PORT (virtual host /) for exchange `changes`: the \
                 broker answered 403 ACCESS_REFUSED - access to exchange 'changes' in \
                 vhost '/' refused for user 'writer'",
                "Give the user write permission for the exchange.",
            ),
            Does::Waits(
                "publishing to amqp://HOST:PORT (virtual host /): the broker answered 403 \
                 ACCESS_REFUSED - access to exchange 'changes' in vhost '/' refused for \
                 user 'writer'",
            ),
        ),
        row(
            Case::Amqp(AmqpFault::FullDisk),
            "AMQP: the broker's disk is full",
            Check::Fails(
                69,
                "amqp://HOST:PORT (virtual host /) accepts no messages: low on disk",
                "",
            ),
            Does::Waits("amqp://HOST:PORT (virtual host /) accepts no messages: low on disk"),
        ),
        row(
            Case::Amqp(AmqpFault::TooLarge),
            "AMQP: larger than `max_message`",
            Check::Passes,
            Does::Letter("the event has 200349 bytes; the sink accepts 100000"),
        ),
        row(
            Case::Kafka(KafkaFault::NoTopic),
            "Kafka: the topic is missing",
            Check::Fails(
                66,
                "topic `orders`: the topic does not exist; create it",
                "Create the topic, or correct `topic`; the bridge does not create topics.",
            ),
            Does::Waits("topic `orders`: the topic does not exist; create it"),
        ),
        row(
            Case::Kafka(KafkaFault::WrongPassword),
            "Kafka: the password is wrong",
            Check::Fails(
                77,
                "no usable broker: sasl_plaintext://HOST:PORT/ID: SASL \
                 authentication error: Authentication failed during authentication due to \
                 invalid credentials with SASL mechanism SCRAM-SHA-256 (after N in state \
                 AUTH_REQ)",
                "Check `sasl.mechanism`, `sasl.username` and the secret; add `tls` if the broker \
                 requires it.",
            ),
            Does::Waits(
                "not acknowledged within 2s: sasl_plaintext://HOST:PORT/ID: SASL \
                 authentication error: Authentication failed during authentication due to \
                 invalid credentials with SASL mechanism SCRAM-SHA-256 (after N in state \
                 AUTH_REQ)",
            ),
        ),
        row(
            Case::Kafka(KafkaFault::NoRight),
            "Kafka: the user may not write to the topic",
            Check::Fails(
                77,
                "topic `orders`: the user may not write to the topic",
                "Allow the user WRITE and DESCRIBE on the topic, and DESCRIBE_CONFIGS so \
                 that the bridge can read its largest message size.",
            ),
            Does::Waits("topic `orders`: the user may not write to the topic"),
        ),
        row(
            Case::Kafka(KafkaFault::FullDisk),
            "Kafka: the broker's only disk is full, it ends",
            Check::Fails(
                69,
                "no usable broker: HOST:PORT/ID: Connect to ipv4#HOST:PORT \
                 failed: Connection refused (after N in state CONNECT)",
                "Check `servers`, that the broker runs, and whether it requires `tls` or \
                 `sasl`.",
            ),
            Does::Waits(
                "not acknowledged within 2s: HOST:PORT/ID: Connect to ipv4#HOST:PORT \
                 failed: Connection refused (after N in state CONNECT)",
            ),
        ),
        row(
            Case::Kafka(KafkaFault::OneFullDisk),
            "Kafka: one of the broker's disks is full",
            Check::Fails(
                69,
                "topic `orders`: no leader for partition 0; its broker is down, or the \
                 disk of the broker is full or failed",
                "Check the brokers: one is down, or its disk is full or failed. The broker \
                 serves its partitions again after a restart with free disk space.",
            ),
            Does::Waits(
                "not acknowledged within 2s: topic `orders`: no leader for partition 0; \
                 its broker is down, or the disk of the broker is full or failed",
            ),
        ),
        row(
            Case::Kafka(KafkaFault::TooLarge),
            "Kafka: larger than the topic takes",
            Check::Passes,
            Does::Letter("the event has 300349 bytes; the sink accepts 199355"),
        ),
        row(
            Case::Kafka(KafkaFault::TooLargeClaim),
            "Kafka: larger than the topic takes, `oversize = \"claim-check\"`",
            Check::Passes,
            Does::Claim("cosmosdb://source/shop/orders/%5B%22n%22%5D/bad"),
        ),
        row(
            Case::Hub(HubFault::WrongKey),
            "Event Hubs: the key is wrong",
            Check::Fails(
                77,
                "the token was not accepted: the token is wrong or does not grant access (401: \
                 InvalidSignature: The token has an invalid signature.)",
                "Check the connection string and the name of the hub; the key needs the \
                 right to send.",
            ),
            Does::Waits(
                "the token was not accepted: the token is wrong or does not grant access (401: \
                 InvalidSignature: The token has an invalid signature.)",
            ),
        ),
        row(
            Case::Hub(HubFault::NoHub),
            "Event Hubs: the hub is missing",
            Check::Fails(
                66,
                "the hub cannot be read: the hub does not exist (404: The messaging entity \
                 could not be found.)",
                "Check the connection string and the name of the hub; the key needs the \
                 right to send.",
            ),
            Does::Waits(
                "the hub cannot be read: the hub does not exist (404: The messaging entity \
                 could not be found.)",
            ),
        ),
        row(
            Case::Hub(HubFault::TooLarge),
            "Event Hubs: 2 MB into a hub that takes 1 MB",
            Check::Passes,
            Does::Letter("the event has 2000349 bytes; the sink accepts 1047936"),
        ),
        row(
            Case::Http(HttpFault::Unauthorized),
            "HTTP: 401",
            Check::Fails(
                77,
                "the endpoint answered 401: the secret is missing or wrong",
                "Check the bearer token or the secret header.",
            ),
            Does::Waits("the endpoint answered 401: the secret is missing or wrong"),
        ),
        row(
            Case::Http(HttpFault::TooLarge),
            "HTTP: larger than `max_body`",
            Check::Passes,
            Does::Letter("the event has 200349 bytes; the sink accepts 100000"),
        ),
        row(
            Case::Redis(RedisFault::OutOfMemory),
            "Redis: the server is out of memory",
            Check::Fails(
                69,
                "checking redis://HOST:PORT/0: the server is out of memory (OOM command not \
                 allowed when used memory > 'maxmemory'.)",
                "Raise `maxmemory`, remove keys, or choose an eviction policy.",
            ),
            Does::Waits(
                "writing to redis://HOST:PORT/0: the server is out of memory (OOM command not \
                 allowed when used memory > 'maxmemory'.)",
            ),
        ),
        row(
            Case::Redis(RedisFault::ReadOnly),
            "Redis: the server is a read-only replica",
            Check::Fails(
                69,
                "checking redis://HOST:PORT/0: the server is a read-only replica (READONLY You \
                 can't write against a read only replica.)",
                "Write the address of the primary to `servers`.",
            ),
            Does::Waits(
                "writing to redis://HOST:PORT/0: the server is a read-only replica (READONLY You \
                 can't write against a read only replica.)",
            ),
        ),
        row(
            Case::Redis(RedisFault::TooFewReplicas),
            "Redis: fewer replicas than `min-replicas-to-write`",
            Check::Fails(
                69,
                "checking redis://HOST:PORT/0: the server has too few replicas to accept writes \
                 (NOREPLICAS Not enough good replicas to write.)",
                "Check the replicas, or lower `min-replicas-to-write`.",
            ),
            Does::Waits(
                "writing to redis://HOST:PORT/0: the server has too few replicas to accept writes \
                 (NOREPLICAS Not enough good replicas to write.)",
            ),
        ),
        row(
            Case::Redis(RedisFault::WrongPassword),
            "Redis: the password is wrong",
            Check::Fails(
                77,
                "connecting to redis://HOST:PORT/0: the server refused user name or password \
                 (WRONGPASS invalid username-password pair or user is disabled.)",
                "Check `username` and `password`.",
            ),
            Does::Waits(
                "connecting to redis://HOST:PORT/0: the server refused user name or password \
                 (WRONGPASS invalid username-password pair or user is disabled.)",
            ),
        ),
        row(
            Case::Redis(RedisFault::NoPermission),
            "Redis: the user may not use the command",
            Check::Fails(
                77,
                "checking redis://HOST:PORT/0: the user lacks a permission (NOPERM this user has \
                 no permissions to run the 'xadd' command)",
                "Give the ACL user the commands and the keys that sinks/redis/README.md lists.",
            ),
            Does::Waits(
                "writing to redis://HOST:PORT/0: the user lacks a permission (ERR The user \
                 executing the script can't run this command or subcommand)",
            ),
        ),
        row(
            Case::Redis(RedisFault::TooLarge),
            "Redis: larger than `max_message`",
            Check::Passes,
            Does::Letter("the event has 200349 bytes; the sink accepts 100000"),
        ),
    ]
}
