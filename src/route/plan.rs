//! Plans and executes what one route does with one change.

use std::sync::Arc;

use cosmos_bridge_sink::{
    Change, Document, KeyValue, OldCopies, Operation, Origin, Place, document_bytes, may_be_rounded,
};

use super::access::put;
use super::fields::Fields;
use super::filter::Filter;
use super::needs::Needs;
use super::remap::{Identity, Remap, Remapped, key_json};
use super::routed::Addressed;
use crate::config::Path;
use crate::model::{Event, SourceChange};

/// A compiled route.
pub(super) struct Route {
    pub(super) sink: usize,
    pub(super) filter: Option<Filter>,
    /// `None` if the route changes no field.
    pub(super) fields: Option<Fields>,
    pub(super) remap: Remap,
    pub(super) needs: Needs,
    /// True if the sink gets events: it uses previous images, and a change of the key is a delete and
    /// then an upsert.
    pub(super) events: bool,
}

/// What one route does with one change.
pub(super) enum Plan {
    Filtered,
    Upsert { moved_from: Option<Identity>, mapped: Mapped, previous: Option<Arc<Document>> },
    Delete { identity: Identity, expired: bool, previous: Option<Arc<Document>> },
}

/// A document that passes a route.
pub(super) struct Mapped {
    /// `None`: the source document itself.
    document: Option<Document>,
    remapped: Remapped,
}

impl Route {
    /// Does not modify the change, so that a rejected change is kept whole. The error is the reason.
    pub(super) fn plan(
        &self,
        change: &SourceChange,
        source_key_paths: &[Path],
    ) -> Result<Plan, String> {
        let origin = &change.origin;
        match &change.event {
            Event::Upsert { current, previous } => {
                let mapped = self.map(current, origin, source_key_paths)?;
                // A previous image that cannot be mapped was never written to the target.
                let old = previous.as_ref().and_then(|old| {
                    let mapped = self.map(old, origin, source_key_paths).ok().flatten()?;
                    Some(self.image(old, mapped))
                });
                Ok(match (mapped, old) {
                    (None, None) => Plan::Filtered,
                    (None, Some((identity, previous))) => {
                        Plan::Delete { identity, expired: false, previous }
                    }
                    (Some(mapped), old) => {
                        let (identity, previous) = old.unzip();
                        let moved_from = identity.filter(|old| *old != mapped.remapped.identity);
                        Plan::Upsert { moved_from, mapped, previous: previous.flatten() }
                    }
                })
            }
            Event::Delete { previous: Some(previous), expired } => {
                let Some(mapped) = self.map(previous, origin, source_key_paths)? else {
                    return Ok(Plan::Filtered);
                };
                let (identity, previous) = self.image(previous, mapped);
                Ok(Plan::Delete { identity, expired: *expired, previous })
            }
            Event::Delete { previous: None, expired } => {
                let known = self.known(origin, source_key_paths)?;
                let Some(mapped) = self.map(&known, origin, source_key_paths)? else {
                    return Ok(Plan::Filtered);
                };
                let identity = mapped.remapped.identity;
                Ok(Plan::Delete { identity, expired: *expired, previous: None })
            }
        }
    }

    /// The identity of a previous image, and the mapped image if the sink uses it.
    fn image(&self, image: &Document, mapped: Mapped) -> (Identity, Option<Arc<Document>>) {
        let Mapped { document, remapped: Remapped { identity, writes } } = mapped;
        let written = || self.remap.written(writes, document.unwrap_or_else(|| image.clone()));
        (identity, self.events.then(written))
    }

    /// `None` if the document does not pass this route.
    fn map(
        &self,
        source: &Document,
        origin: &Origin,
        source_key_paths: &[Path],
    ) -> Result<Option<Mapped>, String> {
        if let Some(filter) = &self.filter
            && !filter.passes(source)?
        {
            return Ok(None);
        }
        let document = match &self.fields {
            None => None,
            Some(fields) => match fields.apply(source)? {
                None => return Ok(None),
                changed => changed,
            },
        };
        let remapped = {
            let document = document.as_ref().unwrap_or(source);
            self.remap.identify(document, origin, source_key_paths)?
        };
        Ok(Some(Mapped { document, remapped }))
    }

    /// A document with the known fields of a deleted document without an image, if they suffice.
    fn known(&self, origin: &Origin, source_key_paths: &[Path]) -> Result<Document, String> {
        if origin.partition_key.0.is_empty() {
            return Err("the feed does not contain the key of the deleted document".to_owned());
        }
        let mut document = Document::new();
        let mut known = Vec::new();
        let values = origin.partition_key.0.iter().chain(std::iter::repeat(&KeyValue::Undefined));
        for (path, value) in source_key_paths.iter().zip(values) {
            // A key is a double: the document may have held another integer that rounds to it.
            if matches!(value, KeyValue::Number(number) if may_be_rounded(*number)) {
                continue;
            }
            if let Some(value) = key_json(value) {
                put(&mut document, path, value)?;
            }
            known.push(path);
        }
        document.insert("id".to_owned(), origin.id.clone().into());
        match self.needs.unmet(&known) {
            Some(reason) => Err(reason),
            None => Ok(document),
        }
    }

    /// The changes of a plan, in order.
    pub(super) fn carry_out(
        &self,
        plan: Plan,
        source: &mut Source,
        origin: &Arc<Origin>,
        changes: &mut Vec<Addressed>,
    ) {
        let mut old_copies = OldCopies::None;
        let mut send = |identity: Identity, operation, bytes, previous, old_copies| {
            let previous: Option<Arc<Document>> = previous;
            let Identity { id, partition_key } = identity;
            let origin = Arc::clone(origin);
            let bytes = bytes + previous.as_deref().map_or(0, document_bytes);
            let change = Change { id, partition_key, operation, previous, origin, old_copies };
            changes.push(Addressed { sink: self.sink, bytes, change });
        };
        match plan {
            Plan::Filtered => {}
            Plan::Delete { identity, expired, previous } => {
                let bytes = identity.id.len();
                send(identity, Operation::Delete { expired }, bytes, previous, old_copies);
            }
            Plan::Upsert { moved_from, mapped: Mapped { document, remapped }, mut previous } => {
                let (bytes, document) = match document {
                    None if remapped.writes.is_empty() => source.shared(),
                    changed => {
                        let changed = changed.unwrap_or_else(|| source.own());
                        let document = self.remap.written(remapped.writes, changed);
                        (document_bytes(&document), document)
                    }
                };
                match moved_from {
                    Some(old) if self.events => {
                        let (bytes, delete) = (old.id.len(), Operation::Delete { expired: false });
                        send(old, delete, bytes, previous.take(), OldCopies::None);
                    }
                    Some(Identity { id, partition_key }) => {
                        old_copies = OldCopies::At(Box::new(Place { id, partition_key }));
                    }
                    None => {}
                }
                let upsert = Operation::Upsert { document };
                send(remapped.identity, upsert, bytes, previous, old_copies);
            }
        }
    }
}

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
    pub(super) fn of(event: Event, plans: &[Result<Plan, String>]) -> Self {
        let document = match event {
            Event::Upsert { current, .. } => current,
            Event::Delete { .. } => Document::new(),
        };
        let needs = |plan: &&Result<Plan, String>| {
            matches!(plan, Ok(Plan::Upsert { mapped: Mapped { document: None, .. }, .. }))
        };
        let needed = plans.iter().filter(needs).count();
        Self { document: Arc::new(document), bytes: None, needed }
    }

    fn shared(&mut self) -> (usize, Arc<Document>) {
        self.needed = self.needed.saturating_sub(1);
        let bytes = *self.bytes.get_or_insert_with(|| document_bytes(&self.document));
        (bytes, Arc::clone(&self.document))
    }

    fn own(&mut self) -> Document {
        self.needed = self.needed.saturating_sub(1);
        if self.needed > 0 {
            return Document::clone(&self.document);
        }
        Arc::unwrap_or_clone(std::mem::take(&mut self.document))
    }
}
