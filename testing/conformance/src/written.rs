//! The checks of every write, and of the messages that a reader then finds.

use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};

use cosmos_bridge_event::{Encoder, Oversize};
use cosmos_bridge_sink::{Change, Operation, Outcome, PartitionKey, Sink, Written};

use percent_encoding::percent_decode_str;

use crate::{Harness, Received};

/// A text in every document of the suite, which no reason may contain.
pub(crate) const MARK: &str = "secret-of-the-document";

/// Checks one write against the contract.
pub(crate) async fn write(
    harness: &dyn Harness,
    sink: &dyn Sink,
    changes: &[Change],
) -> Result<Written, String> {
    let patience = harness.patience();
    let written = tokio::time::timeout(patience, sink.write(changes))
        .await
        .map_err(|_| format!("no answer after {patience:?}"))?;
    let (asked, answered) = (changes.len(), written.outcomes.len());
    if asked != answered {
        return Err(format!("{answered} outcomes for {asked} changes"));
    }
    let mut deferred: HashMap<(&PartitionKey, &str), bool> = HashMap::new();
    for (change, outcome) in changes.iter().zip(&written.outcomes) {
        let waits = matches!(outcome, Outcome::Deferred { .. });
        match deferred.entry((&change.partition_key, &change.id)) {
            Entry::Occupied(earlier) if *earlier.get() && !waits => {
                return Err(format!("{} was deferred, a later change of it was not", change.id));
            }
            Entry::Occupied(mut earlier) => *earlier.get_mut() = waits,
            Entry::Vacant(first) => {
                first.insert(waits);
            }
        }
        if let Outcome::Deferred { reason } | Outcome::Rejected { reason } = outcome
            && (reason.is_empty() || reason.contains(MARK))
        {
            return Err(format!("a reason is empty or holds the document: {reason:?}"));
        }
    }
    if written.wait.is_some() != deferred.values().any(|waits| *waits) {
        return Err(format!("wait is {:?}, which is not what was deferred", written.wait));
    }
    Ok(written)
}

/// A write that delivers every change.
pub(crate) async fn deliver(
    harness: &dyn Harness,
    sink: &dyn Sink,
    changes: &[Change],
) -> Result<(), String> {
    let written = write(harness, sink, changes).await?;
    match written.outcomes.iter().find(|outcome| **outcome != Outcome::Delivered) {
        Some(other) => Err(format!("not delivered: {other:?}")),
        None => Ok(()),
    }
}

/// How often changes may be repeated.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Times {
    Once,
    /// After a failure, as often as they were sent: repeated in order, from some change of the document on.
    AtLeastOnce,
}

/// Takes back the percent-encoding of an id that holds characters which `CloudEvents` forbids in attributes.
fn decode(received: &mut Received) {
    let mut attributes = received.attributes.iter();
    let encoded = attributes.find(|(name, _)| name == "percentencoded").map(|(_, names)| names);
    if encoded.is_some_and(|names| names.split(',').any(|name| name == "subject")) {
        let text = percent_decode_str(&received.document).decode_utf8_lossy();
        received.document = text.into_owned();
    }
}

/// Reads the messages and compares them with the changes, in order per document.
pub(crate) async fn expect(
    harness: &dyn Harness,
    changes: &[Change],
    times: Times,
) -> Result<(), String> {
    let mut received = harness.received(changes.len()).await;
    received.iter_mut().for_each(decode);
    let expected = by_document(changes.iter().map(|change| (&change.id, event(harness, change))));
    let found = by_document(received.iter().map(|received| (&received.document, received)));
    if let Some(id) = found.keys().find(|id| !expected.contains_key(*id)) {
        return Err(format!("found {id}, which was not written"));
    }
    for (id, events) in expected {
        let events = events.into_iter().collect::<Result<Vec<_>, _>>()?;
        let found = found.get(id).map(Vec::as_slice).unwrap_or_default();
        if harness.keeps_history() {
            check(id, &events, found, times)?;
        } else {
            check_latest(id, &events, found)?;
        }
    }
    Ok(())
}

fn check(id: &str, events: &[Expected], found: &[&Received], times: Times) -> Result<(), String> {
    // The index of each message among the document's changes.
    let numbers: Option<Vec<usize>> =
        found.iter().map(|received| events.iter().position(|event| event.is(received))).collect();
    let Some(numbers) = numbers else {
        let strange = found.iter().find(|received| !events.iter().any(|event| event.is(received)));
        return Err(format!("{id}: {}", strange.map_or_else(String::new, |s| differs(s, events))));
    };
    let mut first_seen = Vec::new();
    for number in &numbers {
        if !first_seen.contains(number) {
            first_seen.push(*number);
        }
    }
    let steps_back_to_a_known = numbers.windows(2).all(|pair| pair[1] <= pair[0] + 1);
    let all: Vec<usize> = (0..events.len()).collect();
    let right = match times {
        Times::Once => numbers == all,
        Times::AtLeastOnce => {
            first_seen == all && numbers.last() == all.last() && steps_back_to_a_known
        }
    };
    if right { Ok(()) } else { Err(format!("{id}: changes {all:?} were found as {numbers:?}")) }
}

/// The document is as its last change left it: there once, or gone.
fn check_latest(id: &str, events: &[Expected], found: &[&Received]) -> Result<(), String> {
    match (events.last(), found) {
        (Some(last), []) if last.body.is_empty() => Ok(()),
        (Some(last), [only]) if !last.body.is_empty() && last.is(only) => Ok(()),
        (Some(last), [only]) if !last.body.is_empty() => {
            Err(format!("{id}: {}", differs(only, std::slice::from_ref(last))))
        }
        (_, found) => Err(format!("{id}: found {} times after its last change", found.len())),
    }
}

/// The first wrong attribute; the body is not shown.
fn differs(received: &Received, events: &[Expected]) -> String {
    let Some(event) = events.iter().max_by_key(|event| event.attributes_found(received)) else {
        return "more was found than was written".to_owned();
    };
    let missing =
        event.attributes.iter().find(|attribute| !received.attributes.contains(attribute));
    match missing {
        Some((name, value)) => format!("attribute {name} should be {value:?}"),
        None => "the body is another".to_owned(),
    }
}

pub(crate) struct Expected {
    body: Vec<u8>,
    attributes: Vec<(String, String)>,
}

impl Expected {
    fn is(&self, received: &Received) -> bool {
        let same_body = received.body.as_deref().unwrap_or_default() == self.body;
        same_body && self.attributes_found(received) == self.attributes.len()
    }

    fn attributes_found(&self, received: &Received) -> usize {
        self.attributes.iter().filter(|attribute| received.attributes.contains(attribute)).count()
    }
}

/// The expected message of a change.
fn event(harness: &dyn Harness, change: &Change) -> Result<Expected, String> {
    let Some(format) = harness.format() else {
        let body = match &change.operation {
            Operation::Upsert { document } => serde_json::to_vec(&**document),
            Operation::Delete { .. } => Ok(Vec::new()),
        };
        let body = body.map_err(|error| error.to_string())?;
        return Ok(Expected { body, attributes: Vec::new() });
    };
    let event = Encoder::new(format, Oversize::DeadLetter)
        .encode(change, usize::MAX)
        .map_err(|error| error.to_string())?;
    let owned = |(name, value): (&str, String)| (name.to_owned(), value);
    Ok(Expected {
        body: event.body.unwrap_or_default(),
        attributes: event.attributes.into_iter().map(owned).collect(),
    })
}

fn by_document<'i, T>(all: impl Iterator<Item = (&'i String, T)>) -> BTreeMap<&'i str, Vec<T>> {
    let mut documents: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for (id, one) in all {
        documents.entry(id).or_default().push(one);
    }
    documents
}
