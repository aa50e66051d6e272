//! Decides what becomes of a dead letter, by what the source holds now.

use std::cmp::Ordering;

use cosmos_bridge_sink::{Document, KeyValue, PartitionKey, SYSTEM_PROPERTIES};

use crate::model::{DeadLetter, Event, Stage};

/// A replica that is behind answers with an older version, or none, for a while after a change.
const SETTLED_AFTER: i64 = 60;

pub(super) const NOT_SETTLED: &str =
    "the source does not show this change yet: replay again in a minute";
const UNKNOWN: &str = "its id is not known: write the document again at the source";
const AMBIGUOUS: &str = "its partition key is not known, and several documents have its id";

/// What becomes of a letter.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is routed and written.
    Write(Event),
    /// The source holds a newer version, or the document is gone: the feed delivers that itself.
    Superseded,
    /// It stays, for this reason.
    Kept(&'static str),
}

/// The id and key to read, or why the letter cannot be replayed. Without a key, the id is looked for in
/// all partitions.
pub(super) fn document_of(
    letter: &DeadLetter,
) -> Result<(&str, Option<PartitionKey>), &'static str> {
    if letter.source_id.is_empty() {
        return Err(UNKNOWN);
    }
    Ok((&letter.source_id, key_of(&letter.source_key)))
}

/// The key of a letter; `None` if the feed did not tell it.
fn key_of(text: &str) -> Option<PartitionKey> {
    let values: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
    let key = |value| KeyValue::from_json(Some(value)).unwrap_or(KeyValue::Undefined);
    let values: Vec<_> = values.iter().map(key).collect();
    (!values.is_empty()).then_some(PartitionKey(values))
}

/// `now` in seconds since the epoch.
pub(super) fn judge(letter: &DeadLetter, mut current: Vec<Document>, now: i64) -> Verdict {
    if current.len() > 1 {
        return Verdict::Kept(AMBIGUOUS);
    }
    let current = current.pop();
    match letter.operation {
        "upsert" => upsert(letter, current, now),
        operation => delete(letter, current, operation == "expire", now),
    }
}

fn upsert(letter: &DeadLetter, current: Option<Document>, now: i64) -> Verdict {
    let Some(current) = current else {
        return if is_settled(letter, now) {
            Verdict::Superseded
        } else {
            Verdict::Kept(NOT_SETTLED)
        };
    };
    let document = document_in(letter);
    let is_same = document.map(|document| is_content(letter, document, &current));
    let age = |at: i64| changed_at(&current).map(|changed| changed.cmp(&at));
    match (is_same, letter.committed_at.and_then(age)) {
        // Whenever it was written: this is what the source holds.
        (Some(true), _) | (None, None | Some(Ordering::Equal)) => {}
        (_, Some(Ordering::Less)) => return Verdict::Kept(NOT_SETTLED),
        // Times are whole seconds: another content of the same second is newer, too.
        _ => return Verdict::Superseded,
    }
    let previous = letter.previous.as_deref().and_then(parsed);
    // That of a sink's letter is as the sink was to get it, not as it was read.
    let previous = previous.filter(|image| letter.stage == Stage::Route || is_as_read(image));
    // A letter does not say; a copy may be at another place by now.
    Verdict::Write(Event::Upsert { current, previous, is_new: false })
}

fn delete(letter: &DeadLetter, current: Option<Document>, expired: bool, now: i64) -> Verdict {
    let Some(current) = current else {
        let previous = || letter.previous.as_deref().and_then(parsed).filter(is_as_read);
        let previous = document_in(letter).or_else(previous);
        return Verdict::Write(Event::Delete { previous, expired });
    };
    let age = changed_at(&current).zip(letter.committed_at).map(|(changed, at)| changed.cmp(&at));
    match age {
        // The route takes a mark in the document for a delete; or it was created again in this second.
        Some(Ordering::Equal) => {
            Verdict::Write(Event::Upsert { current, previous: None, is_new: false })
        }
        Some(Ordering::Less) if !is_settled(letter, now) => Verdict::Kept(NOT_SETTLED),
        // Created again since.
        _ => Verdict::Superseded,
    }
}

fn is_settled(letter: &DeadLetter, now: i64) -> bool {
    letter.committed_at.is_none_or(|at| now - at >= SETTLED_AFTER)
}

/// The document of a letter as it was read, which that of a sink's letter is only if the sink mirrors a container.
fn document_in(letter: &DeadLetter) -> Option<Document> {
    if letter.stage != Stage::Route {
        return letter.document.as_deref().and_then(parsed).filter(is_as_read);
    }
    match (&letter.document, &letter.unparsed) {
        (Some(text), _) => parsed(text),
        (None, Some(bytes)) => Document::parse(bytes).ok(),
        (None, None) => None,
    }
}

/// Routes to other sinks leave the properties of the service out.
fn is_as_read(document: &Document) -> bool {
    document.contains("_etag")
}

fn parsed(text: &str) -> Option<Document> {
    Document::parse(text.as_bytes()).ok()
}

/// When the source's document was last changed, in seconds since the epoch.
fn changed_at(document: &Document) -> Option<i64> {
    document.get("_ts")?.as_i64()
}

/// Whether a letter holds what the source holds, apart from what the service and its feed add.
fn is_content(letter: &DeadLetter, mut document: Document, current: &Document) -> bool {
    let mut current = current.clone();
    for document in [&mut current, &mut document] {
        document.retain(|name| name.is_none_or(|name| !SYSTEM_PROPERTIES.contains(&name)));
    }
    let lsn = document.get("_lsn").and_then(|lsn| lsn.as_i64());
    if lsn.is_some() && lsn == letter.lsn && !current.contains("_lsn") {
        document.remove("_lsn");
    }
    document == current
}

#[cfg(test)]
mod tests;
