//! The attributes of an event, which describe it without its data.

use std::borrow::Cow;

use cosmos_bridge_sink::{Change, Operation};
use jiff::Timestamp;

use crate::Format;
use crate::identity::{Label, push_percent, reference, source};

/// The type of an event, by operation.
fn kind(change: &Change) -> &'static str {
    match change.operation {
        Operation::Upsert { .. } if change.origin.is_snapshot => {
            "io.github.cosmos-bridge.document.snapshot"
        }
        Operation::Upsert { .. } => "io.github.cosmos-bridge.document.upsert",
        Operation::Delete { expired: false } => "io.github.cosmos-bridge.document.delete",
        Operation::Delete { expired: true } => "io.github.cosmos-bridge.document.expire",
    }
}

/// The commit time of a change, as RFC 3339 text.
pub(crate) fn time(change: &Change) -> Option<String> {
    let at = Timestamp::from_second(change.origin.committed_at?).ok()?;
    Some(at.to_string())
}

/// True if no attribute may hold the character: a control character or a noncharacter.
///
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#type-system>, String
fn is_forbidden(character: char) -> bool {
    let number = u32::from(character);
    character.is_control() || (0xfdd0..=0xfdef).contains(&number) || number & 0xfffe == 0xfffe
}

/// A text that holds characters that no attribute may hold: these and `%` are percent-encoded, as UTF-8, so
/// that decoding gives the text back. `None` for any other text, which stays as it is.
fn encoded(text: &str) -> Option<String> {
    if !text.chars().any(is_forbidden) {
        return None;
    }
    let mut encoded = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if character == '%' || is_forbidden(character) {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).as_bytes();
            for byte in bytes {
                push_percent(&mut encoded, *byte);
            }
        } else {
            encoded.push(character);
        }
    }
    Some(encoded)
}

/// The context attributes of a `CloudEvent`, including extensions, without `datacontenttype`.
///
/// `sequence` is the log sequence number with leading zeros, so that texts compare like numbers. It
/// orders the events of one document, not those of different documents. All changes of a transaction
/// have one number; if a document changes again within it, its index follows after a dot. It is
/// comparable only among events with one `containerid`: a container that was deleted and created again
/// counts from 1.
///
/// `percentencoded` names the attributes that are percent-encoded, with a comma between them. Without it,
/// `a%09` could be one id as well as another.
///
/// <https://github.com/cloudevents/spec/tree/v1.0.2/cloudevents/extensions>
pub(crate) fn cloud_event<'c>(
    change: &'c Change,
    label: &Label<'_>,
    is_claim_check: bool,
) -> impl Iterator<Item = (&'static str, Cow<'c, str>)> {
    let key = change.partition_key.text();
    let (subject, encoded_key) = (encoded(&change.id), encoded(&key));
    let names = match (&subject, &encoded_key) {
        (Some(_), Some(_)) => Some("subject,partitionkey"),
        (Some(_), None) => Some("subject"),
        (None, Some(_)) => Some("partitionkey"),
        (None, None) => None,
    };
    let subject = subject.map_or(Cow::Borrowed(change.id.as_str()), Cow::Owned);
    let key = encoded_key.unwrap_or(key);
    let rid = change.origin.container.rid.as_str();
    let sequence = change.origin.lsn.map(|lsn| match change.origin.nth {
        0 => format!("{lsn:020}"),
        nth => format!("{lsn:020}.{nth:04}"),
    });
    [
        Some(("specversion", Cow::Borrowed("1.0"))),
        Some(("id", label.id().into())),
        Some(("source", source(&change.origin.container).into())),
        Some(("type", kind(change).into())),
        Some(("subject", subject)),
        time(change).map(|time| ("time", time.into())),
        // The extension must not be empty.
        (!key.is_empty()).then(|| ("partitionkey", key.into())),
        names.map(|names| ("percentencoded", names.into())),
        sequence.map(|sequence| ("sequence", sequence.into())),
        (!rid.is_empty()).then(|| ("containerid", rid.into())),
        Some(("traceparent", label.trace_parent().into())),
        is_claim_check.then(|| ("dataref", reference(change).into())),
    ]
    .into_iter()
    .flatten()
}

/// The names that [`cloud_event`] uses.
const NAMES: [&str; 12] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "partitionkey",
    "percentencoded",
    "sequence",
    "containerid",
    "traceparent",
    "dataref",
];

/// True for the name of an attribute of an event, which no header may take.
pub fn is_attribute(name: &str) -> bool {
    NAMES.contains(&name) || name == "datacontenttype"
}

/// The attributes of a message that is not a `CloudEvent` in binary mode.
pub(crate) fn plain(
    format: Format,
    change: &Change,
    label: &Label<'_>,
) -> Vec<(&'static str, String)> {
    let trace = ("traceparent", label.trace_parent());
    if format.cloud_events.is_some() {
        return vec![trace];
    }
    let operation = change.event_name().to_owned();
    vec![("event-id", label.id()), ("operation", operation), trace]
}

#[cfg(test)]
mod tests {
    use super::{NAMES, is_attribute};

    #[test]
    fn no_header_takes_the_name_of_an_attribute() {
        for name in NAMES.into_iter().chain(["datacontenttype"]) {
            assert!(is_attribute(name), "{name}");
        }
        for name in ["", "tenant", "Subject", "dataset"] {
            assert!(!is_attribute(name), "{name}");
        }
    }
}
