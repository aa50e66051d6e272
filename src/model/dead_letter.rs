//! Changes that are given up, and where.

use super::label::Label;

/// Where in the pipeline a change was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The SDK could not read it; only its place in the feed is known.
    Read,
    /// The route could not map it.
    Route,
    /// The sink will never take it.
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

/// A change that its target will never take, kept whole.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    pub pipeline: String,
    pub sink: String,
    pub stage: Stage,
    pub cause: String,
    /// `account/database/container` it was read from.
    pub source: String,
    pub source_id: String,
    /// The source's key values, as a JSON array.
    pub source_key: String,
    pub lsn: Option<i64>,
    /// See [`Origin::nth`](cosmos_bridge_sink::Origin::nth).
    pub nth: u32,
    /// What else tells letters of one change apart: at the stage of routes the place of the route, from 1;
    /// at that of sinks the key and id that it was to have, as a JSON array.
    pub target: String,
    pub committed_at: Option<i64>,
    /// `upsert`, `delete` or `expire`.
    pub operation: &'static str,
    /// The document as it was given to the stage that refused it, as JSON; none for deletes
    /// without a previous image.
    pub document: Option<String>,
}
