//! A change as it was read, before the route.

use std::sync::Arc;

use cosmos_bridge_sink::{Document, Origin, document_memory};

/// One change of one document in the source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceChange {
    pub origin: Arc<Origin>,
    pub event: Event,
}

/// What happened to the document.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Created or replaced. `previous` only where the feed carries it.
    Upsert { current: Document, previous: Option<Document> },
    /// Deleted, or expired by its time to live. `previous` only where the feed carries it.
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
    /// About how many bytes of memory the change holds.
    pub fn bytes(&self) -> usize {
        let of = |image: &Option<Document>| image.as_ref().map_or(0, document_memory);
        match &self.event {
            Event::Upsert { current, previous } => document_memory(current) + of(previous),
            Event::Delete { previous, .. } => of(previous),
        }
    }
}
