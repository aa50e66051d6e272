//! One light pass over a document's text: what the gateway must know, without building a tree.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::key::{KeyError, KeyPath, KeyValue};

/// The largest document in bytes, as in the service.
pub const DOCUMENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The longest id in bytes, as in the service.
const ID_BYTES_MAX: usize = 1023;

/// Properties that only the service writes.
const SYSTEM: [&str; 5] = ["_rid", "_self", "_etag", "_attachments", "_ts"];

/// A document as it will be stored.
#[derive(Debug)]
pub struct Scanned {
    pub id: String,
    /// One value per path of the container's partition key.
    pub key: Vec<KeyValue>,
    pub ttl: Option<i32>,
    /// The text as it was written, without system properties and without the closing brace.
    pub text: Box<[u8]>,
}

/// Why a document is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScanError {
    #[error("the body is not a JSON object")]
    NotAnObject,
    #[error("the document has no id, or one that is not text")]
    NoId,
    #[error("the id is empty or longer than 1023 bytes")]
    BadId,
    #[error("ttl must be -1 or a positive number of seconds")]
    BadTtl,
    #[error("the request size is too large")]
    TooLarge,
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Reads a document; `paths` are the container's partition key paths.
pub fn scan(body: &[u8], paths: &[KeyPath]) -> Result<Scanned, ScanError> {
    let text = std::str::from_utf8(body).map_err(|_| ScanError::NotAnObject)?;
    let text = text.trim_matches([' ', '\t', '\r', '\n', '\u{feff}']);
    let members = members(text)?;
    let mut id = None;
    let mut ttl = None;
    let mut key = vec![KeyValue::Undefined; paths.len()];
    let mut has_system = false;
    for member in &members {
        match member.name.as_ref() {
            "id" => id = serde_json::from_str::<String>(member.value).ok(),
            "ttl" => ttl = Some(read_ttl(member.value)?),
            name if SYSTEM.contains(&name) => has_system = true,
            _ => {}
        }
        for (path, slot) in paths.iter().zip(&mut key) {
            if path.head() == member.name {
                let value =
                    serde_json::from_str(member.value).map_err(|_| ScanError::NotAnObject)?;
                *slot = path.read_below_head(&value)?;
            }
        }
    }
    let id = id.ok_or(ScanError::NoId)?;
    check_id(&id)?;
    let text = stored_text(text, &members, has_system);
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(ScanError::TooLarge);
    }
    Ok(Scanned { id, key, ttl, text })
}

/// The service's rules for ids.
pub fn check_id(id: &str) -> Result<(), ScanError> {
    let bad = id.is_empty() || id.len() > ID_BYTES_MAX;
    if bad { Err(ScanError::BadId) } else { Ok(()) }
}

fn read_ttl(raw: &str) -> Result<i32, ScanError> {
    match serde_json::from_str::<f64>(raw).ok().and_then(crate::key::integral) {
        Some(seconds) if seconds == -1 || seconds > 0 => {
            i32::try_from(seconds).map_err(|_| ScanError::BadTtl)
        }
        _ => Err(ScanError::BadTtl),
    }
}

struct Member<'a> {
    name: Cow<'a, str>,
    value: &'a str,
}

fn members(text: &str) -> Result<Vec<Member<'_>>, ScanError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Members).map_err(|_| ScanError::NotAnObject)?;
    reader.end().map_err(|_| ScanError::NotAnObject)?;
    Ok(members)
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(16);
        while let Some(name) = map.next_key_seed(Name)? {
            let value: &RawValue = map.next_value()?;
            members.push(Member { name, value: value.get() });
        }
        Ok(members)
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        // As bytes, because a name may be half of a surrogate pair, as in the service.
        reader.deserialize_bytes(Self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a property name")
    }

    fn visit_borrowed_bytes<E>(self, name: &'de [u8]) -> Result<Self::Value, E> {
        Ok(String::from_utf8_lossy(name))
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(String::from_utf8_lossy(name).into_owned()))
    }
}

fn stored_text(text: &str, members: &[Member<'_>], has_system: bool) -> Box<[u8]> {
    if !has_system && !text.contains(['\n', '\r']) {
        let open = text.strip_suffix('}').unwrap_or(text).trim_end_matches([' ', '\t']);
        return open.as_bytes().into();
    }
    let mut out = Vec::with_capacity(text.len());
    for member in members.iter().filter(|member| !SYSTEM.contains(&member.name.as_ref())) {
        out.push(if out.is_empty() { b'{' } else { b',' });
        // A name is written again only here; serde_json cannot fail on text.
        serde_json::to_writer(&mut out, member.name.as_ref()).unwrap_or_default();
        out.push(b':');
        push_without_line_breaks(&mut out, member.value);
    }
    out.into()
}

/// Line breaks occur only between JSON tokens, never inside valid text.
fn push_without_line_breaks(out: &mut Vec<u8>, value: &str) {
    out.extend(value.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
}
