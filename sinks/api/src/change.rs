//! The change that a sink gets.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::{Document, Trace, number};

/// The properties that the service adds at the top level of every document. The bridge removes them
/// before routing. `ttl` is not one of them: it belongs to the user.
pub const SYSTEM_PROPERTIES: [&str; 5] = ["_attachments", "_etag", "_rid", "_self", "_ts"];

/// One change to one document, already addressed to its target.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The document's id in the target.
    pub id: String,
    /// The document's partition key in the target, after any remap.
    pub partition_key: PartitionKey,
    pub operation: Operation,
    /// The document before the change, if the feed has it and the sink needs it.
    pub previous: Option<Arc<Document>>,
    /// Where the change was read, for consumers and dead letters.
    pub origin: Arc<Origin>,
    /// Copies of the source document that have to go, after the write of this change.
    pub old_copies: OldCopies,
}

/// The copies of a source document at other places of the target, which its key or id led to before the
/// change. Only for targets that hold documents, not events.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OldCopies {
    /// At no place that the change tells.
    #[default]
    None,
    /// The document is new.
    Nowhere,
    /// The copy at this place.
    At(Box<Place>),
    /// Wherever they are: the feed does not tell. The target finds them by the source document that it
    /// records with each copy. A delete of this kind has the source document's id and an empty key,
    /// because its own place is not known either.
    Anywhere,
}

/// Id and partition key of a document in the target.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub id: String,
    pub partition_key: PartitionKey,
}

/// Identifies a document among all that one sink writes: of several containers, which may hold
/// documents of equal key and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DocumentId<'c> {
    pub id: &'c str,
    pub partition_key: &'c PartitionKey,
    pub container: &'c ContainerName,
}

impl Change {
    /// The document that changes, as it is addressed in the target.
    pub fn document_id(&self) -> DocumentId<'_> {
        let container = &self.origin.container;
        DocumentId { id: &self.id, partition_key: &self.partition_key, container }
    }

    /// What an event calls the change: `upsert`, `delete` or `expire`, and `snapshot` for a document that was
    /// there when the pipeline first started.
    pub fn event_name(&self) -> &'static str {
        match &self.operation {
            Operation::Upsert { .. } if self.origin.is_snapshot => "snapshot",
            operation => operation.name(),
        }
    }

    /// True if id and key are those of the document in the source.
    pub fn is_as_read(&self) -> bool {
        self.id == self.origin.id && self.partition_key == self.origin.partition_key
    }
}

/// The operation on the document in the target.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// The document exists with this content, `id` and key fields included.
    Upsert { document: Arc<Document> },
    /// The document no longer exists; `expired` if its time to live ran out.
    Delete { expired: bool },
}

impl Operation {
    /// `upsert`, `delete` or `expire`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Upsert { .. } => "upsert",
            Self::Delete { expired: false } => "delete",
            Self::Delete { expired: true } => "expire",
        }
    }
}

/// The account, database and container a change was read from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerName {
    pub account: String,
    pub database: String,
    pub container: String,
    /// The service's id of the container: another one if the container was deleted and created again
    /// with the same name. Empty where only the names are known.
    pub rid: String,
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.account, self.database, self.container)
    }
}

/// Where a change was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    pub container: Arc<ContainerName>,
    /// The document's id in the source.
    pub id: String,
    /// The document's partition key in the source.
    pub partition_key: PartitionKey,
    /// The log sequence number, where the service tells it. For people and deduplication only:
    /// it means something only inside one physical partition.
    pub lsn: Option<i64>,
    /// Which change of its document it is among those of one transaction, which share a log sequence
    /// number: 0 for the first, and nearly always.
    pub nth: u32,
    /// When the change was committed, in whole seconds since the Unix epoch.
    pub committed_at: Option<i64>,
    /// When the document expires; `None` if the source container expires no documents.
    pub expiry: Option<Expiry>,
    /// True for a document that was there when the pipeline first started, and was read before the changes
    /// since.
    pub is_snapshot: bool,
    /// `None` where the change is not traced.
    pub trace: Option<Trace>,
}

/// When a document expires in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// In seconds since the Unix epoch; `None` if it never does.
    pub at: Option<i64>,
    /// The document's own `ttl`, in seconds. A route may change it.
    pub ttl: Option<i64>,
}

/// The one to three values of a partition key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PartitionKey(pub Vec<KeyValue>);

impl PartitionKey {
    /// The one value where it is a string; anything else as a JSON array, in which an undefined
    /// value is an empty object.
    pub fn text(&self) -> String {
        match self.0.as_slice() {
            [KeyValue::String(text)] => text.clone(),
            values => {
                let value = |value: &KeyValue| match value {
                    KeyValue::Number(value) => number(*value),
                    other => other.to_json(),
                };
                serde_json::Value::Array(values.iter().map(value).collect()).to_string()
            }
        }
    }
}

/// One value of a partition key, of a type that the service allows.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyValue {
    String(String),
    Number(f64),
    Bool(bool),
    Null,
    /// The document does not have the field. This differs from null.
    Undefined,
}

/// The numbers of a key are finite, and compared as the service does, so equality is total.
impl Eq for KeyValue {}

impl Hash for KeyValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::String(text) => text.hash(state),
            // Zero and minus zero are equal.
            Self::Number(number) => (number + 0.0).to_bits().hash(state),
            Self::Bool(truth) => truth.hash(state),
            Self::Null | Self::Undefined => {}
        }
    }
}

impl KeyValue {
    /// As JSON; undefined is an empty object there, as on the wire.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::String(text) => text.as_str().into(),
            Self::Number(number) => (*number).into(),
            Self::Bool(truth) => (*truth).into(),
            Self::Null => serde_json::Value::Null,
            Self::Undefined => serde_json::Value::Object(serde_json::Map::new()),
        }
    }

    /// The key value of a field; `None` if the service allows no such key (objects and arrays).
    pub fn from_json(value: Option<&serde_json::Value>) -> Option<Self> {
        use serde_json::Value;
        Some(match value {
            None => Self::Undefined,
            Some(Value::Null) => Self::Null,
            Some(Value::Bool(b)) => Self::Bool(*b),
            Some(Value::Number(n)) => Self::Number(n.as_f64()?),
            Some(Value::String(s)) => Self::String(s.clone()),
            Some(Value::Array(_) | Value::Object(_)) => return None,
        })
    }
}
