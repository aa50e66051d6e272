//! Plans and executes what one route does with one change.

use std::sync::Arc;

use cosmos_bridge_sink::{
    Change, Document, KeyValue, OldCopies, Operation, Origin, PartitionKey, Place, document_bytes,
    may_be_rounded,
};

use super::access::put;
use super::fields::Fields;
use super::filter::Filter;
use super::holds::Holds;
use super::needs::Needs;
use super::remap::{Identity, Remap, Remapped, key_json};
use super::routed::Addressed;
use super::soft_delete::{Marked, SoftDelete};
use super::source::Source;
use super::unparsed::Touched;
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
    pub(super) touched: Touched,
    pub(super) holds: Holds,
    /// False if documents that existed before the pipeline first started are left out.
    pub(super) takes_snapshot: bool,
    /// True if what exists may be copied again, over what was written before.
    pub(super) copies_again: bool,
    /// `None` if no mark counts as a delete.
    pub(super) soft_delete: Option<SoftDelete>,
    /// True if previous images do not have every field that the route reads.
    pub(super) has_partial_images: bool,
}

/// What one route does with one change.
pub(super) enum Plan {
    Filtered,
    Upsert {
        old_copy: OldCopy,
        mapped: Mapped,
        previous: Option<Arc<Document>>,
    },
    Delete {
        identity: Identity,
        expired: bool,
        previous: Option<Arc<Document>>,
    },
    /// Delete the copies of the source document, whose places are not known.
    DeleteCopies {
        expired: bool,
    },
}

/// Where the target may have the document from before the change.
pub(super) enum OldCopy {
    /// At the same place, or at one that is not looked for.
    None,
    Nowhere,
    At(Identity),
    Anywhere,
}

impl Plan {
    /// True if the route sends the source document itself.
    pub(super) fn needs_source(&self) -> bool {
        matches!(self, Self::Upsert { mapped: Mapped { document: None, .. }, .. })
    }

    /// Where the document is in the target; `None` if nothing is sent, or if it is not known.
    pub(super) fn into_identity(self) -> Option<Identity> {
        match self {
            Self::Upsert { mapped, .. } => Some(mapped.remapped.identity),
            Self::Delete { identity, .. } => Some(identity),
            Self::Filtered | Self::DeleteCopies { .. } => None,
        }
    }
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
        if origin.is_snapshot && !self.takes_snapshot {
            return Ok(Plan::Filtered);
        }
        match &change.event {
            Event::Upsert { current, previous, is_new } => {
                let mut mapped = self.map(current, origin, source_key_paths)?;
                let marked = self.marked(current, mapped.as_mut())?;
                // It was deleted before the first copy began. A later copy finds what was written before.
                if origin.is_snapshot && marked.is_some() && !self.copies_again {
                    return Ok(Plan::Filtered);
                }
                // An image that lacks what the route reads would lead to another place.
                let previous = previous.as_ref().filter(|old| self.is_told_by(old));
                let is_told = *is_new || previous.is_some();
                let is_deleted = marked == Some(Marked::Deleted);
                let is_copied_again = origin.is_snapshot && self.copies_again;
                let is_searched = self.holds.moves()
                    || (is_deleted || is_copied_again) && self.holds.finds_copies();
                if is_searched && !is_told && self.known(origin, source_key_paths).is_err() {
                    return Ok(match mapped.filter(|_| !is_deleted) {
                        None => Plan::DeleteCopies { expired: false },
                        Some(mapped) => {
                            Plan::Upsert { old_copy: OldCopy::Anywhere, mapped, previous: None }
                        }
                    });
                }
                // A previous image that cannot be mapped was never written to the target.
                let old = previous.and_then(|old| {
                    let mapped = self.map(old, origin, source_key_paths).ok().flatten()?;
                    Some(self.image(old, mapped))
                });
                Ok(match (mapped, old) {
                    (None, None) => Plan::Filtered,
                    (None, Some((identity, previous))) => {
                        Plan::Delete { identity, expired: false, previous }
                    }
                    // Where the document was until now, if that is known.
                    (Some(mapped), old) if is_deleted => {
                        let now = (mapped.remapped.identity, None);
                        let (identity, previous) = old.unwrap_or(now);
                        Plan::Delete { identity, expired: false, previous }
                    }
                    (Some(mapped), old) => {
                        let (identity, previous) = old.unzip();
                        let moved_from = identity.filter(|old| *old != mapped.remapped.identity);
                        let none = if *is_new && self.holds.moves() {
                            OldCopy::Nowhere
                        } else {
                            OldCopy::None
                        };
                        let old_copy = moved_from.map_or(none, OldCopy::At);
                        Plan::Upsert { old_copy, mapped, previous: previous.flatten() }
                    }
                })
            }
            Event::Delete { previous: Some(previous), expired } if self.is_told_by(previous) => {
                let Some(mapped) = self.map(previous, origin, source_key_paths)? else {
                    return Ok(Plan::Filtered);
                };
                let (identity, previous) = self.image(previous, mapped);
                Ok(Plan::Delete { identity, expired: *expired, previous })
            }
            // The policy of the container may leave fields out of an image.
            Event::Delete { expired, previous } => {
                let known = match self.known(origin, source_key_paths) {
                    Err(_) if self.holds.finds_copies() && !origin.partition_key.0.is_empty() => {
                        return Ok(Plan::DeleteCopies { expired: *expired });
                    }
                    Err(reason) => {
                        let partial =
                            previous.as_ref().and_then(|image| self.needs.unmet_in(image));
                        return Err(partial.map_or(reason, |reason| self.with_remedy(reason)));
                    }
                    Ok(known) => known,
                };
                let Some(mapped) = self.map(&known, origin, source_key_paths)? else {
                    return Ok(Plan::Filtered);
                };
                let identity = mapped.remapped.identity;
                Ok(Plan::Delete { identity, expired: *expired, previous: None })
            }
        }
    }

    /// True if a previous image has what the route reads. A field that is missing may be missing in the
    /// document; it counts as known unless the policy of the container, or a sink that can look for the
    /// copy, makes that needless.
    ///
    /// An image in which the route cannot read a field says nothing.
    fn is_told_by(&self, image: &Document) -> bool {
        self.touched.check(image).is_ok()
            && (self.needs.are_in(image) || !(self.holds.finds_copies() || self.has_partial_images))
    }

    /// The identity of a previous image, and the mapped image if the sink uses it.
    fn image(&self, image: &Document, mapped: Mapped) -> (Identity, Option<Arc<Document>>) {
        let Mapped { document, remapped: Remapped { identity, writes } } = mapped;
        let written = || self.remap.written(writes, document.unwrap_or_else(|| image.clone()));
        (identity, self.holds.is_events().then(written))
    }

    /// `None` if the document does not pass this route.
    fn map(
        &self,
        source: &Document,
        origin: &Origin,
        source_key_paths: &[Path],
    ) -> Result<Option<Mapped>, String> {
        self.touched.check(source)?;
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

    /// What becomes of a document that passes the route and is marked as deleted. One that expires in the
    /// target gets its time to live.
    fn marked(
        &self,
        source: &Document,
        mapped: Option<&mut Mapped>,
    ) -> Result<Option<Marked>, String> {
        let (Some(soft), Some(mapped)) = (&self.soft_delete, mapped) else { return Ok(None) };
        let marked = soft.of(source)?;
        if let Some(Marked::ExpiresAfter(seconds)) = marked {
            let document = mapped.document.get_or_insert_with(|| source.clone());
            document.insert("ttl", seconds);
        }
        Ok(marked)
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
        document.insert("id", origin.id.as_str());
        match self.needs.unmet(&known) {
            Some(reason) => Err(self.with_remedy(reason)),
            None => Ok(document),
        }
    }

    fn with_remedy(&self, reason: String) -> String {
        if self.holds.is_events() {
            return reason;
        }
        format!("{reason}; with source_field, the sink finds the copy")
    }

    /// How many changes a plan has.
    pub(super) fn owes(&self, plan: &Plan) -> usize {
        match plan {
            Plan::Filtered => 0,
            Plan::Upsert { old_copy: OldCopy::At(_), .. } if self.holds.is_events() => 2,
            Plan::Upsert { .. } | Plan::Delete { .. } | Plan::DeleteCopies { .. } => 1,
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
            Plan::DeleteCopies { expired } => {
                // The id keeps changes of one document in order; there is no key to name.
                let identity =
                    Identity { id: origin.id.clone(), partition_key: PartitionKey::default() };
                let (bytes, delete) = (identity.id.len(), Operation::Delete { expired });
                send(identity, delete, bytes, None, OldCopies::Anywhere);
            }
            Plan::Upsert { old_copy, mapped: Mapped { document, remapped }, mut previous } => {
                let (bytes, document) = match document {
                    None if remapped.writes.is_empty() => source.shared(),
                    changed => {
                        let changed = changed.unwrap_or_else(|| source.own());
                        let document = self.remap.written(remapped.writes, changed);
                        (document_bytes(&document), document)
                    }
                };
                match old_copy {
                    OldCopy::At(old) if self.holds.is_events() => {
                        let (bytes, delete) = (old.id.len(), Operation::Delete { expired: false });
                        send(old, delete, bytes, previous.take(), OldCopies::None);
                    }
                    OldCopy::At(Identity { id, partition_key }) => {
                        old_copies = OldCopies::At(Box::new(Place { id, partition_key }));
                    }
                    OldCopy::Anywhere => old_copies = OldCopies::Anywhere,
                    OldCopy::Nowhere => old_copies = OldCopies::Nowhere,
                    OldCopy::None => {}
                }
                let upsert = Operation::Upsert { document };
                send(remapped.identity, upsert, bytes, previous, old_copies);
            }
        }
    }
}
