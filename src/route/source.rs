//! The document of a change while routes use it.

use std::sync::Arc;

use cosmos_bridge_sink::{Document, document_bytes};

use crate::model::Event;

/// The source document, copied as rarely as possible: routes that send it unchanged share it, and
/// the last route that changes it takes it.
pub(super) struct Source {
    document: Arc<Document>,
    /// Size as text, once it was needed.
    bytes: Option<usize>,
    /// Number of routes that still need it.
    needed: usize,
}

impl Source {
    /// `needed` is the number of routes that send the document as it is.
    pub(super) fn of(event: Event, needed: usize) -> Self {
        let document = match event {
            Event::Upsert { current, .. } => current,
            Event::Delete { .. } => Document::new(),
        };
        Self { document: Arc::new(document), bytes: None, needed }
    }

    pub(super) fn shared(&mut self) -> (usize, Arc<Document>) {
        self.needed = self.needed.saturating_sub(1);
        let bytes = *self.bytes.get_or_insert_with(|| document_bytes(&self.document));
        (bytes, Arc::clone(&self.document))
    }

    pub(super) fn own(&mut self) -> Document {
        self.needed = self.needed.saturating_sub(1);
        if self.needed > 0 {
            return Document::clone(&self.document);
        }
        Arc::unwrap_or_clone(std::mem::take(&mut self.document))
    }
}
