//! Changes for a container that mirrors the source.

use std::sync::Arc;

use cosmos_bridge_sink::{Change, Document, OldCopies, Operation, Origin, document_bytes};

use super::plan::{Plan, Route};
use super::remap::Identity;
use super::routed::Addressed;
use crate::model::Event;

impl Route {
    /// The change of a plan, with the documents as they were read. Such a route changes nothing, so the plan only
    /// tells the place. `None` if there is nothing to send.
    pub(super) fn mirror(
        &self,
        plan: Plan,
        event: &Event,
        origin: &Arc<Origin>,
    ) -> Option<Addressed> {
        let Identity { id, partition_key } = plan.into_identity()?;
        let shared = |document: &Document| Arc::new(document.clone());
        let (operation, previous, old_copies) = match event {
            Event::Upsert { current, previous, is_new } => {
                let old_copies = if *is_new { OldCopies::Nowhere } else { OldCopies::None };
                (Operation::Upsert { document: shared(current) }, previous, old_copies)
            }
            Event::Delete { previous, expired } => {
                (Operation::Delete { expired: *expired }, previous, OldCopies::None)
            }
        };
        let previous = previous.as_ref().map(shared);
        let bytes = match &operation {
            Operation::Upsert { document } => document_bytes(document),
            Operation::Delete { .. } => id.len(),
        };
        let bytes = bytes + previous.as_deref().map_or(0, document_bytes);
        let origin = Arc::clone(origin);
        let change = Change { id, partition_key, operation, previous, origin, old_copies };
        Some(Addressed { sink: self.sink, bytes, change })
    }
}
