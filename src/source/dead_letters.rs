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
    let document = document.filter(|document| !document.has_unparsed())?;
    String::from_utf8(document.text()).ok()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cosmos_bridge_sink::{ContainerName, OldCopies};

    use super::*;
    use crate::model::SourceChange;

    const BEFORE: &str = r#"{"id":"1","k":"x","n":1}"#;
    const AFTER: &str = r#"{"id":"1","k":"x","n":2}"#;

    fn letters() -> DeadLetters {
        let name = |text: &str| text.to_owned();
        DeadLetters {
            pipeline: name("orders"),
            source: name("a/d/c"),
            sinks: vec![name("copy"), name("events")],
        }
    }

    fn range() -> FeedRange {
        FeedRange { min: "3F".to_owned(), max: "7F".to_owned() }
    }

    fn origin(id: &str, key: &[KeyValue]) -> Origin {
        Origin {
            container: Arc::new(ContainerName {
                account: "a".to_owned(),
                database: "d".to_owned(),
                container: "c".to_owned(),
                rid: "rid".to_owned(),
            }),
            id: id.to_owned(),
            partition_key: PartitionKey(key.to_vec()),
            lsn: Some(7),
            committed_at: Some(1_700_000_000),
            nth: 2,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }
    }

    fn document(text: &str) -> Document {
        let document: serde_json::Value = serde_json::from_str(text).unwrap();
        document.as_object().unwrap().clone().into()
    }

    fn key() -> [KeyValue; 2] {
        [KeyValue::String("x".to_owned()), KeyValue::Undefined]
    }

    /// The document, and the one before it.
    fn images(letter: &DeadLetter) -> (Option<&str>, Option<&str>) {
        (letter.document.as_deref(), letter.previous.as_deref())
    }

    #[test]
    fn a_refused_change_is_kept_with_its_images_and_both_its_places() {
        let upsert = || Operation::Upsert { document: Arc::new(document(AFTER)) };
        let delete = || Operation::Delete { expired: false };
        let before = || Some(Arc::new(document(BEFORE)));
        for (operation, previous, expected) in [
            (upsert(), None, (Some(AFTER), None)),
            (upsert(), before(), (Some(AFTER), Some(BEFORE))),
            (delete(), None, (None, None)),
            (delete(), before(), (Some(BEFORE), None)),
        ] {
            let change = Change {
                id: "2".to_owned(),
                partition_key: PartitionKey(vec![KeyValue::Number(7.5), KeyValue::Null]),
                operation,
                previous,
                origin: Arc::new(origin("1", &key())),
                old_copies: OldCopies::None,
            };
            let rejected = Rejected { change, reason: "too large".to_owned() };
            let letter = letters().refused(1, &range(), rejected);
            assert_eq!(images(&letter), expected, "{letter:?}");
            assert_eq!((letter.sink.as_str(), letter.cause.as_str()), ("events", "too large"));
            assert_eq!(
                (letter.source_id.as_str(), letter.source_key.as_str()),
                ("1", r#"["x",{}]"#)
            );
            assert_eq!(letter.target, r#"[[7.5,null],"2"]"#);
            assert_eq!(
                (letter.lsn, letter.nth, letter.committed_at),
                (Some(7), 2, Some(1_700_000_000))
            );
        }
    }

    #[test]
    fn a_change_without_a_route_is_kept_with_the_images_that_were_read() {
        let upsert = |previous| Event::Upsert { current: document(AFTER), previous, is_new: false };
        let delete = |previous| Event::Delete { previous, expired: true };
        let before = || Some(document(BEFORE));
        for (event, expected) in [
            (upsert(None), (Some(AFTER), None)),
            (upsert(before()), (Some(AFTER), Some(BEFORE))),
            (delete(None), (None, None)),
            (delete(before()), (Some(BEFORE), None)),
        ] {
            let change = SourceChange { origin: Arc::new(origin("1", &key())), event };
            let reason = "no key".to_owned();
            let rejection = Rejection { route: 3, sink: 0, reason, change };
            let letter = letters().unroutable(&range(), rejection);
            assert_eq!(images(&letter), expected, "{letter:?}");
            assert_eq!((letter.sink.as_str(), letter.target.as_str()), ("copy", "3"));
            assert_eq!(
                (letter.source_id.as_str(), letter.source_key.as_str()),
                ("1", r#"["x",{}]"#)
            );
        }
    }

    /// The range is part of the letter only where nothing else tells changes of two ranges apart: after a split
    /// the same change is the same letter.
    #[test]
    fn the_range_is_kept_only_of_a_change_that_id_and_key_do_not_name() {
        let (named, text) = (key(), b"{".to_vec());
        for (id, key, range_min) in
            [("1", &named[..], ""), ("", &named, "3F"), ("1", &[], "3F"), ("", &[], "3F")]
        {
            let (origin, document) = (origin(id, key), text.clone());
            let cause = "no JSON".to_owned();
            let unreadable = Unreadable { cause, origin, operation: "upsert", document };
            let all = letters().unreadable(&range(), &unreadable, None);
            let sinks: Vec<_> = all.iter().map(|(sink, letter)| (*sink, &*letter.sink)).collect();
            assert_eq!(sinks, [(0, "copy"), (1, "events")]);
            for (_, letter) in &all {
                assert_eq!(letter.range_min, range_min, "{id:?} {key:?}");
                assert_eq!(letter.unparsed.as_deref(), Some(&*text));
            }
        }
    }
}
