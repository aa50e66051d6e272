//! What is known of an event without looking at its data.

use cosmos_bridge_sink::{Change, Operation};
use jiff::Timestamp;

use crate::Format;
use crate::identity::{Identity, reference, source};

/// The type of event, by operation.
fn kind(operation: &Operation) -> &'static str {
    match operation {
        Operation::Upsert { .. } => "io.github.cosmos-bridge.document.upsert",
        Operation::Delete { expired: false } => "io.github.cosmos-bridge.document.delete",
        Operation::Delete { expired: true } => "io.github.cosmos-bridge.document.expire",
    }
}

/// When the change was committed, as RFC 3339 text.
pub(crate) fn time(change: &Change) -> Option<String> {
    let at = Timestamp::from_second(change.origin.committed_at?).ok()?;
    Some(at.to_string())
}

/// The context attributes of a `CloudEvent`, extensions included; not that of the data's type.
///
/// `sequence` is the log sequence number with leading zeros, so that texts compare as numbers do: it
/// orders the events of one document, and says nothing about those of different ones.
///
/// <https://github.com/cloudevents/spec/tree/v1.0.2/cloudevents/extensions>
pub(crate) fn cloud_event(
    change: &Change,
    identity: &Identity,
    is_claim_check: bool,
) -> Vec<(&'static str, String)> {
    let mut attributes = vec![
        ("specversion", "1.0".to_owned()),
        ("id", identity.id()),
        ("source", source(&change.origin.container)),
        ("type", kind(&change.operation).to_owned()),
        ("subject", change.id.clone()),
    ];
    attributes.extend(time(change).map(|time| ("time", time)));
    let key = change.partition_key.text();
    // The extension must not be empty.
    attributes.extend((!key.is_empty()).then_some(("partitionkey", key)));
    attributes.extend(change.origin.lsn.map(|lsn| ("sequence", format!("{lsn:020}"))));
    attributes.push(("traceparent", identity.trace_parent()));
    attributes.extend(is_claim_check.then(|| ("dataref", reference(change))));
    attributes
}

/// What a message says about itself where it is no `CloudEvent` in binary mode.
pub(crate) fn plain(
    format: Format,
    change: &Change,
    identity: &Identity,
) -> Vec<(&'static str, String)> {
    let trace = ("traceparent", identity.trace_parent());
    if format.cloud_events.is_some() {
        return vec![trace];
    }
    let operation = change.operation.name().to_owned();
    vec![("event-id", identity.id()), ("operation", operation), trace]
}
