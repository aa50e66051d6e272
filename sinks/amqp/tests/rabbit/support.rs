//! A sink for a real broker, and changes to write.

use std::sync::Arc;

use cosmos_bridge_amqp::{AmqpOptions, AmqpSink, Broker, Settings, Tls};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{Change, ContainerName, KeyValue, Operation, Origin, PartitionKey};
use serde_json::{Value, json};

/// The default settings, with shorter timeouts.
pub(crate) fn settings(uri: &str, exchange: &str) -> Settings {
    let text = format!(
        "uri = {{ env = \"URI\" }}\nexchange = {exchange:?}\nheartbeat = \"1s\"
        connect_timeout = \"5s\"\nconfirm_timeout = \"20s\""
    );
    let options: AmqpOptions = from_toml(&text).unwrap();
    let broker = Broker::new(uri, &Tls::default()).unwrap();
    Settings { encoder: options.events.encoder(""), options, broker }
}

pub(crate) fn sink(settings: Settings) -> AmqpSink {
    AmqpSink::new("events", settings)
}

/// An upsert of `shop/orders`; its version is its log sequence number.
pub(crate) fn upsert(id: &str, version: i64) -> Change {
    with(id, version, json!({"id": id, "version": version}))
}

/// A container of the database `shop`.
pub(crate) fn container(name: &str) -> ContainerName {
    ContainerName {
        account: "source".to_owned(),
        database: "shop".to_owned(),
        container: name.to_owned(),
        rid: "rid".to_owned(),
    }
}

pub(crate) fn with(id: &str, version: i64, document: Value) -> Change {
    let Value::Object(document) = document else { panic!("an object") };
    let key = PartitionKey(vec![KeyValue::String(id.to_owned())]);
    Change {
        id: id.to_owned(),
        partition_key: key.clone(),
        operation: Operation::Upsert { document: Arc::new(document.into()) },
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(container("orders")),
            id: id.to_owned(),
            partition_key: key,
            lsn: Some(version),
            committed_at: Some(1_769_817_600),
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    }
}

pub(crate) fn delete(id: &str, version: i64) -> Change {
    Change { operation: Operation::Delete { expired: false }, ..upsert(id, version) }
}
