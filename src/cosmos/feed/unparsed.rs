//! Takes a page apart that cannot be parsed as a whole, so that one document does not hide the others.
//!
//! The service stores text that no JSON parser of Rust accepts: half of a surrogate pair, a number
//! beyond a double, a control character in a string, bytes that are not UTF-8, nesting of more than 127
//! levels. Quotes and brackets still delimit the values, and that is all that is looked at here.

use std::sync::Arc;

use azure_data_cosmos::models::{ChangeFeedMetadata, ChangeFeedOperationType};
use cosmos_bridge_sink::{ContainerName, KeyValue, Origin, PartitionKey};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::item::{Item, key_from_metadata};
use crate::config::Path;
use crate::cosmos::Unreadable;

/// The changes of a page, and those that cannot be parsed. `None` if the text is not a whole page.
pub(super) fn items_of(
    page: &[u8],
    container: &Arc<ContainerName>,
    key_paths: &[Path],
) -> Option<(Vec<Item>, Vec<Unreadable>)> {
    let (mut items, mut unreadable) = (Vec::new(), Vec::new());
    if page.is_empty() {
        return Some((items, unreadable));
    }
    for text in elements(value_at(page, &["Documents"])?)? {
        match parse(text) {
            Ok(item) => items.push(item),
            Err(error) => {
                let item = Unparsed::new(text);
                let mut origin = item.origin(container, key_paths);
                let is_same = |other: &&Unreadable| {
                    let other = &other.origin;
                    (&other.id, &other.partition_key, other.lsn)
                        == (&origin.id, &origin.partition_key, origin.lsn)
                };
                let earlier = unreadable.iter().filter(is_same).count();
                origin.nth = u32::try_from(earlier).unwrap_or(u32::MAX);
                let (operation, document) = (item.operation(), item.image.to_vec());
                let cause = error.to_string();
                unreadable.push(Unreadable { cause, origin, operation, document });
            }
        }
    }
    Some((items, unreadable))
}

/// Parses one item. What a change can do without is left out if it cannot be parsed: the document
/// before the change, and what a delete has of the document.
fn parse(text: &[u8]) -> serde_json::Result<Item> {
    let whole = serde_json::from_slice(text);
    let Err(error) = whole else { return whole };
    let item = Unparsed::new(text);
    if item.metadata.is_none() {
        return Err(error);
    }
    let parts: &[&[&str]] = match item.operation() {
        "upsert" => &[&["current", "metadata"]],
        _ => &[&["previous", "metadata"], &["metadata"]],
    };
    let parsed = parts.iter().find_map(|names| serde_json::from_slice(&part_of(text, names)).ok());
    parsed.ok_or(error)
}

/// An object with some members of another one.
fn part_of(object: &[u8], names: &[&str]) -> Vec<u8> {
    let members = names.iter().filter_map(|name| Some((name, value_at(object, &[name])?)));
    let texts: Vec<_> =
        members.map(|(name, value)| [b"\"", name.as_bytes(), b"\":", value].concat()).collect();
    [&b"{"[..], &texts.join(&b','), b"}"].concat()
}

/// An item that cannot be parsed, as far as it is understood.
struct Unparsed<'t> {
    /// The document.
    image: &'t [u8],
    metadata: Option<ChangeFeedMetadata>,
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

/// The members of an object: the texts of name and value. `None` if the text is not a whole object.
fn members(text: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut all = Vec::new();
    let mut at = after(text, space(text, 0), b'{')?;
    loop {
        at = space(text, at);
        match *text.get(at)? {
            b'}' => return Some(all),
            b',' => at += 1,
            b'"' => {
                let name = at..end_of_string(text, at)?;
                let value = space(text, after(text, space(text, name.end), b':')?);
                at = end_of_value(text, value)?;
                all.push((&text[name], &text[value..at]));
            }
            _ => return None,
        }
    }
}

/// The elements of an array. `None` if the text is not a whole array.
fn elements(text: &[u8]) -> Option<Vec<&[u8]>> {
    let mut all = Vec::new();
    let mut at = after(text, space(text, 0), b'[')?;
    loop {
        at = space(text, at);
        match *text.get(at)? {
            b']' => return Some(all),
            b',' => at += 1,
            _ => {
                let value = at..end_of_value(text, at)?;
                // A bracket that was not opened.
                if value.is_empty() {
                    return None;
                }
                at = value.end;
                all.push(&text[value]);
            }
        }
    }
}

/// The place after `sign`, if it is at `at`.
fn after(text: &[u8], at: usize, sign: u8) -> Option<usize> {
    (*text.get(at)? == sign).then_some(at + 1)
}

/// The first place from `at` on that is not white space.
fn space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// The place after the value that starts at `start`.
fn end_of_value(text: &[u8], start: usize) -> Option<usize> {
    match text.get(start)? {
        b'"' => end_of_string(text, start),
        b'{' | b'[' => {
            let (mut at, mut depth) = (start, 0_usize);
            loop {
                match text.get(at)? {
                    b'"' => {
                        at = end_of_string(text, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let is_end =
                |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
            Some(start + text[start..].iter().position(is_end)?)
        }
    }
}

/// The place after the string that starts with the quote at `start`.
fn end_of_string(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests;
