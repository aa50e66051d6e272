//! Changes, and settings for an endpoint on this machine.

use std::sync::Arc;

use cosmos_bridge_event::ContentMode;
use cosmos_bridge_http::{HttpOptions, Settings};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{Change, ContainerName, KeyValue, Operation, Origin, PartitionKey};
use serde_json::json;

pub(crate) fn change(id: &str) -> Change {
    let key = PartitionKey(vec![KeyValue::String("nord".to_owned())]);
    let container = ContainerName {
        account: "a".to_owned(),
        database: "d".to_owned(),
        container: "c".to_owned(),
        rid: "rid".to_owned(),
    };
    let document = json!({"id": id, "total": 3});
    Change {
        id: id.to_owned(),
        partition_key: key.clone(),
        operation: Operation::Upsert {
            document: Arc::new(document.as_object().unwrap().clone().into()),
        },
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(container),
            id: id.to_owned(),
            partition_key: key,
            lsn: Some(1),
            committed_at: Some(1_769_817_600),
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    }
}

pub(crate) fn settings(url: &str, mode: ContentMode) -> Settings {
    // Options refuse a secret in plain text; the whole URL is given to the settings.
    let plain = url.split('?').next().unwrap();
    let text = format!("url = {plain:?}\nrequest_timeout = \"5s\"");
    let mut options: HttpOptions = from_toml(&text).unwrap();
    options.events.cloudevents = Some(mode);
    let encoder = options.events.encoder("");
    Settings::new(url, options, encoder).unwrap()
}
