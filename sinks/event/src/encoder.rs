//! Builds the events of changes.

use cosmos_bridge_sink::Change;

use crate::body::{Content, Structured};
use crate::identity::{Label, SpanKey};
use crate::{ContentMode, Data, Event, Format, Oversize, attributes};

/// The initial capacity for a body. A body of the usual size is not reallocated.
const USUAL_BYTES: usize = 1024;
const JSON: &str = "application/json";
const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";

/// An event is larger than its target accepts. The text is the reason of the dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event has {bytes} bytes; the sink accepts {most}")]
pub struct TooLarge {
    pub bytes: usize,
    pub most: usize,
}

/// Builds events in one format.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    format: Format,
    oversize: Oversize,
    sink: SpanKey,
}

impl Encoder {
    pub fn new(format: Format, oversize: Oversize) -> Self {
        Self { format, oversize, sink: SpanKey::writing("") }
    }

    /// Sets the name of the sink: the spans of this sink are the parents in its events.
    #[must_use]
    pub fn for_sink(self, name: &str) -> Self {
        Self { sink: SpanKey::writing(name), ..self }
    }

    pub fn format(self) -> Format {
        self.format
    }

    /// The event of a change, of at most `most` bytes.
    ///
    /// # Errors
    ///
    /// The event is larger. The change becomes a dead letter.
    pub fn encode(self, change: &Change, most: usize) -> Result<Event, TooLarge> {
        let event = self.event(change, false);
        let bytes = event.bytes();
        if bytes > most { self.instead(change, TooLarge { bytes, most }) } else { Ok(event) }
    }

    /// The claim check for an event that is too large.
    ///
    /// # Errors
    ///
    /// No claim check is configured, or the claim check is too large. The change becomes a dead letter.
    pub fn instead(self, change: &Change, too_large: TooLarge) -> Result<Event, TooLarge> {
        match self.oversize {
            Oversize::DeadLetter => Err(too_large),
            Oversize::ClaimCheck => {
                let event = self.event(change, true);
                if event.bytes() > too_large.most { Err(too_large) } else { Ok(event) }
            }
        }
    }

    /// Appends the body that [`Encoder::encode`] returns, for sinks whose messages are only bodies.
    ///
    /// # Errors
    ///
    /// The body is larger than `most` bytes. Nothing is appended, and the change becomes a dead letter.
    pub fn append_body(
        self,
        change: &Change,
        most: usize,
        text: &mut Vec<u8>,
    ) -> Result<(), TooLarge> {
        let label = Label::of(change, self.sink);
        let start = text.len();
        let mut append = |is_claim_check| {
            text.truncate(start);
            self.body(change, &label, is_claim_check, text);
            let bytes = text.len() - start;
            if bytes > most { Err(TooLarge { bytes, most }) } else { Ok(()) }
        };
        let appended = match append(false) {
            Err(too_large) if self.oversize == Oversize::ClaimCheck => {
                append(true).map_err(|_| too_large)
            }
            appended => appended,
        };
        if appended.is_err() {
            text.truncate(start);
        }
        appended
    }

    fn event(self, change: &Change, is_claim_check: bool) -> Event {
        let label = &Label::of(change, self.sink);
        let mut text = Vec::with_capacity(USUAL_BYTES);
        let is_full = self.body(change, label, is_claim_check, &mut text);
        let (content_type, attributes) = match self.format.cloud_events {
            Some(ContentMode::Binary) => {
                let attributes = attributes::cloud_event(change, label, is_claim_check);
                let owned = attributes.map(|(name, value)| (name, value.into_owned()));
                (JSON, owned.collect())
            }
            Some(ContentMode::Structured) => {
                (STRUCTURED, attributes::plain(self.format, change, label))
            }
            None => (JSON, attributes::plain(self.format, change, label)),
        };
        let time = change.origin.committed_at;
        Event { id: label.id(), content_type, body: is_full.then_some(text), attributes, time }
    }

    /// Appends the body. Returns false if there is no body.
    fn body(
        self,
        change: &Change,
        label: &Label<'_>,
        is_claim_check: bool,
        text: &mut Vec<u8>,
    ) -> bool {
        let data = self.format.data;
        let content = match (is_claim_check, self.format) {
            (false, _) => Content::of(data, change, label),
            // The attribute `dataref` is the claim check.
            (true, Format { data: Data::Document, cloud_events: Some(_) }) => None,
            (true, _) => Some(Content::claim_check(data, change, label)),
        };
        match (self.format.cloud_events, content) {
            (Some(ContentMode::Structured), data) => {
                Structured { change, label, data, is_claim_check }.append_to(text);
            }
            (_, Some(content)) => content.append_to(text),
            (_, None) => return false,
        }
        true
    }
}
