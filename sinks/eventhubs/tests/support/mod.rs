//! Changes, and sinks for the local test server.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_event::{ContentMode, Data, Encoder, Format, Oversize};
use cosmos_bridge_eventhubs::{Access, ConnectionString, EventHubsSink, Partitioning, Settings};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{
    Change, ContainerName, KeyValue, Operation, Origin, PartitionKey, Template,
};
use serde_json::json;

pub(crate) const HUB: &str = "orders";

pub(crate) fn encoder(oversize: Oversize) -> Encoder {
    let format = Format { data: Data::Document, cloud_events: Some(ContentMode::Binary) };
    Encoder::new(format, oversize)
}

/// The timeout is longer than an answer of the test server takes on a busy machine.
pub(crate) fn settings(connection: &str) -> Settings {
    let connection = ConnectionString::read(connection).unwrap();
    with_access(Access::ConnectionString(connection))
}

pub(crate) fn with_access(access: Access) -> Settings {
    let text = "connection = { env = \"CONNECTION\" }\nrequest_timeout = \"20s\"";
    let encoder = encoder(Oversize::DeadLetter);
    Settings { options: from_toml(text).unwrap(), access, hub: HUB.to_owned(), encoder }
}

pub(crate) fn sink(connection: &str) -> EventHubsSink {
    EventHubsSink::new("hub", settings(connection))
}

/// The timeout of a sink that gets no answer in a test.
pub(crate) const SHORT: Duration = Duration::from_secs(5);

pub(crate) fn impatient_sink(connection: &str) -> EventHubsSink {
    let mut settings = settings(connection);
    settings.options.request_timeout = SHORT;
    EventHubsSink::new("hub", settings)
}

pub(crate) fn set_key(settings: &mut Settings, template: &str, by_service: bool) {
    settings.options.key = Template::read(template).unwrap();
    settings.options.partitioning =
        if by_service { Partitioning::Service } else { Partitioning::Client };
}

/// A version of a document, with a text of `bytes` bytes.
pub(crate) fn change_of(key: &str, id: &str, version: i64, bytes: usize) -> Change {
    let partition_key = PartitionKey(vec![KeyValue::String(key.to_owned())]);
    let document = json!({
        "id": id, "key": key, "version": version, "note": "n".repeat(bytes),
    });
    let container = ContainerName {
        account: "source".to_owned(),
        database: "shop".to_owned(),
        container: "orders".to_owned(),
        rid: "rid".to_owned(),
    };
    Change {
        id: id.to_owned(),
        partition_key: partition_key.clone(),
        operation: Operation::Upsert {
            document: Arc::new(document.as_object().unwrap().clone().into()),
        },
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(container),
            id: id.to_owned(),
            partition_key,
            lsn: Some(version),
            committed_at: Some(1_769_817_600 + version),
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    }
}

pub(crate) fn change(key: &str, version: i64) -> Change {
    change_of(key, &format!("d-{key}"), version, 10)
}
