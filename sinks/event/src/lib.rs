//! How a change is written down for those who read events. Pure: the same change gives the same
//! event, on every machine and after every restart.
//!
//! The [`Encoder`] makes an [`Event`] of a change; a sink puts it into a message of its broker, with
//! the prefix that the `CloudEvents` binding of its protocol gives to attributes.

mod attributes;
mod body;
mod encoder;
mod identity;
mod options;
#[cfg(test)]
mod tests;

pub use encoder::{Encoder, TooLarge};
pub use identity::{Identity, SpanKey};
pub use options::{EventOptions, LineOptions};

/// What an event consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub data: Data,
    /// `None` where events are no `CloudEvents`.
    pub cloud_events: Option<ContentMode>,
}

/// What the data of an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// The document as the route made it; nothing for a delete.
    Document,
    /// The operation, the document before and after, and where it was read.
    Envelope,
}

/// Where the context attributes of a `CloudEvent` stand.
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
    /// Whether [`Event::attributes`] are those of a `CloudEvent`, which take the prefix that the
    /// protocol's binding gives them.
    pub fn is_binary_cloud_event(self) -> bool {
        self.cloud_events == Some(ContentMode::Binary)
    }

    /// Whether the body alone does not say everything, so that a message holds one event.
    pub fn needs_attributes(self) -> bool {
        match self.cloud_events {
            Some(mode) => mode == ContentMode::Binary,
            None => self.data == Data::Document,
        }
    }
}

/// What becomes of an event that is larger than its broker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// The change is kept as a dead letter.
    DeadLetter,
    /// An event is sent that names the document instead of holding it.
    ClaimCheck,
}

/// One message, whatever carries it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The same whenever the change is delivered again.
    pub id: String,
    /// Of the body.
    pub content_type: &'static str,
    /// `None` where there is nothing to say but that a document is gone.
    pub body: Option<Vec<u8>>,
    /// For headers or properties, without a prefix.
    pub attributes: Vec<(&'static str, String)>,
    /// When the change was committed, in seconds since the epoch.
    pub time: Option<i64>,
}

impl Event {
    /// Of body and attributes; a broker adds some of its own.
    pub fn bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, value)| name.len() + value.len());
        self.body.as_ref().map_or(0, Vec::len) + attributes.sum::<usize>()
    }
}
