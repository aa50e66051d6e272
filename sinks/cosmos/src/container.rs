//! The interface of a container, as the sink uses it.

use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::{Document, PartitionKey, RequestUnits, SinkError};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::source_version::{SourceDocument, SourceVersion};

/// A document as the target gets it: the document of the change, the field that records where it comes
/// from, if the sink has one, and the rest of its lifetime. Both take the place of fields with their names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Content<'a> {
    pub document: &'a Document,
    pub source: Option<(&'a str, SourceVersion)>,
    /// The `ttl` instead of the document's, in seconds.
    pub ttl: Option<i64>,
}

/// A document of a sink that does not record the source.
impl<'a> From<&'a Document> for Content<'a> {
    fn from(document: &'a Document) -> Self {
        Self { document, source: None, ttl: None }
    }
}

/// Fails if the document is not JSON.
impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.text();
        let text: &RawValue = serde_json::from_slice(&text).map_err(S::Error::custom)?;
        text.serialize(serializer)
    }
}

impl Content<'_> {
    /// True if a member of this name is not taken from the document of the change.
    fn replaces(&self, name: &str) -> bool {
        self.source.is_some_and(|(field, _)| field == name) || (self.ttl.is_some() && name == "ttl")
    }

    /// The text that the target gets.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.append_text(&mut text);
        text
    }

    /// Appends the text that the target gets.
    pub fn append_text(&self, text: &mut Vec<u8>) {
        if self.source.is_none() && self.ttl.is_none() {
            return self.document.append_text(text);
        }
        let begin = text.len();
        self.document.append_text_without(text, Some(&|name| self.replaces(name)));
        let mut put = |name: &str, value: serde_json::Result<Value>| {
            // The closing brace.
            text.pop();
            if text.len() > begin + 1 {
                text.push(b',');
            }
            // The texts of a string and of a value cannot fail.
            text.extend(serde_json::to_vec(name).unwrap_or_default());
            text.push(b':');
            text.extend(serde_json::to_vec(&value.unwrap_or_default()).unwrap_or_default());
            text.push(b'}');
        };
        if let Some((field, version)) = &self.source {
            put(field, serde_json::to_value(version));
        }
        if let Some(ttl) = self.ttl {
            put("ttl", Ok(ttl.into()));
        }
    }

    /// The text of a document that cannot be parsed as a whole. `None` if it can: then it is what this
    /// type serializes to.
    pub fn unparsed_text(&self) -> Option<Vec<u8>> {
        self.document.has_unparsed().then(|| self.text())
    }
}

/// One write of one document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Write<'a> {
    Upsert(Content<'a>),
    /// Refused with 409 if the document exists.
    Create(Content<'a>),
    /// Refused with 404 if the document does not exist, and with 412 if it has another `ETag`.
    Replace {
        content: Content<'a>,
        if_match: Option<&'a str>,
    },
    /// Refused as [`Self::Replace`] is.
    Delete {
        if_match: Option<&'a str>,
    },
}

impl Write<'_> {
    /// The `ETag` that the document has to have. With one, the write has an effect at most once, however
    /// often it is executed: an `ETag` does not come back.
    pub fn if_match(&self) -> Option<&str> {
        match self {
            Self::Upsert(_) | Self::Create(_) => None,
            Self::Replace { if_match, .. } | Self::Delete { if_match } => *if_match,
        }
    }
}

/// The service's answer to one write, an error included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub sub_status: u32,
    pub charge: RequestUnits,
    pub retry_after: Option<Duration>,
    /// The text of the service for operators; holds no document.
    pub message: String,
    /// The `ETag` of the document that was written.
    pub etag: Option<String>,
    /// An attempt may have reached the service and was not answered: the service may still execute it,
    /// also after a later attempt was answered.
    pub is_unanswered: bool,
}

/// The service's answer to a transactional batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchAnswer {
    /// The answer to the whole batch; 207 if the parts state the failure.
    pub whole: Answer,
    /// One answer for each write, in order; empty if the whole batch was refused.
    pub parts: Vec<Answer>,
}

/// A write as part of a request that holds writes of many partition keys.
#[derive(Clone, Debug)]
pub struct Operation<'a> {
    pub kind: OperationKind,
    pub partition_key: &'a PartitionKey,
    pub id: &'a str,
    /// None for a delete.
    pub content: Option<Content<'a>>,
    /// The `ETag` that the document in the container has to have.
    pub if_match: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    Create,
    Upsert,
    Replace,
    Delete,
}

impl<'a> Operation<'a> {
    /// A write with the content of a document, which may live longer than the write. `None` if the document
    /// cannot be parsed: then the service could not read the others either.
    pub fn of(
        partition_key: &'a PartitionKey,
        id: &'a str,
        content: Option<Content<'a>>,
        write: Write<'_>,
    ) -> Option<Self> {
        let kind = match write {
            Write::Create(_) => OperationKind::Create,
            Write::Upsert(_) => OperationKind::Upsert,
            Write::Replace { .. } => OperationKind::Replace,
            Write::Delete { .. } => OperationKind::Delete,
        };
        let content = content.filter(|_| kind != OperationKind::Delete);
        if content.is_some_and(|content| content.document.has_unparsed()) {
            return None;
        }
        let if_match = write.if_match().map(str::to_owned);
        Some(Self { kind, partition_key, id, content, if_match })
    }
}

/// The answers to operations that share requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BulkAnswer {
    /// The answers to the requests that were sent, with what all their operations cost.
    pub requests: Vec<Answer>,
    /// One for each operation, in order. `None` where the operation has to be sent alone: it was not
    /// executed, or how it ended cannot be read; nothing of it is under way.
    pub parts: Vec<Option<Answer>>,
}

/// A document that the target has.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDocument {
    pub id: String,
    pub partition_key: PartitionKey,
    pub etag: String,
    /// What the field that records the source document holds; none without the field.
    pub version: Option<SourceVersion>,
}

/// The service's answer to a read, an error included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// With the charge of all requests.
    pub answer: Answer,
    pub requests: usize,
    /// Empty if nothing was found, or if the answer is an error.
    pub documents: Vec<StoredDocument>,
}

/// The service's answer to the read of a whole document, an error included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FoundDocument {
    /// With the charge of all requests. A document that is not there is no error.
    pub answer: Answer,
    pub requests: usize,
    /// As the service returns it, with its properties.
    pub document: Option<Document>,
}

/// One container of one account. Sends each request once, and does not ask for the document in the
/// answer.
#[async_trait]
pub trait Container: Send + Sync {
    async fn write(&self, key: &PartitionKey, id: &str, write: Write<'_>) -> Answer;

    /// The time to live of documents without their own, in seconds: none if documents do not expire, -1
    /// if only those with a `ttl` do.
    fn default_ttl(&self) -> Option<i64>;

    /// The documents of one partition key with these ids. `field` is the one that records the source
    /// document.
    async fn read(&self, key: &PartitionKey, ids: &[&str], field: Option<&str>) -> Found;

    /// One document. Asks as many replicas as it takes to know of every write that was answered.
    async fn read_latest(&self, key: &PartitionKey, id: &str) -> Found;

    /// One document with all its fields. Asks as many replicas as [`Self::read_latest`].
    async fn document(&self, key: &PartitionKey, id: &str) -> FoundDocument;

    /// The documents of all partition keys whose `field` records one of these source documents. Asks
    /// as many replicas as it takes to know of every write that was answered.
    async fn copies(&self, field: &str, of: &[SourceDocument]) -> Found;

    /// Makes all writes or none. The service accepts at most 100 writes and 2 MiB.
    async fn batch(&self, key: &PartitionKey, writes: &[(&str, Write<'_>)]) -> BatchAnswer;

    /// Makes each write by itself, and sends those of one physical partition in as few requests as the
    /// service allows. The writes are of different documents.
    async fn bulk(&self, operations: Vec<Operation<'_>>) -> BulkAnswer;

    /// Proves that the container can be reached and read, without writing.
    async fn check(&self) -> Result<(), SinkError>;
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_sink::{Document, KeyValue, PartitionKey};
    use serde_json::json;

    use super::{Content, Operation, OperationKind, Write};

    #[test]
    fn an_operation_holds_what_its_write_says() {
        let document: Document = json!({"id": "1", "ttl": 9}).as_object().unwrap().clone().into();
        let plain = Content::from(&document);
        let shorter = Content { ttl: Some(4), ..plain };
        let key = PartitionKey(vec![KeyValue::Null]);
        let replace = Write::Replace { content: plain, if_match: Some("e") };
        for (write, content, kind, etag) in [
            (Write::Create(plain), Some(plain), OperationKind::Create, None),
            (Write::Upsert(shorter), Some(shorter), OperationKind::Upsert, None),
            (replace, Some(plain), OperationKind::Replace, Some("e")),
            (Write::Delete { if_match: Some("e") }, None, OperationKind::Delete, Some("e")),
            (Write::Delete { if_match: None }, None, OperationKind::Delete, None),
        ] {
            let operation = Operation::of(&key, "1", content, write).unwrap();
            assert_eq!((operation.kind, operation.partition_key), (kind, &key));
            assert_eq!(operation.content, content);
            assert_eq!(operation.if_match.as_deref(), etag);
        }
    }

    #[test]
    fn a_document_that_cannot_be_parsed_shares_no_request() {
        let document = Document::parse(br#"{"id":"1","n":1e400}"#).unwrap();
        let key = PartitionKey(vec![KeyValue::Null]);
        let content = Content::from(&document);
        assert!(Operation::of(&key, "1", Some(content), Write::Upsert(content)).is_none());
    }
}
