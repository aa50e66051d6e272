//! A change as it was read, before routing.

use std::sync::Arc;

use cosmos_bridge_sink::{Document, Origin, document_memory};

/// One change of one document in the source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceChange {
    pub origin: Arc<Origin>,
    pub event: Event,
}

/// The event of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Created or replaced. `previous` is `Some` if the feed contains it; `is_new` is true if the feed
    /// states that there was no document before.
    Upsert { current: Document, previous: Option<Document>, is_new: bool },
    /// Deleted, or expired by its time to live. `previous` is `Some` if the feed contains it.
    Delete { previous: Option<Document>, expired: bool },
}

impl Event {
    /// `upsert`, `delete` or `expire`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Upsert { .. } => "upsert",
            Self::Delete { expired: false, .. } => "delete",
            Self::Delete { expired: true, .. } => "expire",
        }
    }
}

impl SourceChange {
    /// Approximate memory of the change, in bytes.
    pub fn bytes(&self) -> usize {
        let of = |image: &Option<Document>| image.as_ref().map_or(0, document_memory);
        match &self.event {
            Event::Upsert { current, previous, .. } => document_memory(current) + of(previous),
            Event::Delete { previous, .. } => of(previous),
        }
    }
}
