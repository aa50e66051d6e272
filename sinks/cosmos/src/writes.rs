//! Which write makes the target follow a change.

use std::collections::HashMap;

use cosmos_bridge_sink::{Change, DocumentId, OldCopies, Operation};

use crate::history::LastWrite;
use crate::source_version::{SourceVersion, Verdict};
use crate::{CosmosOptions, Strategy, Write};

/// The write of one change. `etag` is that of the last write of the document, if it is known;
/// `expects_new` decides between the two writes that need none.
///
/// | | known `ETag` | unknown |
/// |---|---|---|
/// | upsert | replace if it matches | create, or upsert |
/// | insert-if-absent | create | create |
/// | replace-if-present | replace if it matches | replace |
/// | delete | delete if it matches | delete |
pub(crate) fn first_write<'a>(
    operation: &'a Operation,
    strategy: Strategy,
    etag: Option<&'a str>,
    expects_new: bool,
) -> Write<'a> {
    let document = match operation {
        Operation::Upsert { document } => document,
        Operation::Delete { .. } => return Write::Delete { if_match: etag },
    };
    match (strategy, etag) {
        (Strategy::InsertIfAbsent, _) => Write::Create(document),
        (Strategy::Upsert, None) if expects_new => Write::Create(document),
        (Strategy::Upsert, None) => Write::Upsert(document),
        (Strategy::Upsert | Strategy::ReplaceIfPresent, if_match) => {
            Write::Replace { document, if_match }
        }
    }
}

/// The writes of a transactional batch, each with the index of its change. `known` has the last write
/// of each change's document. `None` if a change must not simply be written: each needs its own
/// request then.
///
/// Only the first write of a document needs a condition: a batch has all its effects or none.
pub(crate) fn batch_writes<'a>(
    changes: &'a [Change],
    options: &CosmosOptions,
    known: &'a [Option<LastWrite>],
    expects_new: bool,
) -> Option<Vec<(usize, Write<'a>)>> {
    // What each document is after the writes so far; no version if it was deleted.
    let mut versions: HashMap<DocumentId<'_>, Option<SourceVersion>> = HashMap::new();
    let mut writes = Vec::with_capacity(changes.len());
    for (index, (change, known)) in changes.iter().zip(known).enumerate() {
        let earlier = versions.get(&change.document_id());
        let version = match earlier {
            Some(version) => *version,
            None => known.as_ref().map(|known| known.version),
        };
        if change.old_copies != OldCopies::None {
            return None;
        }
        let verdict = version.map(|version| version.judge(change, options.on_collision));
        if verdict.is_some_and(|verdict| verdict != Verdict::Write) {
            return None;
        }
        let etag = known.as_ref().map(|known| &*known.etag);
        let write = earlier.map_or_else(
            || Some(first_write(&change.operation, options.write, etag, expects_new)),
            |version| later_write(&change.operation, options.write, version.is_some()),
        );
        let Some(write) = write else { continue };
        let is_delete = matches!(write, Write::Delete { .. });
        versions.insert(change.document_id(), (!is_delete).then(|| SourceVersion::of(change)));
        writes.push((index, write));
    }
    Some(writes)
}

/// The write of a change after another one of the same document in the same batch; `None` if there
/// is nothing to do.
fn later_write(operation: &Operation, strategy: Strategy, exists: bool) -> Option<Write<'_>> {
    match (operation, strategy, exists) {
        (Operation::Delete { .. }, _, true) => Some(Write::Delete { if_match: None }),
        (Operation::Upsert { document }, Strategy::Upsert | Strategy::ReplaceIfPresent, true) => {
            Some(Write::Upsert(document))
        }
        (Operation::Upsert { document }, Strategy::Upsert | Strategy::InsertIfAbsent, false) => {
            Some(Write::Create(document))
        }
        (Operation::Delete { .. }, _, false)
        | (Operation::Upsert { .. }, Strategy::InsertIfAbsent, true)
        | (Operation::Upsert { .. }, Strategy::ReplaceIfPresent, false) => None,
    }
}

#[cfg(test)]
mod tests;
