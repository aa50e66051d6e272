//! Builds the message of a change. Pure.
//!
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use cosmos_bridge_event::{Event, TooLarge};
use cosmos_bridge_sink::{Change, Operation, Unrenderable};

use crate::settings::Settings;
use crate::topic_name::is_topic;

/// The bytes of a message in addition to its content: prefixes and lengths of headers, and the frame.
/// This is twice the measured value.
const FRAME: usize = 512;
/// The headers of nearly every event, so that their names need no allocation.
const PREFIXED: [&str; 10] = [
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_subject",
    "ce_time",
    "ce_partitionkey",
    "ce_sequence",
    "ce_containerid",
    "ce_traceparent",
];

/// Name and value.
type Header = (Cow<'static, str>, String);

/// A message for the client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) headers: Vec<Header>,
    /// `None` is a tombstone, which differs from an empty value.
    pub(crate) value: Option<Vec<u8>>,
}

/// Why there is no message for a change. The text is the reason of the dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("no topic: {0}")]
    Topic(Unrenderable),
    #[error("no key: {0}")]
    Key(Unrenderable),
    /// The text omits the name, which may hold a field of the document.
    #[error("the name of the topic is not allowed in Kafka")]
    TopicName,
    #[error(transparent)]
    TooLarge(TooLarge),
    #[error("the topic refuses the message as too large, even compressed and alone in a batch")]
    Refused,
}

impl Message {
    /// `max` is the largest message of a topic, in bytes, before compression.
    pub(crate) fn of(
        change: &Change,
        settings: &Settings,
        max: impl Fn(&str) -> usize,
    ) -> Result<Self, MessageError> {
        Self::build(change, settings, |topic, own| {
            let room = max(topic).saturating_sub(own + FRAME);
            event(change, settings, room).map_err(MessageError::TooLarge)
        })
    }

    /// The message to send after the topic has refused this one as too large.
    pub(crate) fn instead(
        &self,
        change: &Change,
        settings: &Settings,
    ) -> Result<Self, MessageError> {
        let bytes = self.bytes();
        let too_large = TooLarge { bytes, most: bytes - 1 };
        Self::build(change, settings, |_, _| {
            if is_tombstone(change, settings) {
                return Err(MessageError::Refused);
            }
            settings.encoder.instead(change, too_large).map_err(|_| MessageError::Refused)
        })
    }

    /// `event` gets the topic, and the number of bytes of the key and the configured headers.
    fn build(
        change: &Change,
        settings: &Settings,
        event: impl FnOnce(&str, usize) -> Result<Event, MessageError>,
    ) -> Result<Self, MessageError> {
        let topic = settings.options.topic.render(change).map_err(MessageError::Topic)?;
        if !is_topic(&topic) {
            return Err(MessageError::TopicName);
        }
        let key = settings.options.key.render(change).map_err(MessageError::Key)?;
        let mut headers: Vec<Header> =
            Vec::with_capacity(settings.options.headers.len() + PREFIXED.len() + 2);
        for (name, template) in &settings.options.headers {
            // A header is omitted if the document does not have its field.
            if let Ok(value) = template.render(change) {
                headers.push((Cow::Owned(name.clone()), value));
            }
        }
        let own: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let event = event(&topic, key.len() + own)?;
        let is_binary = settings.encoder.format().is_binary_cloud_event();
        attributes(event.attributes, is_binary, &mut headers);
        if event.body.is_some() {
            headers.push((Cow::Borrowed("content-type"), event.content_type.to_owned()));
        }
        let value = (!is_tombstone(change, settings)).then(|| event.body.unwrap_or_default());
        Ok(Self { topic, key, headers, value })
    }

    /// A hash of the message, valid within this process.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// The largest size in a batch, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.content() + FRAME
    }

    /// The bytes of key, headers and value; a batch adds more.
    pub(crate) fn content(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        let value = self.value.as_ref().map_or(0, Vec::len);
        self.key.len() + headers.sum::<usize>() + value
    }
}

fn is_tombstone(change: &Change, settings: &Settings) -> bool {
    settings.options.tombstones && matches!(change.operation, Operation::Delete { .. })
}

/// The event of a change. Only the parts that are sent have to fit: a tombstone has no value.
fn event(change: &Change, settings: &Settings, room: usize) -> Result<Event, TooLarge> {
    if !is_tombstone(change, settings) {
        return settings.encoder.encode(change, room);
    }
    let event = settings.encoder.encode(change, usize::MAX)?;
    let bytes = event.bytes() - event.body.as_ref().map_or(0, Vec::len);
    if bytes > room { Err(TooLarge { bytes, most: room }) } else { Ok(event) }
}

/// Adds the attributes of an event with the names of the binding. `traceparent` is also added without
/// prefix, because tracing tools look for that name.
fn attributes(attributes: Vec<(&'static str, String)>, is_binary: bool, headers: &mut Vec<Header>) {
    for (name, value) in attributes {
        if is_binary {
            let own = (name == "traceparent").then(|| (Cow::Borrowed(name), value.clone()));
            headers.push((prefixed(name), value));
            headers.extend(own);
        } else {
            headers.push((Cow::Borrowed(name), value));
        }
    }
}

/// Adds the prefix of the binding.
fn prefixed(name: &str) -> Cow<'static, str> {
    match PREFIXED.iter().find(|known| known.strip_prefix("ce_") == Some(name)) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(format!("ce_{name}")),
    }
}

#[cfg(test)]
mod tests;
