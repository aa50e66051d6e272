//! The record of the bridge as it is in documents, and the versions that documents are.

use cosmos_bridge_sink::{Document, PartitionKey, SYSTEM_PROPERTIES};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::version::{ContentHash, Kind, Order, Own, Stamp, Version};
use crate::source_version::key_text;

/// Counted up when a version that does not know the new form would misread it.
const FORM: u32 = 1;

/// A [`Stamp`] in a document. It is in users' containers, so what is written once is read for ever.
#[derive(Serialize, Deserialize)]
struct Record {
    form: u32,
    kind: Kind,
    /// Of the key and id: the record means nothing in another document.
    document: ContentHash,
    other: String,
    lsn: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    nth: u32,
    committed_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    over: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own: Option<Own>,
    content: ContentHash,
    written_at: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A document as the service returns it, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) version: Version,
    /// Without the record and the service's properties.
    pub(crate) document: Document,
}

/// Where a document is, and in which field the bridge keeps its record.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) partition_key: &'a PartitionKey,
    pub(crate) id: &'a str,
    pub(crate) field: &'a str,
}

impl Place<'_> {
    /// `None` if the document does not tell its version.
    pub(crate) fn read(&self, document: &Document) -> Option<Stored> {
        let Value::String(etag) = document.get("_etag")? else { return None };
        let committed_at = document.get("_ts")?.as_i64()?;
        let record = document.get(self.field);
        let mut document = document.clone();
        let is_added = |name: &str| SYSTEM_PROPERTIES.contains(&name) || name == self.field;
        document.retain(|name| name.is_none_or(|name| !is_added(name)));
        let content = ContentHash::of(&document.sorted_text());
        let stamp = record.and_then(|record| self.stamp(record));
        Some(Stored { version: Version { etag, committed_at, content, stamp }, document })
    }

    fn stamp(&self, record: Value) -> Option<Stamp> {
        let record: Record = serde_json::from_value(record).ok()?;
        let is_readable = record.form == FORM && record.document == self.hash();
        let Record { kind, other, lsn, nth, committed_at, .. } = record;
        let Record { over, own, content, written_at, .. } = record;
        let order = Order { lsn, nth, committed_at };
        is_readable.then_some(Stamp { kind, other, order, over, own, content, written_at })
    }

    /// The document with this record, as it is written.
    pub(crate) fn stamped(&self, document: &Document, stamp: &Stamp) -> Document {
        let Stamp { kind, order, content, written_at, .. } = *stamp;
        let record = Record {
            form: FORM,
            kind,
            document: self.hash(),
            other: stamp.other.clone(),
            lsn: order.lsn,
            nth: order.nth,
            committed_at: order.committed_at,
            over: stamp.over.clone(),
            own: stamp.own.clone(),
            content,
            written_at,
        };
        let mut document = document.clone();
        // The record has a JSON text.
        document.insert(self.field, serde_json::to_value(record).unwrap_or_default());
        document
    }

    fn hash(&self) -> ContentHash {
        let key = key_text(self.partition_key);
        ContentHash::of(Value::from(vec![key.as_str(), self.id]).to_string().as_bytes())
    }
}

/// 32 hexadecimal digits.
impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_sink::{Document, KeyValue, PartitionKey};
    use serde_json::{Value, json};

    use super::Place;
    use crate::mirror::{Kind, Order, Own, Stamp};

    fn document(value: &Value) -> Document {
        value.as_object().unwrap().clone().into()
    }

    fn key(text: &str) -> PartitionKey {
        PartitionKey(vec![KeyValue::String(text.to_owned())])
    }

    /// As the service returns it.
    fn returned(mut document: Document, etag: &str) -> Document {
        document.insert("_etag", etag);
        document.insert("_ts", 1000);
        document.insert("_rid", "r");
        document
    }

    #[test]
    fn a_record_is_read_back_from_its_own_document_only() {
        let key_of_one = key("k");
        let place = Place { partition_key: &key_of_one, id: "1", field: "_mirror" };
        let written = document(&json!({"id": "1", "k": "k", "n": 1}));
        let plain = place.read(&returned(written.clone(), "e1")).unwrap();
        assert_eq!((plain.version.etag.as_str(), plain.version.committed_at), ("e1", 1000));
        assert_eq!(plain.document, written);
        assert_eq!(plain.version.stamp, None);
        for (kind, nth, own) in [
            (Kind::Copy, 0, None),
            (Kind::Kept, 2, Some(Own { name: "e0".to_owned(), changed_at: 7 })),
        ] {
            let stamp = Stamp {
                kind,
                other: "o".to_owned(),
                order: Order { lsn: 5, nth, committed_at: 50 },
                over: own.is_some().then(|| "e1".to_owned()),
                own,
                content: plain.version.content,
                written_at: 999,
            };
            let stamped = returned(place.stamped(&plain.document, &stamp), "e2");
            let read = place.read(&stamped).unwrap();
            assert_eq!(read.document, written);
            assert_eq!(read.version.stamp.as_ref(), Some(&stamp));
            assert_eq!(read.version.intact(), Some(&stamp));
            let (other_key, same_id) = (key("other"), "1");
            let copied = Place { partition_key: &other_key, id: same_id, ..place };
            assert_eq!(copied.read(&stamped).unwrap().version.stamp, None);
            let copied = Place { id: "2", ..place };
            assert_eq!(copied.read(&stamped).unwrap().version.stamp, None);
            // A user's field of that name.
            let mut foreign = stamped.clone();
            foreign.insert("_mirror", "mine");
            assert_eq!(place.read(&foreign).unwrap().version.stamp, None);
        }
        assert_eq!(place.read(&written), None);
    }

    /// It is in the containers of users.
    #[test]
    fn a_record_has_one_form_for_ever() {
        let key = key("k");
        let place = Place { partition_key: &key, id: "1", field: "_mirror" };
        let plain = place.read(&returned(document(&json!({"id": "1", "k": "k"})), "e1")).unwrap();
        let stamp = Stamp {
            kind: Kind::Won,
            other: "\"o\"".to_owned(),
            order: Order { lsn: 5, nth: 1, committed_at: 50 },
            over: Some("\"v\"".to_owned()),
            own: Some(Own { name: "\"w\"".to_owned(), changed_at: 49 }),
            content: plain.version.content,
            written_at: 51,
        };
        let stamped = place.stamped(&plain.document, &stamp);
        assert_eq!(
            stamped.get("_mirror").unwrap(),
            json!({
                "form": 1, "kind": "won", "document": "920f75e0a5555aaa1a379a887eea9585", "other": "\"o\"", "lsn": 5, "nth": 1,
                "committed_at": 50, "over": "\"v\"", "own": {"name": "\"w\"", "changed_at": 49},
                "content": "1c6eb4aed00e7ea23ffaf591007ba98a", "written_at": 51
            })
        );
    }
}
