//! Makes events of changes.

use cosmos_bridge_sink::Change;
use serde::Serialize;

use crate::body::{Content, Structured};
use crate::identity::{Label, SpanKey};
use crate::{ContentMode, Data, Event, Format, Oversize, attributes};

/// Room for the body of an event of the usual size: it is not moved while it grows.
const USUAL_BYTES: usize = 1024;
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
    sink: SpanKey,
}

impl Encoder {
    pub fn new(format: Format, oversize: Oversize) -> Self {
        Self { format, oversize, sink: SpanKey::writing("") }
    }

    /// For a sink of this name: its events name its spans as their parents.
    #[must_use]
    pub fn for_sink(self, name: &str) -> Self {
        Self { sink: SpanKey::writing(name), ..self }
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
        let event = self.event(change, false);
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
                let event = self.event(change, true);
                if event.bytes() > problem.most { Err(problem) } else { Ok(event) }
            }
        }
    }

    /// Appends what [`Encoder::encode`] puts into the body, for sinks whose messages are nothing else.
    ///
    /// # Errors
    ///
    /// It is larger than so many bytes, and is to become a dead letter; nothing is appended.
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
            Err(problem) if self.oversize == Oversize::ClaimCheck => {
                append(true).map_err(|_| problem)
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

    /// Appends the body, or says that there is none.
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
            // There the attribute `dataref` says it all.
            (true, Format { data: Data::Document, cloud_events: Some(_) }) => None,
            (true, _) => Some(Content::claim_check(data, change, label)),
        };
        match (self.format.cloud_events, content) {
            (Some(ContentMode::Structured), data) => {
                append_json(&Structured { change, label, data, is_claim_check }, text);
            }
            (_, Some(content)) => append_json(&content, text),
            (_, None) => return false,
        }
        true
    }
}

/// Texts, numbers and lists of them always have a JSON text, and memory takes it.
fn append_json(value: &impl Serialize, text: &mut Vec<u8>) {
    drop(serde_json::to_writer(text, value));
}
