//! Builds events from changes. Pure: the same change gives the same event, on every machine and after
//! every restart.
//!
//! The [`Encoder`] builds an [`Event`] from a change. A sink puts it into a message of its broker, with
//! the attribute prefix of the `CloudEvents` binding for its protocol.

mod attributes;
mod body;
mod encoder;
mod identity;
mod object;
mod options;
#[cfg(test)]
mod tests;

pub use attributes::is_attribute;
pub use encoder::{Encoder, TooLarge};
pub use identity::{Identity, SpanKey};
pub use options::{EventOptions, LineOptions};

/// The format of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub data: Data,
    /// `None` if events are not `CloudEvents`.
    pub cloud_events: Option<ContentMode>,
}

/// The data of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// The document after its route; empty for a delete.
    Document,
    /// The operation, the document before and after, and its origin.
    Envelope,
}

/// Where the context attributes of a `CloudEvent` are.
///
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#message>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentMode {
    /// In headers or properties of the message, whose body is the data.
    Binary,
    /// In the body, with the data.
    Structured,
}

impl Format {
    /// True if [`Event::attributes`] are those of a `CloudEvent`, which need the prefix of the binding.
    pub fn is_binary_cloud_event(self) -> bool {
        self.cloud_events == Some(ContentMode::Binary)
    }

    /// True if an event needs attributes in addition to its body, so that a message holds one event.
    pub fn needs_attributes(self) -> bool {
        match self.cloud_events {
            Some(mode) => mode == ContentMode::Binary,
            None => self.data == Data::Document,
        }
    }
}

/// How to handle an event that is larger than its target accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// The change becomes a dead letter.
    DeadLetter,
    /// The event refers to the document instead of containing it.
    ClaimCheck,
}

/// The content of one message, independent of the protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The same in each repetition of the change.
    pub id: String,
    /// The content type of the body.
    pub content_type: &'static str,
    /// `None` for a delete without data.
    pub body: Option<Vec<u8>>,
    /// The headers or properties, without a prefix.
    pub attributes: Vec<(&'static str, String)>,
    /// The commit time of the change, in seconds since the epoch.
    pub time: Option<i64>,
}

impl Event {
    /// The bytes of body and attributes. A broker adds more.
    pub fn bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, value)| name.len() + value.len());
        self.body.as_ref().map_or(0, Vec::len) + attributes.sum::<usize>()
    }
}
