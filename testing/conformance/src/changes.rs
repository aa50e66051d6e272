//! The changes that the suite writes.

use std::sync::{Arc, LazyLock};

use cosmos_bridge_sink::{
    Change, ContainerName, Document, KeyValue, Operation, Origin, PartitionKey,
};
use serde_json::{Value, json};

/// The origin of all changes of the suite: account, database and container.
pub const SOURCE: (&str, &str, &str) = ("conformance", "suite", "changes");

static CONTAINER: LazyLock<Arc<ContainerName>> = LazyLock::new(|| {
    let (account, database, container) = SOURCE;
    Arc::new(ContainerName {
        account: account.to_owned(),
        database: database.to_owned(),
        container: container.to_owned(),
        rid: "rid".to_owned(),
    })
});

/// The document with this id, at this version, in its own partition or in that of the case.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) id: String,
    pub(crate) key: PartitionKey,
}

impl Written {
    pub(crate) fn new(case: &str, number: usize) -> Self {
        let key = PartitionKey(vec![KeyValue::String(case.to_owned())]);
        Self { id: format!("{case}-{number}"), key }
    }

    /// With a number that distinguishes versions, and a text of this length in bytes.
    pub(crate) fn upsert(&self, version: i64, bytes: usize) -> Change {
        let note = format!("{}{}", crate::written::MARK, "n".repeat(bytes));
        let document = json!({"id": self.id, "version": version, "note": note});
        let Value::Object(document) = document else { return self.delete(version) };
        self.change(version, Operation::Upsert { document: Arc::new(document.into()) })
    }

    pub(crate) fn document(&self, version: i64, mut document: Document) -> Change {
        document.insert("id", self.id.as_str());
        document.insert("version", version);
        self.change(version, Operation::Upsert { document: Arc::new(document) })
    }

    pub(crate) fn delete(&self, version: i64) -> Change {
        self.change(version, Operation::Delete { expired: false })
    }

    fn change(&self, version: i64, operation: Operation) -> Change {
        Change {
            id: self.id.clone(),
            partition_key: self.key.clone(),
            operation,
            previous: None,
            origin: Arc::new(Origin {
                container: Arc::clone(&CONTAINER),
                id: self.id.clone(),
                partition_key: self.key.clone(),
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
}
