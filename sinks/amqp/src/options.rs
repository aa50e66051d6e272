//! `[sinks.amqp.NAME]`.

use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_event::{EventOptions, is_attribute};
use cosmos_bridge_options::{
    Kind as _, SecretError, SecretRef, Value, boolean, certificates, checked_secret, choice,
    duration, if_readable, integer, map, options, report_secret, secret, size, table_like,
    template, template_or_empty,
};
use cosmos_bridge_sink::Template;

use crate::broker::{check_key, check_uri};
use crate::short_string::{EXCHANGE, ROUTING_KEY};

/// The prefix of attribute names in binary mode.
pub(crate) const PREFIX: &str = "ce-";

/// Headers that `RabbitMQ` reads as more routing keys. It requires lists there.
///
/// <https://www.rabbitmq.com/docs/sender-selected>
pub const RESERVED_HEADERS: [&str; 2] = ["CC", "BCC"];

options! {
    /// An exchange of RabbitMQ, or of another broker of AMQP 0-9-1.
    pub struct AmqpOptions {
        /// amqp://user:password@host:port/vhost, or amqps:// with encryption.
        uri: SecretRef = required(
            "Write { env = \"VARIABLE\" } or { file = \"PATH\" }: it holds a password."
        ), secret();
        /// Authorities to trust in addition to the system's, in PEM form.
        ca_file: Option<PathBuf> = optional, certificates(), example "authority.pem";
        /// The bridge's own certificate, in PEM form; its key is a secret.
        client: Option<ClientCertificate> = optional, table_like("a certificate and its key", CLIENT),
            example { certificate = "bridge.pem", key = { file = "bridge.key" } };
        /// A text with fields {/customer/region} and properties {id}, {partition_key}, {operation},
        /// {account}, {database} and {container}. "" is the default exchange, whose routing keys are names
        /// of queues.
        exchange: Template = required(
            "Write the name of the exchange; \"\" is the default exchange."
        ), template_or_empty().check(|value, exchange| EXCHANGE.holds(value, exchange));
        /// A text like that of `exchange`.
        // Every container with its own key, and deletes apart: what topic exchanges are bound by.
        routing_key: Template = "{database}.{container}.{operation}",
            template().check(|value, key| ROUTING_KEY.holds(value, key));
        /// Headers in addition to those of the event.
        headers: Vec<(String, Template)> = {}, map("a table of headers", template(), is_header),
            example { tenant = "{/tenant}" };
        /// Messages that no queue accepts come back, to be kept as dead letters, or to "wait" until a
        /// queue is bound. Without it the broker drops them.
        mandatory: bool = true, boolean();
        /// What happens to a message that no queue accepts: "dead-letter" or "wait".
        unroutable: Unroutable = "dead-letter", choice(vec![
            ("dead-letter", Unroutable::DeadLetter),
            ("wait", Unroutable::Wait),
        ]);
        /// Messages survive a restart of the broker in durable queues.
        persistent: bool = true, boolean();
        /// Bytes of one message.
        // The largest document with its previous image, and RabbitMQ's default limit since 4.0.
        max_message: usize = "16 MiB", size(1024..=128 * 1024 * 1024);
        /// Messages in one write.
        // Brokers confirm many messages together; more than a thousand gains nothing.
        batch: usize = 500, integer(1..=10_000);
        /// Writes in flight.
        // One write is encoded while another is confirmed. Each is a channel, and brokers allow 2,047 on a
        // connection.
        concurrency: usize = 4, integer(1..=100);
        /// A broker that sends nothing for twice this time is disconnected.
        // A silent broker is found within 20 s; more often would be traffic for nothing. The protocol
        // counts whole seconds.
        heartbeat: Duration = "10s", duration(Duration::from_secs(1)..=Duration::from_mins(10));
        /// Longest wait for a connection.
        // Three handshakes with a busy broker in a far region.
        connect_timeout: Duration = "10s", duration(TIMEOUTS);
        /// Longest wait for the confirmations of one write.
        confirm_timeout: Duration = "30s", duration(TIMEOUTS);
        events: EventOptions = flatten;
    }
    rules(table) {
        if let (Some(uri), Some(at)) = (&uri, table.get("uri")) {
            let has_certificates =
                table.get("ca_file").is_some() || table.get("client").is_some();
            if let Some(Err(problem)) = if_readable(uri, |text| check_uri(text, has_certificates)) {
                report_secret(&at, &problem, problem.remedy().1);
            }
        }
        if let (Some(false), Some(unroutable)) = (mandatory, table.get("unroutable")) {
            let message = "without `mandatory` the broker does not return what no queue accepts";
            unroutable.problem(message, "Leave one of the two out.");
        }
    }
}

options! {
    /// The bridge's own certificate and its key, in PEM form.
    pub struct ClientCertificate {
        /// The certificate, with those that lead to its authority.
        certificate: PathBuf = required(CLIENT), certificates();
        /// Its key.
        key: SecretRef = required(CLIENT), checked_secret(is_key);
    }
}

fn is_key(pem: &str) -> Result<(), SecretError> {
    check_key(pem).map_err(|problem| SecretError::unfit(&problem, problem.remedy().1))
}

const CLIENT: &str = "Write { certificate = \"PATH\", key = { file = \"PATH\" } }.";

const TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_mins(10);

/// What happens to a message that no queue accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unroutable {
    /// The change is kept as a dead letter.
    DeadLetter,
    /// The change is published again until a queue is bound.
    Wait,
}

fn is_header(value: &Value<'_>, name: &str) -> bool {
    if name.strip_prefix(PREFIX).is_some_and(is_attribute) {
        let hint = "Use another name: this one is an attribute of the event.";
        value.problem_unshown("the sink writes this header itself", hint);
        return false;
    }
    let is_allowed = !name.is_empty() && name.len() <= 255 && !RESERVED_HEADERS.contains(&name);
    if !is_allowed {
        let hint = "A header has a name of at most 255 bytes, and not CC or BCC, which route.";
        value.problem_unshown("invalid name of a header", hint);
    }
    is_allowed
}
