//! The configuration: one source; a copy, an exchange and a topic.

use crate::processes::Account;

pub(crate) const EXCHANGE: &str = "changes";
pub(crate) const SOURCE: &str = "shop/orders";
pub(crate) const TARGET: &str = "shop/copies";
/// The name of the sink with the outage.
pub(crate) const TOPIC_SINK: &str = "topic";

/// The values of a configuration.
pub(crate) struct Parts<'a> {
    pub(crate) source: &'a Account,
    pub(crate) target: &'a Account,
    pub(crate) servers: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) admin: u16,
    pub(crate) spool_mib: u64,
}

impl Parts<'_> {
    /// Every option at its default, except for the spool and `read_ahead`, which must not be larger, so that a run of
    /// seconds fills the spool; and for the mode, which makes the order visible.
    pub(crate) fn text(&self) -> String {
        let Self { source, target, servers, topic, admin, spool_mib } = self;
        format!(
            r#"[admin]
address = "127.0.0.1:{admin}"

[accounts.source]
endpoint = "{}"
key = {{ file = "source.key" }}

[accounts.target]
endpoint = "{}"
key = {{ file = "target.key" }}

[sinks.cosmos.archive]
account = "target"
database = "shop"
container = "copies"

[sinks.amqp.queue]
uri = {{ file = "uri" }}
exchange = "{EXCHANGE}"

[sinks.kafka.{TOPIC_SINK}]
servers = ["{servers}"]
topic = "{topic}"

[pipelines.orders]
read_ahead = "2 MiB"
spool = "{spool_mib} MiB"

[pipelines.orders.source]
account = "source"
database = "shop"
container = "orders"
mode = "all-versions-and-deletes"
start = "now"

[[pipelines.orders.routes]]
to = "archive"

[[pipelines.orders.routes]]
to = "queue"

[[pipelines.orders.routes]]
to = "{TOPIC_SINK}"
"#,
            source.endpoint, target.endpoint
        )
    }
}
