//! Takes a page apart, so that a document that cannot be parsed does not hide the others.
//!
//! The service stores text that no JSON parser of Rust accepts: half of a surrogate pair, a number
//! beyond a double, a control character in a string, bytes that are not UTF-8, nesting of more than 127
//! levels. A change with such a member is unreadable only if the member identifies the change.

use std::sync::Arc;

use azure_data_cosmos::models::{ChangeFeedMetadata, ChangeFeedOperationType};
use cosmos_bridge_sink::{
    ContainerName, Document, Element, KeyValue, Origin, PartitionKey, elements_of, members,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::item::{Item, key_from_metadata};
use crate::config::Path;
use crate::cosmos::Unreadable;

/// The changes of a page.
#[derive(Debug, Default)]
pub(super) struct PageParts {
    pub(super) items: Vec<Item>,
    pub(super) unreadable: Vec<Unreadable>,
    /// As the service counts them (`_count`).
    pub(super) stated: Option<usize>,
}

/// The changes of a page, and those that cannot be read. `None` if the text is not a whole page.
pub(super) fn parts_of(
    page: &[u8],
    container: &Arc<ContainerName>,
    key_paths: &[Path],
) -> Option<PageParts> {
    let mut parts = PageParts { stated: stated_count(page), ..PageParts::default() };
    for element in elements_of(page, "Documents")? {
        let texts = Texts::of(&element);
        match texts.read(key_paths) {
            Ok(item) => parts.items.push(item),
            Err(cause) => {
                let item = Unparsed::new(&texts);
                let mut origin = item.origin(container, key_paths);
                let is_same = |other: &&Unreadable| {
                    let other = &other.origin;
                    (&other.id, &other.partition_key, other.lsn)
                        == (&origin.id, &origin.partition_key, origin.lsn)
                };
                let earlier = parts.unreadable.iter().filter(is_same).count();
                origin.nth = u32::try_from(earlier).unwrap_or(u32::MAX);
                let (operation, document) =
                    (operation(item.metadata.as_ref()), item.image.to_vec());
                parts.unreadable.push(Unreadable { cause, origin, operation, document });
            }
        }
    }
    Some(parts)
}

/// The member `_count`, with which the service ends a page; `None` if the page ends with something else.
fn stated_count(page: &[u8]) -> Option<usize> {
    let members = page.trim_ascii_end().strip_suffix(b"}")?.trim_ascii_end();
    let digits = members.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, digits) = members.split_at(members.len() - digits);
    let name = before.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
    name.ends_with(br#""_count""#).then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// The texts of an item.
struct Texts<'t> {
    whole: &'t [u8],
    /// False for a document without an envelope.
    is_envelope: bool,
    current: Option<&'t [u8]>,
    previous: Option<&'t [u8]>,
    metadata: Option<&'t [u8]>,
}

impl<'t> Texts<'t> {
    fn of(element: &Element<'t>) -> Self {
        let whole = element.text;
        let mut texts =
            Self { whole, is_envelope: true, current: None, previous: None, metadata: None };
        for (name, value) in &element.members {
            let place = match *name {
                br#""current""# => &mut texts.current,
                br#""previous""# => &mut texts.previous,
                br#""metadata""# => &mut texts.metadata,
                // An item with other members is a document without an envelope.
                _ => {
                    texts.is_envelope = false;
                    break;
                }
            };
            *place = Some(value);
        }
        texts.is_envelope &= !element.members.is_empty();
        if !texts.is_envelope {
            return Self { current: None, previous: None, metadata: None, ..texts };
        }
        texts
    }

    /// The item, or why it cannot be read. What a change can do without is left out if it cannot be used:
    /// the document before the change, and what a delete has of the document.
    fn read(&self, key_paths: &[Path]) -> Result<Item, String> {
        let document = |text: &[u8]| {
            let document = Document::parse(text).map_err(|error| error.to_string())?;
            if is_identified(&document, key_paths, self.is_envelope) {
                return Ok(document);
            }
            Err(document.unparsed_cause().unwrap_or_default())
        };
        if !self.is_envelope {
            let current = Some(document(self.whole)?);
            return Ok(Item { current, previous: None, metadata: None });
        }
        let metadata: Option<ChangeFeedMetadata> = match self.metadata {
            None => None,
            Some(text) => serde_json::from_slice(text).map_err(|error| error.to_string())?,
        };
        // The service sends an empty object for a document that is gone.
        let is_there = |text: &&[u8]| *text != b"null" && !is_empty_object(text);
        let current = self.current.filter(is_there).map(document);
        let current = if operation(metadata.as_ref()) == "upsert" {
            current.transpose()?
        } else {
            current.and_then(Result::ok)
        };
        let previous = self.previous.filter(is_there);
        let previous = previous.and_then(|text| document(text).ok());
        Ok(Item { current, previous, metadata })
    }
}

fn is_empty_object(text: &[u8]) -> bool {
    text.iter().filter(|byte| !byte.is_ascii_whitespace()).eq(b"{}")
}

/// `upsert`, `delete` or `expire`.
fn operation(metadata: Option<&ChangeFeedMetadata>) -> &'static str {
    match metadata.and_then(ChangeFeedMetadata::operation_type) {
        Some(ChangeFeedOperationType::Delete) => {
            let expired = metadata.and_then(ChangeFeedMetadata::time_to_live_expired);
            if expired == Some(true) { "expire" } else { "delete" }
        }
        _ => "upsert",
    }
}

/// True if what identifies a document and its place in the feed can be parsed, and when it expires. In an
/// envelope, `_lsn` is a property of the user.
fn is_identified(document: &Document, key_paths: &[Path], is_envelope: bool) -> bool {
    let keys = key_paths.iter().filter_map(|path| path.segments().first()).map(String::as_str);
    let own = ["id", "ttl", "_ts"].into_iter().chain((!is_envelope).then_some("_lsn"));
    !document.has_unparsed() || own.chain(keys).all(|name| !document.is_unparsed(name))
}

/// An item that cannot be read, as far as it is understood.
struct Unparsed<'t> {
    /// The document.
    image: &'t [u8],
    metadata: Option<ChangeFeedMetadata>,
}

impl<'t> Unparsed<'t> {
    fn new(texts: &Texts<'t>) -> Self {
        Self {
            image: texts.current.or(texts.previous).unwrap_or(texts.whole),
            metadata: texts.metadata.and_then(|text| serde_json::from_slice(text).ok()),
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
            is_snapshot: false,
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
