//! Converts items of a page into changes.

use std::sync::Arc;

use azure_data_cosmos::models::{ChangeFeedMetadata, ChangeFeedOperationType};
use cosmos_bridge_sink::{ContainerName, Document, Expiry, Fields, KeyValue, Origin, PartitionKey};

use crate::config::Path;
use crate::model::{Event, SourceChange};

/// One item of a page.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) current: Option<Document>,
    pub(super) previous: Option<Document>,
    pub(super) metadata: Option<ChangeFeedMetadata>,
}

/// The changes of one page, in order. `key_paths` and `default_ttl` are those of the container.
pub(super) fn changes_of(
    items: Vec<Item>,
    container: &Arc<ContainerName>,
    key_paths: &[Path],
    default_ttl: Option<i64>,
) -> Vec<SourceChange> {
    let change = |item| change_of(item, container, key_paths, default_ttl);
    let mut changes: Vec<_> = items.into_iter().map(change).collect();
    number_repeated(&mut changes);
    changes
}

fn change_of(
    item: Item,
    container: &Arc<ContainerName>,
    key_paths: &[Path],
    default_ttl: Option<i64>,
) -> SourceChange {
    let Item { current, previous, metadata } = item;
    let metadata = metadata.as_ref();
    let operation = metadata.and_then(ChangeFeedMetadata::operation_type);
    let origin = if operation == Some(ChangeFeedOperationType::Delete) {
        // `current` has at most some properties of a deleted document.
        origin_of_delete(metadata, previous.as_ref(), container, key_paths)
    } else {
        let image = current.as_ref().or(previous.as_ref());
        let key = image.map(|image| key_of(image, key_paths));
        origin_of(metadata, image, key, container, key_paths)
    };
    let expiry = current.as_ref().and_then(|current| expiry_of(current, default_ttl));
    let origin = Arc::new(Origin { expiry, ..origin });
    let event = match current {
        Some(current) if operation != Some(ChangeFeedOperationType::Delete) => {
            let is_new = operation == Some(ChangeFeedOperationType::Create);
            Event::Upsert { current, previous, is_new }
        }
        _ => Event::Delete {
            previous,
            expired: metadata.and_then(ChangeFeedMetadata::time_to_live_expired) == Some(true),
        },
    };
    SourceChange { origin, event }
}

/// Identity and position of a delete: the key that its metadata states, else that of the document before.
fn origin_of_delete(
    metadata: Option<&ChangeFeedMetadata>,
    previous: Option<&Document>,
    container: &Arc<ContainerName>,
    key_paths: &[Path],
) -> Origin {
    let stated = key_from_metadata(metadata.and_then(ChangeFeedMetadata::partition_key), key_paths);
    let key = match previous {
        Some(previous) if stated.0.is_empty() => key_of(previous, key_paths),
        _ => stated,
    };
    origin_of(metadata, previous, Some(key), container, key_paths)
}

/// Identity and position of a change: from its metadata if the feed has it, else from the properties
/// that a feed without metadata adds to the document.
fn origin_of(
    metadata: Option<&ChangeFeedMetadata>,
    image: Option<&Document>,
    key: Option<PartitionKey>,
    container: &Arc<ContainerName>,
    key_paths: &[Path],
) -> Origin {
    let number = |name: &str| image?.get(name)?.as_i64();
    let id = metadata.and_then(ChangeFeedMetadata::id).map(str::to_owned);
    let id = id.or_else(|| match image?.get("id")? {
        serde_json::Value::String(id) => Some(id),
        _ => None,
    });
    let stated = || metadata.and_then(ChangeFeedMetadata::partition_key);
    let partition_key = key.unwrap_or_else(|| key_from_metadata(stated(), key_paths));
    let committed_at = metadata
        .and_then(ChangeFeedMetadata::conflict_resolution_timestamp)
        .and_then(|at| i64::try_from(at.as_secs()).ok());
    // With metadata, `_lsn` is a property of the document like any other.
    let lsn = match metadata {
        Some(metadata) => metadata.lsn().map(|lsn| lsn.value()),
        None => number("_lsn"),
    };
    Origin {
        container: Arc::clone(container),
        id: id.unwrap_or_default(),
        partition_key,
        lsn,
        committed_at: committed_at.or_else(|| number("_ts")),
        nth: 0,
        expiry: None,
        is_snapshot: false,
        trace: None,
    }
}

/// When a document expires, in a container with this default time to live: `None` if it is switched off,
/// -1 if only documents with a `ttl` expire.
///
/// A document lives for its `ttl` after its last change, or for the container's default; -1 is for ever.
/// <https://learn.microsoft.com/azure/cosmos-db/time-to-live>
pub(super) fn expiry_of(document: &Document, default_ttl: Option<i64>) -> Option<Expiry> {
    let default_ttl = default_ttl?;
    let number = |name: &str| document.get(name)?.as_i64();
    let ttl = number("ttl");
    let lifetime = ttl.filter(|ttl| *ttl == -1 || *ttl > 0).unwrap_or(default_ttl);
    let at = match lifetime {
        -1 => None,
        seconds => Some(number("_ts")?.saturating_add(seconds)),
    };
    Some(Expiry { at, ttl })
}

/// Numbers the changes of one document with the same log sequence number. A transaction that
/// changes a document several times gives all these changes one number. The service never splits
/// them over pages, so the numbering is the same at every read.
pub(super) fn number_repeated(changes: &mut [SourceChange]) {
    let mut begin = 0;
    for at in 1..changes.len() {
        let (before, rest) = changes.split_at_mut(at);
        let change = &mut rest[0];
        let Origin { id, partition_key, lsn, .. } = &*change.origin;
        if lsn.is_none() || before[begin].origin.lsn != *lsn {
            begin = at;
            continue;
        }
        let is_same = |other: &&SourceChange| {
            other.origin.id == *id && other.origin.partition_key == *partition_key
        };
        let nth = before[begin..].iter().filter(is_same).count();
        if nth > 0
            && let Some(origin) = Arc::get_mut(&mut change.origin)
        {
            origin.nth = u32::try_from(nth).unwrap_or(u32::MAX);
        }
    }
}

/// The partition key of a document whose container has these key paths.
pub fn key_of(document: &Document, paths: &[Path]) -> PartitionKey {
    // The service stores a document with an object or array as a key value as one without a key.
    let key = |path| {
        let value = document.find(path);
        KeyValue::from_json(value.as_ref()).unwrap_or(KeyValue::Undefined)
    };
    PartitionKey(paths.iter().map(key).collect())
}

/// The key of a delete without a previous image. The service sends its values as an array, or as an
/// object by field name. If a name is missing the key is empty: a dead letter is better than a
/// delete of another document.
pub(super) fn key_from_metadata(key: Option<&serde_json::Value>, paths: &[Path]) -> PartitionKey {
    let values = match key {
        Some(serde_json::Value::Array(values)) => Some(values.iter().collect()),
        Some(serde_json::Value::Object(fields)) => {
            paths.iter().map(|path| key_field(fields, path)).collect()
        }
        _ => None,
    };
    let values: Vec<_> = values.unwrap_or_default();
    let key = |value| KeyValue::from_json(Some(value)).unwrap_or(KeyValue::Undefined);
    PartitionKey(values.into_iter().map(key).collect())
}

/// Finds a field by its path, with or without the first slash, or by the last name of the path.
fn key_field<'f>(fields: &'f Fields, path: &Path) -> Option<&'f serde_json::Value> {
    let path = path.segments().join("/");
    let last = path.rsplit('/').next().unwrap_or_default();
    let field = fields.get(&format!("/{path}")).or_else(|| fields.get(&path));
    field.or_else(|| fields.get(last))
}
