//! Changes for tests.

use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::{Change, ContainerName, KeyValue, Operation, Origin, PartitionKey};
use serde_json::json;

use crate::{CosmosOptions, OnCollision, Strategy, Ttl};

pub(crate) fn options() -> CosmosOptions {
    CosmosOptions {
        write: Strategy::Upsert,
        concurrency: 1,
        batch_changes: 100,
        batch_bytes: 1_000_000,
        bulk: false,
        on_collision: OnCollision::Newest,
        late_write_limit: Duration::from_secs(20),
        source_field: None,
        ttl: Ttl::Remaining,
        // Few enough that documents are forgotten.
        remembered_documents: 3,
    }
}

/// Writes version `version` of a document. All documents have one partition key.
pub(crate) fn upsert(id: &str, version: u32) -> Change {
    let document = json!({"id": id, "k": "key", "version": version});
    let document = document.as_object().cloned().unwrap_or_default();
    change(id, version, Operation::Upsert { document: Arc::new(document.into()) })
}

pub(crate) fn delete(id: &str, version: u32) -> Change {
    change(id, version, Operation::Delete { expired: false })
}

/// Writes a document of the source to the place of `target`.
pub(crate) fn mapped(source: &str, version: u32, target: &str) -> Change {
    let mut change = upsert(source, version);
    target.clone_into(&mut change.id);
    change
}

fn change(id: &str, version: u32, operation: Operation) -> Change {
    let container = ContainerName {
        account: "source".to_owned(),
        database: "shop".to_owned(),
        container: "orders".to_owned(),
        rid: "rid".to_owned(),
    };
    let partition_key = PartitionKey(vec![KeyValue::String("key".to_owned())]);
    let origin = Origin {
        container: Arc::new(container),
        id: id.to_owned(),
        partition_key: partition_key.clone(),
        lsn: Some(i64::from(version)),
        nth: 0,
        committed_at: Some(i64::from(version)),
        expiry: None,
        is_snapshot: false,
        trace: None,
    };
    Change {
        id: id.to_owned(),
        partition_key,
        operation,
        previous: None,
        origin: Arc::new(origin),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    }
}
