//! A change as a message. Pure.
//!
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use cosmos_bridge_event::{Event, TooLarge};
use cosmos_bridge_sink::{Change, Operation, Unrenderable};

use crate::settings::Settings;

/// The protocol's longest name of a topic.
/// <https://github.com/apache/kafka/blob/4.1/clients/src/main/java/org/apache/kafka/common/internals/Topic.java>
const LONGEST_TOPIC: usize = 249;
/// Prefixes and lengths of headers, and what frames a message: twice what was measured.
const FRAME: usize = 512;
/// Headers of nearly every event, so that their names are not made up for each.
const PREFIXED: [&str; 9] = [
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_subject",
    "ce_time",
    "ce_partitionkey",
    "ce_sequence",
    "ce_traceparent",
];

/// Name and value.
type Header = (Cow<'static, str>, String);

/// What the client is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) headers: Vec<Header>,
    /// `None` is a tombstone, which is not the same as an empty value.
    pub(crate) value: Option<Vec<u8>>,
}

/// Why a change can never be a message. The text is the reason of the dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoMessage {
    #[error("there is no topic for the change: {0}")]
    Topic(Unrenderable),
    #[error("there is no key for the change: {0}")]
    Key(Unrenderable),
    /// Which name is not said: it may hold a field of the document.
    #[error("the topic of the change has a name that Kafka does not allow")]
    TopicName,
    #[error(transparent)]
    TooLarge(TooLarge),
    #[error("the topic refuses the message for its size, compressed and in a batch of its own")]
    Refused,
}

impl Message {
    /// `most` is the largest message that the topic takes, in bytes, before compression.
    pub(crate) fn of(
        change: &Change,
        settings: &Settings,
        most: impl Fn(&str) -> usize,
    ) -> Result<Self, NoMessage> {
        Self::made(change, settings, |topic, own| {
            let room = most(topic).saturating_sub(own + FRAME);
            event(change, settings, room).map_err(NoMessage::TooLarge)
        })
    }

    /// What to send instead of a message that the topic has refused for its size.
    pub(crate) fn instead(&self, change: &Change, settings: &Settings) -> Result<Self, NoMessage> {
        let bytes = self.bytes();
        let problem = TooLarge { bytes, most: bytes - 1 };
        Self::made(change, settings, |_, _| {
            if is_tombstone(change, settings) {
                return Err(NoMessage::Refused);
            }
            settings.encoder.instead(change, problem).map_err(|_| NoMessage::Refused)
        })
    }

    /// `event` is given the topic, and the bytes of key and further headers.
    fn made(
        change: &Change,
        settings: &Settings,
        event: impl FnOnce(&str, usize) -> Result<Event, NoMessage>,
    ) -> Result<Self, NoMessage> {
        let topic = settings.topic.render(change).map_err(NoMessage::Topic)?;
        if !is_topic(&topic) {
            return Err(NoMessage::TopicName);
        }
        let key = settings.key.render(change).map_err(NoMessage::Key)?;
        let mut headers: Vec<Header> =
            Vec::with_capacity(settings.headers.len() + PREFIXED.len() + 2);
        for (name, template) in &settings.headers {
            // A field that this document does not have.
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

    /// The same for the same message, while the process lives.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// What it may come to in a batch.
    pub(crate) fn bytes(&self) -> usize {
        self.content() + FRAME
    }

    /// What it holds; in a batch it is more.
    pub(crate) fn content(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        let value = self.value.as_ref().map_or(0, Vec::len);
        self.key.len() + headers.sum::<usize>() + value
    }
}

fn is_tombstone(change: &Change, settings: &Settings) -> bool {
    settings.tombstones && matches!(change.operation, Operation::Delete { .. })
}

/// The event of a change, which fits the room without what is not sent.
fn event(change: &Change, settings: &Settings, room: usize) -> Result<Event, TooLarge> {
    if !is_tombstone(change, settings) {
        return settings.encoder.encode(change, room);
    }
    let event = settings.encoder.encode(change, usize::MAX)?;
    let bytes = event.bytes() - event.body.as_ref().map_or(0, Vec::len);
    if bytes > room { Err(TooLarge { bytes, most: room }) } else { Ok(event) }
}

/// Adds an event's attributes as the binding names them; `traceparent` also under its own name, by
/// which tracing tools look for it.
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

/// With the binding's prefix.
fn prefixed(name: &str) -> Cow<'static, str> {
    match PREFIXED.iter().find(|known| known.strip_prefix("ce_") == Some(name)) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(format!("ce_{name}")),
    }
}

fn is_topic(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=LONGEST_TOPIC).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests;
