//! Removes the copies of a document whose key or id in the target has changed.

use std::collections::{HashMap, HashSet};

use cosmos_bridge_sink::{Answers, Cause, Change, OldCopies, Operation, Place};
use tokio::time::Instant;

use super::read::found_or_failed;
use super::{CosmosSink, removes_copies};
use crate::Write;
use crate::document_hash::DocumentHash;
use crate::history::{Known, LastWrite, OldCopy, OnlyCopy};
use crate::result::{OUTDATED, PointResult, count, count_found, result};
use crate::source_version::SourceDocument;

impl CosmosSink {
    /// The copies that have to go after each change. Where neither the change nor the last writes tell
    /// their places, one query finds those of all changes. `None` if it failed: every change is deferred.
    pub(super) async fn old_copies(
        &self,
        changes: &[Change],
        answers: &mut Answers<'_>,
    ) -> Option<Vec<Vec<OldCopy>>> {
        let mut copies: Vec<Vec<OldCopy>> = Vec::with_capacity(changes.len());
        let has_none =
            |change: &Change| matches!(change.old_copies, OldCopies::None | OldCopies::Nowhere);
        if changes.iter().all(has_none) {
            copies.resize_with(changes.len(), Vec::new);
            return Some(copies);
        }
        let mut unknown: HashMap<SourceDocument, Vec<usize>> = HashMap::new();
        // Where the changes before it put a document.
        let mut earlier: HashMap<SourceDocument, Place> = HashMap::new();
        // Those of which all copies are known, or were asked for.
        let mut complete: HashSet<SourceDocument> = HashSet::new();
        for (index, change) in changes.iter().enumerate() {
            let document = SourceDocument::of(&change.origin);
            let mut places = Vec::new();
            match &change.old_copies {
                OldCopies::None => {}
                OldCopies::Nowhere => drop(complete.insert(document)),
                OldCopies::At(place) => places.push(Place::clone(place)),
                OldCopies::Anywhere => {
                    places.extend(earlier.get(&document).cloned());
                    if complete.insert(document) {
                        match self.history.place(document) {
                            Some(OnlyCopy::At(place)) => places.push(Place::clone(&place)),
                            Some(OnlyCopy::Nowhere) => {}
                            None => unknown.entry(document).or_default().push(index),
                        }
                    }
                }
            }
            if !removes_copies(change) {
                earlier.insert(document, place_of(change));
            }
            let other = |place: &Place| removes_copies(change) || *place != place_of(change);
            let copy = |place| OldCopy { place, known: Known::Nothing };
            copies.push(places.into_iter().filter(other).map(copy).collect());
        }
        match self.find(&unknown, changes, &mut copies, answers).await {
            Ok(()) => Some(copies),
            Err(PointResult::Failed(reason, wait)) => {
                answers.defer_rest(&reason, wait);
                None
            }
            Err(_) => None,
        }
    }

    /// Adds the copies of source documents, each with the changes of it that ask for them.
    async fn find(
        &self,
        unknown: &HashMap<SourceDocument, Vec<usize>>,
        changes: &[Change],
        copies: &mut [Vec<OldCopy>],
        answers: &mut Answers<'_>,
    ) -> Result<(), PointResult> {
        let Some(field) = self.options.source_field.as_deref().filter(|_| !unknown.is_empty())
        else {
            return Ok(());
        };
        let documents: Vec<_> = unknown.keys().copied().collect();
        let found = self.container.copies(field, &documents).await;
        count_found(answers, &found);
        for stored in found_or_failed(found)? {
            let indexes = stored.version.and_then(|version| unknown.get(&version.document));
            for index in indexes.into_iter().flatten() {
                let change = &changes[*index];
                let known = Known::Written(LastWrite::of(&stored));
                let (id, partition_key) = (stored.id.clone(), stored.partition_key.clone());
                let place = Place { id, partition_key };
                if removes_copies(change) || place != place_of(change) {
                    copies[*index].push(OldCopy { place, known });
                }
            }
        }
        Ok(())
    }

    /// Records where the only copy of a document is after a change, if that is known.
    pub(super) fn note_place(&self, change: &Change) {
        if self.options.source_field.is_none() {
            return;
        }
        let document = SourceDocument::of(&change.origin);
        match (&change.old_copies, &change.operation) {
            // The change may have left a copy at another place.
            (OldCopies::None, Operation::Upsert { .. }) => self.history.forget_place(document),
            (_, Operation::Upsert { .. }) => self.history.placed(document, Some(place_of(change))),
            (OldCopies::Anywhere, Operation::Delete { .. }) => self.history.placed(document, None),
            (_, Operation::Delete { .. }) => self.history.forget_place(document),
        }
    }

    /// Deletes an old copy. The place may be another document's by now, whose write can be in flight; so
    /// the delete is conditional.
    pub(super) async fn remove_copy(
        &self,
        change: &Change,
        copy: &OldCopy,
        answers: &mut Answers<'_>,
    ) -> PointResult {
        let began = Instant::now();
        let Place { id, partition_key } = copy.place.clone();
        let removal = Change {
            id,
            partition_key,
            operation: Operation::Delete { expired: false },
            old_copies: OldCopies::None,
            ..change.clone()
        };
        let document = DocumentHash::of(&removal);
        let known = match (self.history.known(document), &copy.known) {
            (Known::Nothing, Known::Nothing) => match self.read_one(&removal, answers).await {
                Ok(known) => known,
                Err(result) => return result,
            },
            (Known::Nothing, found) => found.clone(),
            (known, _) => known,
        };
        if let Some(held) = known.version()
            && let Some(result) = self.collision(held, &removal, answers)
        {
            return result;
        }
        let Some(etag) = known.etag() else {
            return self.wait_for_late_writes(&removal, document, began);
        };
        let write = Write::Delete { if_match: Some(etag) };
        let answer = self.container.write(&removal.partition_key, &removal.id, write).await;
        count(answers, &answer);
        self.note_unanswered(std::slice::from_ref(&removal), &[(0, write)], &answer);
        let result = result(write, &answer, self.options.write);
        match result {
            PointResult::Done => {
                self.history.wrote(document, self.rules().version(&removal), write, &answer);
                self.wait_for_late_writes(&removal, document, began)
            }
            PointResult::Outdated => {
                self.note_outdated(&removal, write, &result);
                PointResult::Failed(OUTDATED.to_owned(), Cause::Fault.into())
            }
            result => result,
        }
    }
}

fn place_of(change: &Change) -> Place {
    Place { id: change.id.clone(), partition_key: change.partition_key.clone() }
}
