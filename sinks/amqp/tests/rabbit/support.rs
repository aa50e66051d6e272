//! A sink for a real broker, and changes to write.

use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_amqp::{AmqpSink, Broker, Settings, Tls, Unroutable};
use cosmos_bridge_event::{ContentMode, Data, Encoder, Format, Oversize};
use cosmos_bridge_sink::{
    Change, ContainerName, Grouping, KeyValue, Limits, Operation, Origin, PartitionKey, Template,
};
use serde_json::{Value, json};

/// The default settings, with shorter timeouts.
pub(crate) fn settings(uri: &str, exchange: &str) -> Settings {
    let format = Format { data: Data::Document, cloud_events: Some(ContentMode::Binary) };
    Settings {
        broker: Broker::new(uri, &Tls::default()).unwrap(),
        exchange: Template::parse(exchange).unwrap(),
        routing_key: Template::parse("{database}.{container}.{operation}").unwrap(),
        headers: Vec::new(),
        encoder: Encoder::new(format, Oversize::DeadLetter),
        max_message: 16 << 20,
        mandatory: true,
        unroutable: Unroutable::DeadLetter,
        persistent: true,
        heartbeat: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(5),
        confirm_timeout: Duration::from_secs(20),
        limits: Limits { grouping: Grouping::Any, changes: 500, bytes: 8 << 20, concurrency: 4 },
    }
}

pub(crate) fn sink(settings: Settings) -> AmqpSink {
    AmqpSink::new("events", settings)
}

/// An upsert of `shop/orders`; its version is its log sequence number.
pub(crate) fn upsert(id: &str, version: i64) -> Change {
    with(id, version, json!({"id": id, "version": version}))
}

pub(crate) fn with(id: &str, version: i64, document: Value) -> Change {
    let Value::Object(document) = document else { panic!("an object") };
    let container = ContainerName {
        account: "source".to_owned(),
        database: "shop".to_owned(),
        container: "orders".to_owned(),
    };
    let key = PartitionKey(vec![KeyValue::String(id.to_owned())]);
    Change {
        id: id.to_owned(),
        partition_key: key.clone(),
        operation: Operation::Upsert { document: Arc::new(document) },
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(container),
            id: id.to_owned(),
            partition_key: key,
            lsn: Some(version),
            committed_at: Some(1_769_817_600),
            nth: 0,
            trace: None,
        }),
    }
}

pub(crate) fn delete(id: &str, version: i64) -> Change {
    Change { operation: Operation::Delete { expired: false }, ..upsert(id, version) }
}
