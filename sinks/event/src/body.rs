//! The body of a message.

use cosmos_bridge_sink::{Change, Document, KeyValue, Operation, PartitionKey, number};
use serde::Serialize;
use serde_json::Value;

use crate::attributes::time;
use crate::identity::{Label, reference};
use crate::object::{Object, append_json};
use crate::{Data, attributes};

/// The data of an event, written directly into the body.
pub(crate) enum Content<'c> {
    Document(&'c Document),
    Envelope(Envelope<'c>),
    /// The reference to a document that is too large for the event.
    Reference(Reference<'c>),
}

pub(crate) struct Envelope<'c> {
    event_id: String,
    operation: &'static str,
    before: Option<&'c Document>,
    /// Null for a delete, and if `dataref` refers to the document.
    after: Option<&'c Document>,
    dataref: Option<String>,
    id: &'c str,
    partition_key: Vec<Value>,
    source: Origin<'c>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Origin<'c> {
    account: &'c str,
    database: &'c str,
    container: &'c str,
    container_id: &'c str,
    id: &'c str,
    partition_key: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lsn: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    committed_at: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reference<'c> {
    id: &'c str,
    partition_key: Vec<Value>,
    dataref: String,
}

fn values(key: &PartitionKey) -> Vec<Value> {
    let value = |value: &KeyValue| match value {
        KeyValue::Number(value) => number(*value),
        other => other.to_json(),
    };
    key.0.iter().map(value).collect()
}

impl<'c> Content<'c> {
    /// `None` if there is no data.
    pub(crate) fn of(data: Data, change: &'c Change, label: &Label<'_>) -> Option<Self> {
        match (data, &change.operation) {
            (Data::Envelope, _) => Some(Self::Envelope(Envelope::of(change, label, false))),
            (Data::Document, Operation::Upsert { document }) => Some(Self::Document(document)),
            (Data::Document, Operation::Delete { .. }) => None,
        }
    }

    /// The data of a claim check, without a document.
    pub(crate) fn claim_check(data: Data, change: &'c Change, label: &Label<'_>) -> Self {
        match data {
            Data::Envelope => Self::Envelope(Envelope::of(change, label, true)),
            Data::Document => Self::Reference(Reference {
                id: &change.id,
                partition_key: values(&change.partition_key),
                dataref: reference(change),
            }),
        }
    }
}

impl<'c> Envelope<'c> {
    fn of(change: &'c Change, label: &Label<'_>, is_claim_check: bool) -> Self {
        let origin = &change.origin;
        let after = match &change.operation {
            Operation::Upsert { document } => Some(&**document),
            Operation::Delete { .. } => None,
        };
        Self {
            event_id: label.id(),
            operation: change.event_name(),
            before: change.previous.as_deref().filter(|_| !is_claim_check),
            after: after.filter(|_| !is_claim_check),
            dataref: is_claim_check.then(|| reference(change)),
            id: &change.id,
            partition_key: values(&change.partition_key),
            source: Origin {
                account: &origin.container.account,
                database: &origin.container.database,
                container: &origin.container.container,
                container_id: &origin.container.rid,
                id: &origin.id,
                partition_key: values(&origin.partition_key),
                lsn: origin.lsn,
                committed_at: time(change),
            },
        }
    }
}

impl Content<'_> {
    pub(crate) fn append_to(&self, text: &mut Vec<u8>) {
        match self {
            Self::Document(document) => document.append_text(text),
            Self::Envelope(envelope) => envelope.append_to(text),
            Self::Reference(reference) => append_json(reference, text),
        }
    }
}

impl Envelope<'_> {
    fn append_to(&self, text: &mut Vec<u8>) {
        let mut object = Object::open(text);
        object.member("eventId", &self.event_id);
        object.member("operation", self.operation);
        if let Some(before) = self.before {
            object.written("before", |text| before.append_text(text));
        }
        match self.after {
            Some(after) => object.written("after", |text| after.append_text(text)),
            None => object.member("after", &()),
        }
        if let Some(reference) = &self.dataref {
            object.member("dataref", reference);
        }
        object.member("id", self.id);
        object.member("partitionKey", &self.partition_key);
        object.member("source", &self.source);
        object.close();
    }
}

/// A `CloudEvent` in the JSON format.
///
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>
pub(crate) struct Structured<'c> {
    pub(crate) change: &'c Change,
    pub(crate) label: &'c Label<'c>,
    pub(crate) data: Option<Content<'c>>,
    pub(crate) is_claim_check: bool,
}

impl Structured<'_> {
    pub(crate) fn append_to(&self, text: &mut Vec<u8>) {
        let mut object = Object::open(text);
        for (name, value) in attributes::cloud_event(self.change, self.label, self.is_claim_check) {
            object.member(name, &*value);
        }
        if let Some(data) = &self.data {
            object.member("datacontenttype", "application/json");
            object.written("data", |text| data.append_to(text));
        }
        object.close();
    }
}
