//! Makes events of changes.

use cosmos_bridge_sink::Change;
use serde::Serialize;

use crate::body::{Content, Structured};
use crate::identity::Identity;
use crate::{ContentMode, Data, Event, Format, Oversize, attributes};

const JSON: &str = "application/json";
const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";

/// An event is larger than its broker takes. The text is the reason of the dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event has {bytes} bytes, and the sink takes {most}")]
pub struct TooLarge {
    pub bytes: usize,
    pub most: usize,
}

/// Makes events of one format.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    format: Format,
    oversize: Oversize,
}

impl Encoder {
    pub fn new(format: Format, oversize: Oversize) -> Self {
        Self { format, oversize }
    }

    pub fn format(self) -> Format {
        self.format
    }

    /// The event of a change, of at most so many bytes.
    ///
    /// # Errors
    ///
    /// It is larger, and is to become a dead letter.
    pub fn encode(self, change: &Change, most: usize) -> Result<Event, TooLarge> {
        let identity = Identity::of(change);
        let event = self.event(change, &identity, false);
        let bytes = event.bytes();
        if bytes > most { self.instead(change, TooLarge { bytes, most }) } else { Ok(event) }
    }

    /// What to send instead of an event that turned out too large.
    ///
    /// # Errors
    ///
    /// Nothing: it is to become a dead letter. A claim check that is too large is one, too.
    pub fn instead(self, change: &Change, problem: TooLarge) -> Result<Event, TooLarge> {
        match self.oversize {
            Oversize::DeadLetter => Err(problem),
            Oversize::ClaimCheck => {
                let event = self.event(change, &Identity::of(change), true);
                if event.bytes() > problem.most { Err(problem) } else { Ok(event) }
            }
        }
    }

    fn event(self, change: &Change, identity: &Identity, is_claim_check: bool) -> Event {
        let data = self.format.data;
        let content = match (is_claim_check, self.format) {
            (false, _) => Content::of(data, change, identity),
            // There the attribute `dataref` says it all.
            (true, Format { data: Data::Document, cloud_events: Some(_) }) => None,
            (true, _) => Some(Content::claim_check(data, change, identity)),
        };
        let (body, content_type, attributes) = match self.format.cloud_events {
            Some(ContentMode::Structured) => {
                let event = Structured { change, identity, data: content, is_claim_check };
                (Some(text(&event)), STRUCTURED, attributes::plain(self.format, change, identity))
            }
            Some(ContentMode::Binary) => {
                let attributes = attributes::cloud_event(change, identity, is_claim_check);
                (content.as_ref().map(text), JSON, attributes)
            }
            None => {
                (content.as_ref().map(text), JSON, attributes::plain(self.format, change, identity))
            }
        };
        let time = change.origin.committed_at;
        Event { id: identity.id(), content_type, body, attributes, time }
    }
}

/// Texts, numbers and lists of them always have a JSON text.
fn text(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
