//! The events that a broker has, against the documents of the source.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::Failure;

/// An event as an independent client read it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Where the broker has it.
    pub(crate) place: String,
    /// Of the message: what the broker partitions or routes by.
    pub(crate) key: String,
    /// Of the event: the same when it is repeated.
    pub(crate) id: String,
    /// Such as an upsert.
    pub(crate) kind: String,
    /// The document, as JSON.
    pub(crate) body: String,
}

/// Numbers of events and of the source's documents.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) events: usize,
    /// Events with the id of an earlier one.
    pub(crate) repeated: usize,
    /// Documents whose last event holds what the source has.
    pub(crate) newest: usize,
    /// Documents whose last event holds something else.
    pub(crate) older: usize,
    /// Documents without an event.
    pub(crate) missing: usize,
    /// Documents of events that the source does not have.
    pub(crate) unknown: usize,
}

impl Tally {
    /// `events` in the broker's order per document; `documents` as JSON texts, each with its `id`.
    pub(crate) fn of(events: &[Event], documents: &[String]) -> Result<Self, Failure> {
        let mut tally = Self { events: events.len(), ..Self::default() };
        let (mut ids, mut last) = (HashSet::new(), HashMap::new());
        for event in events {
            if !ids.insert(event.id.as_str()) {
                tally.repeated += 1;
            }
            let document: Value = serde_json::from_str(&event.body)?;
            last.insert(id_of(&document)?, document);
        }
        for text in documents {
            let document: Value = serde_json::from_str(text)?;
            let count = match last.remove(&id_of(&document)?) {
                Some(found) if found == document => &mut tally.newest,
                Some(_) => &mut tally.older,
                None => &mut tally.missing,
            };
            *count += 1;
        }
        tally.unknown = last.len();
        Ok(tally)
    }

    /// Every document was published in its newest version last, and no other document was.
    pub(crate) fn is_complete(&self) -> bool {
        self.newest > 0 && self.older == 0 && self.missing == 0 && self.unknown == 0
    }
}

fn id_of(document: &Value) -> Result<String, Failure> {
    let id = document.get("id").and_then(Value::as_str);
    Ok(id.ok_or("an event or a document without an id")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Event, Tally};

    fn event(id: &str, document: &str, version: u32) -> Event {
        let body = format!("{{\"id\":\"{document}\",\"version\":{version}}}");
        let (place, key, kind) = Default::default();
        Event { place, key, id: id.to_owned(), kind, body }
    }

    #[test]
    fn what_arrived_is_counted_per_document() {
        let [a1, a2, b1] = [event("1", "a", 1), event("2", "a", 2), event("3", "b", 1)];
        let texts = [a2.body.clone(), b1.body.clone()];
        let all = Tally { newest: 2, ..Tally::default() };
        // Name, events in the order of arrival, tally, whether that is complete.
        let cases = [
            ("every change", vec![&a1, &a2, &b1], Tally { events: 3, ..all }, true),
            (
                "only the newest",
                vec![&a2, &b1],
                Tally { events: 2, newest: 2, ..Tally::default() },
                true,
            ),
            (
                "repeated in order",
                vec![&a1, &a2, &a1, &a2, &b1],
                Tally { events: 5, repeated: 2, newest: 2, ..Tally::default() },
                true,
            ),
            (
                "an older version last",
                vec![&a2, &a1, &b1],
                Tally { events: 3, newest: 1, older: 1, ..Tally::default() },
                false,
            ),
            (
                "a document is missing",
                vec![&a2],
                Tally { events: 1, newest: 1, missing: 1, ..Tally::default() },
                false,
            ),
            ("nothing", vec![], Tally { missing: 2, ..Tally::default() }, false),
        ];
        for (name, events, expected, is_complete) in cases {
            let events: Vec<Event> = events.into_iter().cloned().collect();
            let tally = Tally::of(&events, &texts).unwrap();
            assert_eq!(tally, expected, "{name}");
            assert_eq!(tally.is_complete(), is_complete, "{name}");
        }
    }

    #[test]
    fn an_event_of_another_document_is_not_complete() {
        let events = [event("1", "a", 1), event("2", "stray", 1)];
        let tally = Tally::of(&events, &[events[0].body.clone()]).unwrap();
        assert_eq!(tally, Tally { events: 2, newest: 1, unknown: 1, ..Tally::default() });
        assert!(!tally.is_complete());
    }

    #[test]
    fn no_documents_prove_nothing() {
        assert!(!Tally::of(&[], &[]).unwrap().is_complete());
    }
}
