//! The entry of a conflict in its log.

use async_trait::async_trait;
use cosmos_bridge_sink::{Document, KeyValue, SinkError};
use serde_json::{Value, json};

use super::decision::Winner;
use super::record::{Place, Stored};
use super::version::{ContentHash, Version};
use crate::Answer;
use crate::source_version::key_text;

/// Where conflicts are logged.
#[async_trait]
pub trait ConflictLog: Send + Sync {
    /// Creates a document. Its partition key is its id. Answered with 409 if it is there already.
    async fn create(&self, id: &str, entry: &Document) -> Answer;

    /// Proves that the log can be reached, without writing.
    async fn check(&self) -> Result<(), SinkError>;
}

/// A conflict that is decided, with both documents.
pub(super) struct Conflict<'a> {
    pub(super) sink: &'a str,
    pub(super) place: Place<'a>,
    pub(super) winner: Winner,
    /// What came in: the document, or the one that was deleted; `None` if the feed does not have that.
    pub(super) source: Option<&'a Stored>,
    pub(super) is_delete: bool,
    /// Log sequence number of what came in.
    pub(super) lsn: i64,
    pub(super) target: &'a Stored,
    /// In seconds since the Unix epoch.
    pub(super) decided_at: i64,
}

impl Conflict<'_> {
    /// The same at each repetition: made of the names of both versions.
    pub(super) fn id(&self) -> String {
        let source = match self.source {
            Some(stored) => stored.version.name().to_owned(),
            None => self.lsn.to_string(),
        };
        let kind = if self.is_delete { "delete" } else { "upsert" };
        let target = self.target.version.name();
        let Place { id, .. } = self.place;
        let mut text = Vec::new();
        for part in [kind, &key_text(self.place.partition_key), id, &source, target] {
            // With their lengths, so that no two lists of parts are one text.
            text.extend((part.len() as u64).to_be_bytes());
            text.extend(part.as_bytes());
        }
        format!("{:032x}", ContentHash::of(&text).0)
    }

    /// With both documents, or with that of the loser alone: both may be too large for one document.
    /// `None` cannot happen: the text is that of an object.
    pub(super) fn entry(&self, is_whole: bool) -> Option<Document> {
        let is_left_out = |winner| !is_whole && self.winner == winner;
        let winner = match self.winner {
            Winner::Incoming => "source",
            Winner::Target => "target",
        };
        let key: Vec<_> = self.place.partition_key.0.iter().map(KeyValue::to_json).collect();
        let mut text = Vec::new();
        let head = json!({
            "id": self.id(), "sink": self.sink, "winner": winner, "decidedAt": self.decided_at,
            "document": {"id": self.place.id, "partitionKey": key},
        });
        open(&mut text, &head);
        text.extend_from_slice(b",\"source\":");
        side(&mut text, self.source, self.is_delete, is_left_out(Winner::Incoming));
        text.extend_from_slice(b",\"target\":");
        side(&mut text, Some(self.target), false, is_left_out(Winner::Target));
        text.push(b'}');
        Document::parse(&text).ok()
    }
}

/// An object without its closing brace.
fn open(text: &mut Vec<u8>, object: &Value) {
    text.extend_from_slice(object.to_string().as_bytes());
    text.pop();
}

fn side(text: &mut Vec<u8>, stored: Option<&Stored>, is_deleted: bool, is_left_out: bool) {
    let version = stored.map(|stored| &stored.version);
    let about = json!({
        "etag": version.map(|version| version.etag.as_str()),
        "changedAt": version.map(Version::changed_at),
        "deleted": is_deleted,
        "documentLeftOut": is_left_out,
    });
    open(text, &about);
    if let Some(stored) = stored.filter(|_| !is_left_out) {
        text.extend_from_slice(b",\"document\":");
        // As text: it may hold what no parser accepts.
        stored.document.append_text(text);
    }
    text.push(b'}');
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_sink::{Document, KeyValue, PartitionKey};
    use serde_json::json;

    use super::Conflict;
    use crate::mirror::record::{Place, Stored};
    use crate::mirror::{ContentHash, Version, Winner};

    fn stored(etag: &str, text: &[u8]) -> Stored {
        let content = ContentHash::of(text);
        let version = Version { etag: etag.to_owned(), committed_at: 7, content, stamp: None };
        Stored { version, document: Document::parse(text).unwrap() }
    }

    #[test]
    fn an_entry_has_both_documents_or_at_least_that_of_the_loser() {
        let key = PartitionKey(vec![KeyValue::String("k".to_owned())]);
        let place = Place { partition_key: &key, id: "1", field: "_mirror" };
        let (source, target) = (stored("s", br#"{"id":"1","n":1}"#), stored("t", br#"{"id":"1"}"#));
        let conflict = Conflict {
            sink: "west",
            place,
            winner: Winner::Incoming,
            source: Some(&source),
            is_delete: false,
            lsn: 9,
            target: &target,
            decided_at: 8,
        };
        let value = |entry: Option<Document>| serde_json::Value::Object(entry.unwrap().fields());
        let whole = value(conflict.entry(true));
        assert_eq!(
            whole,
            json!({
                "id": conflict.id(), "sink": "west", "winner": "source", "decidedAt": 8,
                "document": {"id": "1", "partitionKey": ["k"]},
                "source": {"etag": "s", "changedAt": 7, "deleted": false, "documentLeftOut": false,
                    "document": {"id": "1", "n": 1}},
                "target": {"etag": "t", "changedAt": 7, "deleted": false, "documentLeftOut": false,
                    "document": {"id": "1"}},
            })
        );
        let short = value(conflict.entry(false));
        assert_eq!(short["source"]["documentLeftOut"], true);
        assert_eq!(short["source"].get("document"), None);
        assert_eq!(short["target"], whole["target"]);
    }

    #[test]
    fn an_entry_is_named_by_both_versions() {
        let key = PartitionKey(vec![KeyValue::Null]);
        let place = Place { partition_key: &key, id: "1", field: "_mirror" };
        let stored = ["s", "t", "u"].map(|etag| stored(etag, b"{}"));
        let [s, t, u] = &stored;
        let id = |source, is_delete, target, decided_at| {
            let (sink, lsn, winner) = ("west", 9, Winner::Target);
            Conflict { sink, place, winner, source, is_delete, lsn, target, decided_at }.id()
        };
        let one = id(Some(s), false, t, 1);
        assert_eq!(one, id(Some(s), false, t, 2));
        for other in [id(Some(s), false, u, 1), id(Some(u), false, t, 1), id(Some(s), true, t, 1)] {
            assert_ne!(one, other);
        }
        assert_ne!(id(None, true, t, 1), id(Some(s), true, t, 1));
    }
}
