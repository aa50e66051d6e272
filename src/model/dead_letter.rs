//! Changes that could not be written.

use super::label::Label;

/// The stage of the pipeline at which a change failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The SDK could not parse it; only its position in the feed is known.
    Read,
    /// The route could not map it.
    Route,
    /// The sink rejected it.
    Sink,
}

impl Label for Stage {
    const ALL: &'static [Self] = &[Self::Read, Self::Route, Self::Sink];

    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Route => "route",
            Self::Sink => "sink",
        }
    }
}

/// A change that its target will never accept, stored in full.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    pub pipeline: String,
    pub sink: String,
    pub stage: Stage,
    pub cause: String,
    /// The source, as `account/database/container`.
    pub source: String,
    pub source_id: String,
    /// The source's key values, as a JSON array.
    pub source_key: String,
    /// The start of the feed range, where id and key do not name the document; else empty, so that a
    /// change that is read again in a part of its range is the same letter.
    pub range_min: String,
    pub lsn: Option<i64>,
    /// See [`Origin::nth`](cosmos_bridge_sink::Origin::nth).
    pub nth: u32,
    /// Distinguishes letters of one change: the number of the route, from 1, at the stage of routes;
    /// key and id in the target, as a JSON array, at the stage of sinks.
    pub target: String,
    pub committed_at: Option<i64>,
    /// `upsert`, `delete` or `expire`.
    pub operation: &'static str,
    /// The document at the stage that rejected it, as JSON; `None` for deletes without a previous
    /// image.
    pub document: Option<String>,
    /// The document before an upsert, as JSON, where the feed contains it.
    pub previous: Option<String>,
}

impl DeadLetter {
    /// Bytes of its documents as text.
    pub fn bytes(&self) -> usize {
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        of(&self.document) + of(&self.previous)
    }
}
