//! Converts items of the SDK into changes.

use std::sync::Arc;

use azure_data_cosmos::models::{ChangeFeedItem, ChangeFeedMetadata, ChangeFeedOperationType};
use cosmos_bridge_sink::{ContainerName, Document, KeyValue, Origin, PartitionKey};

use crate::config::Path;
use crate::model::{Event, SourceChange};

pub(super) type Item = ChangeFeedItem<Image>;

/// A document that can be moved out of an item of the SDK, which only lends its content.
#[derive(Clone)]
pub(super) struct Image(Arc<Document>);

impl<'de> serde::Deserialize<'de> for Image {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Document::deserialize(deserializer).map(|document| Self(Arc::new(document)))
    }
}

impl Image {
    fn into_document(self) -> Document {
        Arc::unwrap_or_clone(self.0)
    }
}

/// The changes of one page, in order. `key_paths` are those of the container.
pub(super) fn changes_of(
    items: Vec<Item>,
    container: &Arc<ContainerName>,
    key_paths: &[Path],
) -> Vec<SourceChange> {
    let change = |item| change_of(item, container, key_paths);
    let mut changes: Vec<_> = items.into_iter().map(change).collect();
    number_repeated(&mut changes);
    changes
}

fn change_of(item: Item, container: &Arc<ContainerName>, key_paths: &[Path]) -> SourceChange {
    let metadata = item.metadata().cloned();
    let metadata = metadata.as_ref();
    let operation = metadata.and_then(ChangeFeedMetadata::operation_type);
    let (current, previous) = (item.current().cloned(), item.previous().cloned());
    drop(item); // So that the images are the only owners of their documents.
    let current = current.map(Image::into_document);
    let previous = previous.map(Image::into_document);
    let image = current.as_ref().or(previous.as_ref());
    let origin = Arc::new(origin_of(metadata, image, container, key_paths));
    let event = match current {
        Some(current) if operation != Some(ChangeFeedOperationType::Delete) => {
            Event::Upsert { current, previous }
        }
        _ => Event::Delete {
            previous,
            expired: metadata.and_then(ChangeFeedMetadata::time_to_live_expired) == Some(true),
        },
    };
    SourceChange { origin, event }
}

/// Identity and position of a change: from its metadata if the feed has it, else from the properties
/// that a feed without metadata adds to the document.
fn origin_of(
    metadata: Option<&ChangeFeedMetadata>,
    image: Option<&Document>,
    container: &Arc<ContainerName>,
    key_paths: &[Path],
) -> Origin {
    let number = |name: &str| image?.get(name)?.as_i64();
    let id = metadata.and_then(ChangeFeedMetadata::id);
    let id = id.or_else(|| image?.get("id")?.as_str()).unwrap_or_default().to_owned();
    let stated = || metadata.and_then(ChangeFeedMetadata::partition_key);
    let partition_key = image
        .map_or_else(|| key_from_metadata(stated(), key_paths), |image| key_of(image, key_paths));
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
        id,
        partition_key,
        lsn,
        committed_at: committed_at.or_else(|| number("_ts")),
        nth: 0,
        trace: None,
    }
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
    let value = |path: &Path| {
        let (first, rest) = path.segments().split_first()?;
        rest.iter().try_fold(document.get(first)?, |value, name| value.get(name))
    };
    // The service stores a document with an object or array as a key value as one without a key.
    let key = |path| KeyValue::from_json(value(path)).unwrap_or(KeyValue::Undefined);
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
fn key_field<'f>(fields: &'f Document, path: &Path) -> Option<&'f serde_json::Value> {
    let path = path.segments().join("/");
    let last = path.rsplit('/').next().unwrap_or_default();
    let field = fields.get(&format!("/{path}")).or_else(|| fields.get(&path));
    field.or_else(|| fields.get(last))
}
