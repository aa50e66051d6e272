//! Dead letters of the changes that a pipeline cannot write.

use cosmos_bridge_sink::{Change, Document, KeyValue, Operation, Origin, PartitionKey};
use serde_json::json;

use crate::cosmos::Unreadable;
use crate::deliver::Rejected;
use crate::model::{DeadLetter, Event, FeedRange, Stage};
use crate::route::Rejection;

/// Makes the dead letters of one pipeline.
pub(super) struct DeadLetters {
    pub(super) pipeline: String,
    /// `account/database/container` of the source.
    pub(super) source: String,
    /// The names of the sinks.
    pub(super) sinks: Vec<String>,
}

impl DeadLetters {
    /// A change of this feed range that the route could not map, as it was read.
    pub(super) fn unroutable(&self, range: &FeedRange, rejection: Rejection) -> DeadLetter {
        let operation = rejection.change.event.name();
        let (document, previous) = match rejection.change.event {
            Event::Upsert { current, previous, .. } => (Some(current), previous),
            Event::Delete { previous, .. } => (previous, None),
        };
        DeadLetter {
            operation,
            document: text(document.as_ref()),
            previous: image_text(previous.as_ref()),
            unparsed: document.as_ref().and_then(Document::unparsed_text),
            target: rejection.route.to_string(),
            ..self
                .addressed(rejection.sink, Stage::Route, rejection.reason)
                .of(&rejection.change.origin, range)
        }
    }

    /// A change that cannot be parsed, for each sink. `page_lsn` is the number of its page, where it has
    /// none of its own.
    pub(super) fn unreadable(
        &self,
        range: &FeedRange,
        unreadable: &Unreadable,
        page_lsn: Option<i64>,
    ) -> Vec<(usize, DeadLetter)> {
        let Unreadable { cause, origin, operation, document } = unreadable;
        let letter = |sink| DeadLetter {
            operation,
            unparsed: Some(document.clone()),
            lsn: origin.lsn.or(page_lsn),
            ..self.addressed(sink, Stage::Read, cause.clone()).of(origin, range)
        };
        (0..self.sinks.len()).map(|sink| (sink, letter(sink))).collect()
    }

    /// A change of this feed range that a sink will never take, as it was given to the sink.
    pub(super) fn refused(&self, sink: usize, range: &FeedRange, rejected: Rejected) -> DeadLetter {
        let Change { id, partition_key, operation, previous, origin, .. } = rejected.change;
        let name = operation.name();
        let (document, previous) = match operation {
            Operation::Upsert { document } => (Some(document), previous),
            Operation::Delete { .. } => (previous, None),
        };
        DeadLetter {
            operation: name,
            document: text(document.as_deref()),
            previous: image_text(previous.as_deref()),
            unparsed: document.as_deref().and_then(Document::unparsed_text),
            target: format!("[{},{}]", key_text(&partition_key), json!(id)),
            ..self.addressed(sink, Stage::Sink, rejected.reason).of(&origin, range)
        }
    }

    /// A letter with nothing but its address.
    fn addressed(&self, sink: usize, stage: Stage, cause: String) -> DeadLetter {
        DeadLetter {
            pipeline: self.pipeline.clone(),
            sink: self.sinks[sink].clone(),
            stage,
            cause,
            source: self.source.clone(),
            source_id: String::new(),
            source_key: "[]".to_owned(),
            range_min: String::new(),
            lsn: None,
            nth: 0,
            target: String::new(),
            committed_at: None,
            operation: "upsert",
            document: None,
            previous: None,
            unparsed: None,
        }
    }
}

/// The text of a document; `None` if it cannot be parsed as a whole: then its bytes are kept instead.
fn text(document: Option<&Document>) -> Option<String> {
    let document = document.filter(|document| document.unparsed_cause().is_none())?;
    serde_json::to_string(document).ok()
}

/// The text of the document before a change, which has no column for bytes; `None` if it is no JSON.
fn image_text(image: Option<&Document>) -> Option<String> {
    serde_json::to_string(image?).ok()
}

fn key_text(key: &PartitionKey) -> String {
    serde_json::Value::Array(key.0.iter().map(KeyValue::to_json).collect()).to_string()
}

impl DeadLetter {
    /// Adds the change's document and the time when it was made.
    fn of(self, origin: &Origin, range: &FeedRange) -> Self {
        // A change that is read again after a split is the same letter, so its range is not part of it.
        let is_named = !origin.id.is_empty() && !origin.partition_key.0.is_empty();
        Self {
            range_min: if is_named { String::new() } else { range.min.clone() },
            source_id: origin.id.clone(),
            source_key: key_text(&origin.partition_key),
            lsn: origin.lsn,
            nth: origin.nth,
            committed_at: origin.committed_at,
            ..self
        }
    }
}
