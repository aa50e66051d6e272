//! The options of every sink that publishes events.

use cosmos_bridge_options::{Kind, Table, choice, options};

use crate::{ContentMode, Data, Encoder, Format, Oversize};

options! {
    /// How events are written, for messages with headers and a largest size.
    pub struct EventOptions {
        /// "document": the document as the route made it. "envelope": the operation, the document before
        /// (where the feed carries it) and after, and its origin.
        format: Data = "document", data();
        /// CloudEvents 1.0: "binary" with attributes in headers, "structured" with everything in the
        /// body, or "off".
        cloudevents: Option<ContentMode> = "binary", choice(vec![
            ("binary", Some(ContentMode::Binary)),
            ("structured", Some(ContentMode::Structured)),
            ("off", None),
        ]);
        /// What happens to an event that is too large for the target: "dead-letter" keeps it as a dead
        /// letter, "claim-check" sends an event that names the document.
        oversize: Oversize = "dead-letter", choice(vec![
            ("dead-letter", Oversize::DeadLetter),
            ("claim-check", Oversize::ClaimCheck),
        ]);
    }
}

options! {
    /// How events are written, for lines of text without a largest size.
    pub struct LineOptions {
        /// "document": the document as the route made it. "envelope": the operation, the document before
        /// (where the feed carries it) and after, and its origin.
        format: Data = "document", data();
        /// CloudEvents 1.0: "structured", or "off" with format = "envelope". A line has no headers, so
        /// there is no "binary".
        cloudevents: Option<ContentMode> = "structured", choice(vec![
            ("structured", Some(ContentMode::Structured)),
            ("off", None),
        ]);
    }
    rules(table) {
        if (format, cloudevents) == (Some(Data::Document), Some(None)) {
            deletes_are_empty(table);
        }
    }
}

impl EventOptions {
    pub fn format(&self) -> Format {
        Format { data: self.format, cloud_events: self.cloudevents }
    }

    /// The encoder of the events of a sink.
    pub fn encoder(&self, sink: &str) -> Encoder {
        Encoder::new(self.format(), self.oversize).for_sink(sink)
    }
}

impl LineOptions {
    /// The encoder of the events of a sink.
    pub fn encoder(&self, sink: &str) -> Encoder {
        let format = Format { data: self.format, cloud_events: self.cloudevents };
        Encoder::new(format, Oversize::DeadLetter).for_sink(sink)
    }
}

fn data() -> impl Kind<Output = Data> {
    choice(vec![("document", Data::Document), ("envelope", Data::Envelope)])
}

/// A delete has no document, and nothing else would say that there was one.
fn deletes_are_empty(table: &Table<'_>) {
    let at = table.get("cloudevents").unwrap_or_else(|| table.value().clone());
    at.problem(
        "a delete would be an empty line",
        "Write format = \"envelope\", or leave cloudevents at \"structured\".",
    );
}
