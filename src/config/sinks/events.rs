//! What all sinks that publish events have in common.

use cosmos_bridge_event::{ContentMode, Data, Format, Oversize};

use super::super::reader::Value;
use super::super::table::Table;

/// How events are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    pub format: Format,
    pub oversize: Oversize,
}

/// `format`, `cloudevents` and `oversize`, where messages carry headers and have a largest size.
pub(super) fn events(table: &Table<'_>) -> Option<Events> {
    let format = format(table, &[ContentMode::Binary, ContentMode::Structured]);
    let oversize = table.or("oversize", Oversize::DeadLetter, |oversize| {
        oversize
            .choice(&[("dead-letter", Oversize::DeadLetter), ("claim-check", Oversize::ClaimCheck)])
    });
    Some(Events { format: format?, oversize: oversize? })
}

/// `format` and `cloudevents`. `modes` are the content modes that the sink can carry, its default
/// first.
pub(super) fn format(table: &Table<'_>, modes: &[ContentMode]) -> Option<Format> {
    let data = table.or("format", Data::Document, |format| {
        format.choice(&[("document", Data::Document), ("envelope", Data::Envelope)])
    });
    let cloud_events = table.or("cloudevents", modes.first().copied(), |mode| {
        let mut choices: Vec<_> = modes.iter().map(|mode| (name(*mode), Some(*mode))).collect();
        choices.push(("off", None));
        mode.choice(&choices)
    });
    Some(Format { data: data?, cloud_events: cloud_events? })
}

fn name(mode: ContentMode) -> &'static str {
    match mode {
        ContentMode::Binary => "binary",
        ContentMode::Structured => "structured",
    }
}

/// Refuses a format in which a delete would be nothing at all, where there is no other place to tell
/// of it.
pub(super) fn tells_of_deletes(table: &Value<'_>, format: Format) -> Option<Format> {
    if (format.data, format.cloud_events) != (Data::Document, None) {
        return Some(format);
    }
    let at = table.at("cloudevents").unwrap_or_else(|| table.clone());
    at.problem(
        "a delete would be an empty line",
        "Write format = \"envelope\", or leave cloudevents at \"structured\".",
    );
    None
}
