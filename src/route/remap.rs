//! The identity of a document in the target: its id and its partition key.

use std::sync::Arc;

use cosmos_bridge_sink::{
    Document, KeyValue, Origin, PartitionKey, Piece, Template, json_text, kind, number, plain_text,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::access::{check_put, missing, put};
use crate::config::{Buckets, ID_BYTES_MAX, KEY_BYTES_MAX, KeyRule, KeySource, Path};

/// How a route computes id and partition key.
pub(super) struct Remap {
    pub(super) keys: Keys,
    pub(super) id: Option<Template>,
}

/// Where the partition key comes from.
pub(super) enum Keys {
    /// A rule for each level of the target's key.
    Rules(Vec<KeyRule>),
    /// The source's key, even if the route changes its fields.
    Source,
}

impl Keys {
    pub(super) fn rules(&self) -> &[KeyRule] {
        match self {
            Self::Rules(rules) => rules,
            Self::Source => &[],
        }
    }
}

/// Identifies a document in its container.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Identity {
    pub(super) id: String,
    pub(super) partition_key: PartitionKey,
}

/// An identity, and the writes that put it into the document.
pub(super) struct Remapped {
    pub(super) identity: Identity,
    /// Empty if the document already contains the identity.
    pub(super) writes: Vec<(Place, Value)>,
}

/// Where an identity is written.
pub(super) enum Place {
    Id,
    Level(usize),
}

impl Remap {
    /// The document's identity in the target. `origin` supplies a missing id, and the key if the route
    /// keeps the source's. A field at a path of the source's key may be absent: the service has a place
    /// for such documents.
    pub(super) fn identify(
        &self,
        document: &Document,
        origin: &Origin,
        source_key_paths: &[Path],
    ) -> Result<Remapped, String> {
        let own_id = document.get("id");
        let mut id = match (&self.id, &own_id) {
            (Some(template), _) => render(template, document)?,
            (None, Some(Value::String(id))) => id.clone(),
            (None, Some(other)) => return Err(format!("the id is {}", kind(other))),
            (None, None) => origin.id.clone(),
        };
        let mut writes = Vec::new();
        let mut values = match &self.keys {
            Keys::Rules(rules) => Vec::with_capacity(rules.len()),
            Keys::Source => origin.partition_key.0.clone(),
        };
        for (level, rule) in self.keys.rules().iter().enumerate() {
            if is_id(&rule.path) {
                self.merge_id(rule, document, &mut id)?;
                values.push(KeyValue::String(id.clone()));
                continue;
            }
            if keeps_undefined(rule, document, origin, source_key_paths) {
                values.push(KeyValue::Undefined);
                continue;
            }
            let (value, write) = level_value(rule, document)?;
            check_key(&rule.path, &value)?;
            values.push(value);
            writes.extend(write.map(|write| (Place::Level(level), write)));
        }
        check_id(&id)?;
        if own_id.as_ref().and_then(Value::as_str) != Some(id.as_str()) {
            writes.push((Place::Id, Value::String(id.clone())));
        }
        Ok(Remapped { identity: Identity { id, partition_key: PartitionKey(values) }, writes })
    }

    /// A level that lies at `/id`: the key and the id are the same field.
    fn merge_id(&self, rule: &KeyRule, document: &Document, id: &mut String) -> Result<(), String> {
        if rule.value == KeySource::Keep && rule.buckets.is_none() {
            return Ok(());
        }
        match level_value(rule, document)?.0 {
            KeyValue::String(text) if self.id.is_none() || text == *id => *id = text,
            KeyValue::String(_) => {
                return Err("the target's key is its id, and the route sets both".to_owned());
            }
            _ => return Err("the target's key is its id, and its value is not a string".to_owned()),
        }
        Ok(())
    }

    /// The document that [`Remap::identify`] was called with, with its identity written into it.
    pub(super) fn written(
        &self,
        writes: Vec<(Place, Value)>,
        mut document: Document,
    ) -> Arc<Document> {
        for (place, value) in writes {
            match place {
                Place::Id => document.insert("id", value),
                Place::Level(level) => {
                    let put = self
                        .keys
                        .rules()
                        .get(level)
                        .map(|rule| put(&mut document, &rule.path, value));
                    // `identify` checked the path, and key paths do not overlap.
                    debug_assert!(matches!(put, Some(Ok(()))), "a checked key path is writable");
                }
            }
        }
        Arc::new(document)
    }
}

/// True if a level keeps a field of the source's key that the source document does not have.
fn keeps_undefined(
    rule: &KeyRule,
    document: &Document,
    origin: &Origin,
    source_key_paths: &[Path],
) -> bool {
    let values = origin.partition_key.0.iter().chain(std::iter::repeat(&KeyValue::Undefined));
    let mut undefined = source_key_paths.iter().zip(values);
    rule.value == KeySource::Keep
        && rule.buckets.is_none()
        && document.find(&rule.path).is_none()
        && undefined.any(|(path, value)| *path == rule.path && *value == KeyValue::Undefined)
}

pub(super) fn is_id(path: &Path) -> bool {
    matches!(path.segments(), [name] if name == "id")
}

/// The value of a level, and the write at its path unless the value is already there.
fn level_value(rule: &KeyRule, document: &Document) -> Result<(KeyValue, Option<Value>), String> {
    let (value, path) = match &rule.value {
        KeySource::Keep => (field(document, &rule.path)?, &rule.path),
        KeySource::From(path) => (field(document, path)?, path),
        KeySource::Template(template) => (Value::String(render(template, document)?), &rule.path),
        KeySource::Constant(constant) => {
            let value = key_json(constant)
                .ok_or_else(|| format!("the key at {} has no value", rule.path))?;
            (value, &rule.path)
        }
    };
    if let Some(buckets) = &rule.buckets {
        let text = plain_text(&value).ok_or_else(|| no_key(path, &value))?;
        let text = format!("{text}-{}", bucket(buckets, document)?);
        return placed(rule, document, Value::String(text));
    }
    let key = KeyValue::from_json(Some(&value)).ok_or_else(|| no_key(path, &value))?;
    if rule.value == KeySource::Keep {
        return Ok((key, None));
    }
    placed(rule, document, value)
}

fn placed(
    rule: &KeyRule,
    document: &Document,
    value: Value,
) -> Result<(KeyValue, Option<Value>), String> {
    let key = KeyValue::from_json(Some(&value)).ok_or_else(|| no_key(&rule.path, &value))?;
    if document.find(&rule.path).as_ref() == Some(&value) {
        return Ok((key, None));
    }
    check_put(document, &rule.path)?;
    Ok((key, Some(value)))
}

fn field(document: &Document, path: &Path) -> Result<Value, String> {
    document.find(path).ok_or_else(|| missing(path))
}

fn no_key(path: &Path, value: &Value) -> String {
    format!("field {path} is {}, which cannot be part of a key or id", kind(value))
}

/// The JSON of a key value; `None` for an undefined one.
pub(super) fn key_json(value: &KeyValue) -> Option<Value> {
    Some(match value {
        KeyValue::String(text) => Value::String(text.clone()),
        KeyValue::Number(value) => number(*value),
        KeyValue::Bool(value) => Value::Bool(*value),
        KeyValue::Null => Value::Null,
        KeyValue::Undefined => return None,
    })
}

fn render(template: &Template, document: &Document) -> Result<String, String> {
    let mut text = String::new();
    for piece in &template.0 {
        match piece {
            Piece::Text(plain) => text.push_str(plain),
            // The configuration rejects these.
            Piece::Property(_) => {}
            Piece::Field(path) => match field(document, path)? {
                Value::String(value) => text.push_str(&value),
                value => text.push_str(&plain_text(&value).ok_or_else(|| no_key(path, &value))?),
            },
        }
    }
    Ok(text)
}

/// The first eight bytes of the SHA-256 of the value's JSON text, as a big-endian number, modulo
/// `count`. It is part of keys, so it must never change.
fn bucket(buckets: &Buckets, document: &Document) -> Result<u64, String> {
    let hash = Sha256::digest(json_text(&field(document, &buckets.of)?));
    let number = hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
    Ok(number % u64::from(buckets.count.max(1)))
}

fn check_key(path: &Path, value: &KeyValue) -> Result<(), String> {
    match value {
        KeyValue::String(text) if text.len() > KEY_BYTES_MAX => Err(format!(
            "the key at {path} has {} bytes; the service accepts at most {KEY_BYTES_MAX}",
            text.len()
        )),
        _ => Ok(()),
    }
}

fn check_id(id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err("the id is empty".to_owned());
    }
    if id.len() > ID_BYTES_MAX {
        let bytes = id.len();
        return Err(format!(
            "the id has {bytes} bytes; the service accepts at most {ID_BYTES_MAX}"
        ));
    }
    Ok(())
}
