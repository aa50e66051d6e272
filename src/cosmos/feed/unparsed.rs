//! Takes a page apart that cannot be parsed as a whole, so that one document does not hide the others.
//!
//! The service stores text that no JSON parser of Rust accepts: half of a surrogate pair, a number
//! beyond a double, a control character in a string, bytes that are not UTF-8, nesting of more than 127
//! levels. Of such a document the members that cannot be parsed are kept as text. It is unreadable only
//! if one of them identifies the change.

use std::sync::Arc;

use azure_data_cosmos::models::{ChangeFeedMetadata, ChangeFeedOperationType};
use cosmos_bridge_sink::{
    ContainerName, Document, Fields, KeyValue, Origin, PartitionKey, elements, members,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::item::{Item, key_from_metadata};
use crate::config::Path;
use crate::cosmos::Unreadable;
use crate::model::Event;

/// The changes of a page.
#[derive(Default)]
pub(super) struct PageParts {
    pub(super) items: Vec<Item>,
    /// The documents of the items that cannot be parsed as a whole, by the index of the item.
    pub(super) images: Vec<(usize, Images)>,
    pub(super) unreadable: Vec<Unreadable>,
}

/// The documents of an item, with the members that cannot be parsed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Images {
    current: Option<Document>,
    previous: Option<Document>,
}

impl Images {
    /// Adds the members that cannot be parsed to the documents of a change.
    pub(super) fn complete(self, event: &mut Event) {
        let add = |document: &mut Document, image: Option<Document>| {
            if let Some(image) = image {
                *document = std::mem::take(document).with_unparsed_of(&image);
            }
        };
        let (current, previous) = match event {
            Event::Upsert { current, previous, .. } => (Some(current), previous.as_mut()),
            Event::Delete { previous, .. } => (None, previous.as_mut()),
        };
        if let Some(current) = current {
            add(current, self.current);
        }
        if let Some(previous) = previous {
            add(previous, self.previous);
        }
    }
}

/// The changes of a page, and those that cannot be parsed. `None` if the text is not a whole page.
pub(super) fn parts_of(
    page: &[u8],
    container: &Arc<ContainerName>,
    key_paths: &[Path],
) -> Option<PageParts> {
    let mut parts = PageParts::default();
    if page.is_empty() {
        return Some(parts);
    }
    for text in elements(value_at(page, &["Documents"])?)? {
        match parse(text, key_paths) {
            Ok((item, images)) => {
                parts.images.extend(images.map(|images| (parts.items.len(), images)));
                parts.items.push(item);
            }
            Err(error) => {
                let item = Unparsed::new(text);
                let mut origin = item.origin(container, key_paths);
                let is_same = |other: &&Unreadable| {
                    let other = &other.origin;
                    (&other.id, &other.partition_key, other.lsn)
                        == (&origin.id, &origin.partition_key, origin.lsn)
                };
                let earlier = parts.unreadable.iter().filter(is_same).count();
                origin.nth = u32::try_from(earlier).unwrap_or(u32::MAX);
                let (operation, document) = (item.operation(), item.image.to_vec());
                let cause = error.to_string();
                parts.unreadable.push(Unreadable { cause, origin, operation, document });
            }
        }
    }
    Some(parts)
}

/// Parses one item: the SDK's item of all members that can be parsed, and its documents with the others,
/// if there are others. What a change can do without is left out if it cannot be used: the document before
/// the change, and what a delete has of the document.
fn parse(text: &[u8], key_paths: &[Path]) -> serde_json::Result<(Item, Option<Images>)> {
    let error = match serde_json::from_slice(text) {
        Ok(item) => return Ok((item, None)),
        Err(error) => error,
    };
    let item = Unparsed::new(text);
    let identified = |text| {
        let document = Document::parse(text).ok();
        document.filter(|one| is_identified(one, key_paths, item.is_envelope))
    };
    if !item.is_envelope {
        let Some(current) = identified(text) else { return Err(error) };
        let parsed = serde_json::from_value(Value::Object(current.fields().clone()))?;
        return Ok((parsed, Some(Images { current: Some(current), previous: None })));
    }
    let image = |name| value_at(text, &[name]).and_then(identified);
    let previous = image("previous");
    let current = image("current").filter(|_| item.operation() == "upsert");
    if item.metadata.is_none() || (item.operation() == "upsert" && current.is_none()) {
        return Err(error);
    }
    let metadata: Value =
        serde_json::from_slice(value_at(text, &["metadata"]).unwrap_or_default())?;
    let mut envelope = Fields::new();
    envelope.insert("metadata".to_owned(), metadata);
    for (name, image) in [("current", &current), ("previous", &previous)] {
        let fields = image.as_ref().map(|image| Value::Object(image.fields().clone()));
        envelope.extend(fields.map(|fields| (name.to_owned(), fields)));
    }
    let parsed = serde_json::from_value(Value::Object(envelope))?;
    Ok((parsed, Some(Images { current, previous })))
}

/// True if what identifies a document and its place in the feed can be parsed, and when it expires. In an
/// envelope, `_lsn` is a property of the user.
fn is_identified(document: &Document, key_paths: &[Path], is_envelope: bool) -> bool {
    let keys = key_paths.iter().filter_map(|path| path.segments().first()).map(String::as_str);
    let own = ["id", "ttl", "_ts"].into_iter().chain((!is_envelope).then_some("_lsn"));
    own.chain(keys).all(|name| !document.is_unparsed(name))
}

/// An item that cannot be parsed, as far as it is understood.
struct Unparsed<'t> {
    /// The document.
    image: &'t [u8],
    metadata: Option<ChangeFeedMetadata>,
    /// False for a document without an envelope.
    is_envelope: bool,
}

impl<'t> Unparsed<'t> {
    fn new(text: &'t [u8]) -> Self {
        // The SDK takes an item with other members for a document without an envelope.
        let is_envelope = members(text).is_some_and(|members| {
            let of_envelope = [&br#""current""#[..], br#""previous""#, br#""metadata""#];
            members.iter().all(|(name, _)| of_envelope.contains(name))
        });
        let metadata = value_at(text, &["metadata"]).filter(|_| is_envelope);
        let image = value_at(text, &["current"]).or_else(|| value_at(text, &["previous"]));
        Self {
            image: image.filter(|_| is_envelope).unwrap_or(text),
            metadata: metadata.and_then(|text| serde_json::from_slice(text).ok()),
            is_envelope,
        }
    }

    fn operation(&self) -> &'static str {
        let metadata = self.metadata.as_ref();
        match metadata.and_then(ChangeFeedMetadata::operation_type) {
            Some(ChangeFeedOperationType::Delete) => {
                let expired = metadata.and_then(ChangeFeedMetadata::time_to_live_expired);
                if expired == Some(true) { "expire" } else { "delete" }
            }
            _ => "upsert",
        }
    }

    /// What is known of the change. Id and key are empty if they are not.
    fn origin(&self, container: &Arc<ContainerName>, key_paths: &[Path]) -> Origin {
        let metadata = self.metadata.as_ref();
        let id = metadata.and_then(ChangeFeedMetadata::id).map(str::to_owned);
        let lsn = metadata.and_then(ChangeFeedMetadata::lsn).map(|lsn| lsn.value());
        let committed_at = metadata
            .and_then(ChangeFeedMetadata::conflict_resolution_timestamp)
            .and_then(|at| i64::try_from(at.as_secs()).ok());
        let stated = metadata.and_then(ChangeFeedMetadata::partition_key);
        let key = match stated {
            Some(stated) => key_from_metadata(Some(stated), key_paths),
            None => key_of(self.image, key_paths).unwrap_or_default(),
        };
        Origin {
            container: Arc::clone(container),
            id: id.or_else(|| member(self.image, "id")).unwrap_or_default(),
            partition_key: key,
            lsn: lsn.or_else(|| member(self.image, "_lsn")),
            committed_at: committed_at.or_else(|| member(self.image, "_ts")),
            nth: 0,
            expiry: None,
            trace: None,
        }
    }
}

/// The partition key of a document; `None` if one of its values cannot be parsed.
fn key_of(document: &[u8], paths: &[Path]) -> Option<PartitionKey> {
    let key = |path: &Path| {
        let names: Vec<_> = path.segments().iter().map(String::as_str).collect();
        let Some(text) = value_at(document, &names) else { return Some(KeyValue::Undefined) };
        // The service stores a document with an object or array as a key value as one without a key.
        if text.starts_with(b"{") || text.starts_with(b"[") {
            return Some(KeyValue::Undefined);
        }
        let value: Value = serde_json::from_slice(text).ok()?;
        Some(KeyValue::from_json(Some(&value)).unwrap_or(KeyValue::Undefined))
    };
    paths.iter().map(key).collect::<Option<_>>().map(PartitionKey)
}

/// The value of a member, if it can be parsed.
fn member<T: DeserializeOwned>(document: &[u8], name: &str) -> Option<T> {
    serde_json::from_slice(value_at(document, &[name])?).ok()
}

/// The text of the value at a path of member names. Of members with one name, the last counts.
fn value_at<'t>(object: &'t [u8], path: &[&str]) -> Option<&'t [u8]> {
    let value = |object: &'t [u8], name: &&str| {
        let is_named =
            |text: &[u8]| serde_json::from_slice::<String>(text).is_ok_and(|found| found == **name);
        let members = members(object)?;
        members.into_iter().rev().find(|(text, _)| is_named(text)).map(|(_, value)| value)
    };
    path.iter().try_fold(object, value)
}

#[cfg(test)]
mod tests;
