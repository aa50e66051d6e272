//! Which version of which source document the target holds, and what a change may do to it.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};

use cosmos_bridge_sink::{
    Change, ContainerName, KeyValue, Operation, Origin, PartitionKey, json_text,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::OnCollision;
use crate::document_hash::process_hash;

/// Identifies a source document by the names of its container in the configuration, its partition key
/// and its id: the first 128 bits of their SHA-256. It is stored in targets, so it must never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceDocument(u128);

impl SourceDocument {
    pub(crate) fn of(origin: &Origin) -> Self {
        Self::named(&origin.container, &origin.partition_key, &origin.id)
    }

    /// Of a document of this key and id.
    pub fn named(container: &ContainerName, key: &PartitionKey, id: &str) -> Self {
        let ContainerName { account, database, container, .. } = container;
        let key = key_text(key);
        let mut hash = Sha256::new();
        for part in [account.as_str(), database, container, &key, id] {
            // With their lengths, so that no two lists of parts are one text.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let bytes = hash.finalize();
        Self(bytes.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }

    fn of_this_process(origin: &Origin) -> Self {
        let ContainerName { account, database, container, rid } = &*origin.container;
        let mut hasher = process_hash().build_hasher();
        // The service's id of the container is shorter than its names.
        if rid.is_empty() {
            (account, database, container).hash(&mut hasher);
        } else {
            (account, rid).hash(&mut hasher);
        }
        (&origin.partition_key, &origin.id).hash(&mut hasher);
        Self(hasher.finish().into())
    }
}

/// A key as JSON, the same for keys that the service holds for equal: with or without undefined values
/// at its end, and with either zero.
pub(crate) fn key_text(key: &PartitionKey) -> String {
    let defined = key.0.iter().rposition(|value| *value != KeyValue::Undefined);
    let values = key.0.iter().take(defined.map_or(0, |last| last + 1));
    let json = values.map(|value| match value {
        KeyValue::Number(number) => (number + 0.0).into(),
        value => value.to_json(),
    });
    json_text(&serde_json::Value::Array(json.collect()))
}

/// 32 hexadecimal digits.
impl fmt::Display for SourceDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for SourceDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SourceDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A version of a source document, as the target records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceVersion {
    pub(crate) document: SourceDocument,
    /// Log sequence number.
    lsn: Option<i64>,
    /// Place among the changes of one transaction, which share a log sequence number.
    nth: u32,
    /// Seconds since the Unix epoch.
    committed_at: Option<i64>,
}

/// What a change may do to a target document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Write,
    /// The target is later already, or the delete is of another source document.
    Superseded,
    /// The document was written from another source document, and the change may take its place.
    Takeover,
    /// The document was written from another source document, and the change is older.
    Collision,
    /// As above, and the change must not take its place.
    Refused,
    /// As above, and the feed range waits for an operator.
    Held,
}

impl SourceVersion {
    /// The document that it is a version of.
    pub fn document(&self) -> SourceDocument {
        self.document
    }

    /// Its log sequence number, if the service told it.
    pub fn lsn(&self) -> Option<i64> {
        self.lsn
    }

    /// When it was committed, in seconds since the epoch.
    pub fn committed_at(&self) -> Option<i64> {
        self.committed_at
    }

    /// `is_recorded` if the version is compared with one that the target records; else a cheaper number
    /// will do, which no other process knows.
    pub(crate) fn of(change: &Change, is_recorded: bool) -> Self {
        let origin = &change.origin;
        let document = if is_recorded {
            SourceDocument::of(origin)
        } else {
            SourceDocument::of_this_process(origin)
        };
        Self { document, lsn: origin.lsn, nth: origin.nth, committed_at: origin.committed_at }
    }

    /// Whether a change with the version `new` may replace or delete the document of this version.
    pub(crate) fn judge(
        self,
        new: Self,
        operation: &Operation,
        on_collision: OnCollision,
    ) -> Verdict {
        if new.document == self.document {
            return if new.is_older_than(self) { Verdict::Superseded } else { Verdict::Write };
        }
        match (operation, on_collision) {
            // The copy of this source document is gone already.
            (Operation::Delete { .. }, _) => Verdict::Superseded,
            (Operation::Upsert { .. }, OnCollision::DeadLetter) => Verdict::Refused,
            (Operation::Upsert { .. }, OnCollision::Error) => Verdict::Held,
            (Operation::Upsert { .. }, OnCollision::Newest) => {
                let times = new.committed_at.zip(self.committed_at);
                let is_older = times.is_some_and(|(new, old)| new < old);
                if is_older { Verdict::Collision } else { Verdict::Takeover }
            }
        }
    }

    /// True only if number and time agree: numbers can start again after a merge or a restore, and
    /// clocks differ between regions.
    fn is_older_than(self, other: Self) -> bool {
        let number = |version: Self| version.lsn.map(|lsn| (lsn, version.nth));
        number(self).zip(number(other)).is_some_and(|(one, other)| one < other)
            && self.committed_at.zip(other.committed_at).is_some_and(|(one, other)| one <= other)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cosmos_bridge_sink::{Change, KeyValue, PartitionKey};

    use super::{SourceDocument, SourceVersion, Verdict};
    use crate::OnCollision::{self, DeadLetter, Error, Newest};
    use crate::fixtures::{delete, upsert};

    fn with(mut change: Change, lsn: Option<i64>, nth: u32, committed_at: Option<i64>) -> Change {
        let origin = Arc::make_mut(&mut change.origin);
        (origin.lsn, origin.nth, origin.committed_at) = (lsn, nth, committed_at);
        change
    }

    #[test]
    fn a_version_is_older_only_if_number_and_time_agree() {
        let held = with(upsert("a", 0), Some(5), 1, Some(50));
        for (lsn, nth, committed_at, expected) in [
            (Some(4), 0, Some(49), Verdict::Superseded),
            (Some(4), 0, Some(50), Verdict::Superseded),
            (Some(5), 0, Some(50), Verdict::Superseded),
            (Some(5), 1, Some(50), Verdict::Write),
            (Some(6), 0, Some(50), Verdict::Write),
            // Numbers began again; clocks differ.
            (Some(4), 0, Some(51), Verdict::Write),
            (Some(6), 0, Some(49), Verdict::Write),
            (None, 0, Some(49), Verdict::Write),
            (Some(4), 0, None, Verdict::Write),
        ] {
            for change in [upsert("a", 0), delete("a", 0)] {
                let change = with(change, lsn, nth, committed_at);
                let (old, new) = (SourceVersion::of(&held, true), SourceVersion::of(&change, true));
                let verdict = old.judge(new, &change.operation, DeadLetter);
                assert_eq!(verdict, expected, "{:?}", change.origin);
            }
        }
    }

    #[test]
    fn a_copy_of_another_source_document_is_kept_replaced_or_reported() {
        let held = SourceVersion::of(&with(upsert("a", 0), Some(5), 0, Some(50)), true);
        let other = |committed_at| with(upsert("b", 0), Some(1), 0, committed_at);
        let deleted = |committed_at| with(delete("b", 0), Some(1), 0, committed_at);
        let cases: [(Change, OnCollision, Verdict); 9] = [
            (other(Some(51)), Newest, Verdict::Takeover),
            (other(Some(50)), Newest, Verdict::Takeover),
            (other(Some(49)), Newest, Verdict::Collision),
            (other(None), Newest, Verdict::Takeover),
            (other(Some(51)), DeadLetter, Verdict::Refused),
            (other(Some(49)), DeadLetter, Verdict::Refused),
            (other(Some(51)), Error, Verdict::Held),
            (deleted(Some(51)), Newest, Verdict::Superseded),
            (deleted(Some(51)), DeadLetter, Verdict::Superseded),
        ];
        for (change, on_collision, expected) in cases {
            let new = SourceVersion::of(&change, true);
            let verdict = held.judge(new, &change.operation, on_collision);
            assert_eq!(verdict, expected, "{on_collision:?} {change:?}");
        }
    }

    /// The numbers are in targets.
    #[test]
    fn a_source_document_has_one_number_for_ever() {
        let of = |id: &str, key: Vec<KeyValue>| {
            let mut change = upsert(id, 0);
            Arc::make_mut(&mut change.origin).partition_key = PartitionKey(key);
            SourceDocument::of(&change.origin)
        };
        let text = |text: &str| KeyValue::String(text.to_owned());
        assert_eq!(of("a", vec![text("k")]).to_string(), "3ac173af1ca9e7a69363739c56c107a2");
        // Equal for the service.
        let undefined = KeyValue::Undefined;
        assert_eq!(of("a", vec![text("k")]), of("a", vec![text("k"), undefined]));
        assert_eq!(of("a", vec![KeyValue::Number(0.0)]), of("a", vec![KeyValue::Number(-0.0)]));
        let different = [
            of("a", vec![text("k")]),
            of("k", vec![text("a")]),
            of("a", vec![text("1")]),
            of("a", vec![KeyValue::Number(1.0)]),
            of("a", vec![KeyValue::Null]),
            of("a", vec![KeyValue::Undefined]),
            of("a", vec![KeyValue::Undefined, text("k")]),
        ];
        let distinct: std::collections::HashSet<_> = different.iter().collect();
        assert_eq!(distinct.len(), different.len());
    }
}
