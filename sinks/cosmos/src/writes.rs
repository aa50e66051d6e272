//! Which write makes the target follow a change.

use std::collections::HashMap;

use cosmos_bridge_sink::{Change, Document, Operation};

use crate::document_hash::DocumentHash;
use crate::history::Known;
use crate::lifetime::Lifetime;
use crate::source_version::{SourceVersion, Verdict};
use crate::{Content, CosmosOptions, Strategy, Ttl, Write};

/// What the writes of all changes depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) options: &'a CosmosOptions,
    /// The time to live of the target container, in seconds: none if its documents do not expire.
    pub(crate) default_ttl: Option<i64>,
    /// The time in seconds since the Unix epoch.
    pub(crate) now: fn() -> i64,
}

impl<'a> Rules<'a> {
    /// True if the change writes a document that has expired in the source. It is not written. The copy
    /// of an earlier version expires by its own lifetime, or goes with the expiry in the feed.
    pub(crate) fn is_expired(self, change: &Change) -> bool {
        let Operation::Upsert { document } = &change.operation else { return false };
        self.lifetime(change, document) == Lifetime::Expired
    }

    fn lifetime(self, change: &Change, document: &Document) -> Lifetime {
        if self.options.ttl == Ttl::AsIs {
            return Lifetime::AsIs;
        }
        match change.origin.expiry.zip(self.default_ttl) {
            Some((expiry, default)) => Lifetime::of(expiry, document, default, (self.now)()),
            // Nothing expires in the source, or in the target.
            None => Lifetime::AsIs,
        }
    }

    pub(crate) fn version(self, change: &Change) -> SourceVersion {
        SourceVersion::of(change, self.options.source_field.is_some())
    }

    /// What the target gets; `None` for a delete.
    pub(crate) fn content(self, change: &'a Change) -> Option<Content<'a>> {
        let Operation::Upsert { document } = &change.operation else { return None };
        let ttl = match self.lifetime(change, document) {
            Lifetime::Set(ttl) => Some(ttl),
            Lifetime::AsIs | Lifetime::Expired => None,
        };
        let field = self.options.source_field.as_deref();
        let source = field.map(|field| (field, self.version(change)));
        Some(Content { document, source, ttl })
    }
}

/// The write of one change. `creates` decides between the two writes of a document that is not known to
/// exist. That a read did not find it decides nothing else: a replica or region may lag.
///
/// | | known `ETag` | unknown, or not found |
/// |---|---|---|
/// | upsert | replace if it matches | create, or upsert |
/// | insert-if-absent | create | create |
/// | replace-if-present | replace if it matches | replace |
/// | delete | delete if it matches | delete |
pub(crate) fn first_write<'a>(
    change: &'a Change,
    rules: Rules<'a>,
    known: &'a Known,
    creates: bool,
) -> Write<'a> {
    write_of(rules.content(change), rules.options.write, known, creates)
}

/// The write of what the target gets because of a change; `None` for a delete.
pub(crate) fn write_of<'a>(
    content: Option<Content<'a>>,
    strategy: Strategy,
    known: &'a Known,
    creates: bool,
) -> Write<'a> {
    let if_match = known.etag();
    let Some(content) = content else { return Write::Delete { if_match } };
    match strategy {
        Strategy::InsertIfAbsent => Write::Create(content),
        Strategy::ReplaceIfPresent => Write::Replace { content, if_match },
        Strategy::Upsert if if_match.is_some() => Write::Replace { content, if_match },
        Strategy::Upsert if creates => Write::Create(content),
        Strategy::Upsert => Write::Upsert(content),
    }
}

/// The writes of a transactional batch, each with the index of its change. `known` is what is known of
/// each change's document. `None` if a change must not simply be written, or if a document cannot be
/// parsed, and the service may not read the others for it: each needs its own request then.
///
/// Only the first write of a document needs a condition: a batch has all its effects or none.
pub(crate) fn batch_writes<'a>(
    changes: &'a [Change],
    rules: Rules<'a>,
    known: &'a [(DocumentHash, Known)],
    creates: bool,
) -> Option<Vec<(usize, Write<'a>)>> {
    // The change that each document holds after the writes so far; none if it was deleted.
    let mut held: HashMap<DocumentHash, Option<&Change>> = HashMap::new();
    let mut writes = Vec::with_capacity(changes.len());
    for (index, (change, (document, known))) in changes.iter().zip(known).enumerate() {
        if rules.is_expired(change) {
            continue;
        }
        if let Operation::Upsert { document } = &change.operation
            && document.has_unparsed()
        {
            return None;
        }
        let earlier = held.get(document);
        let version = match earlier {
            Some(change) => change.map(|change| rules.version(change)),
            None => known.version(),
        };
        let verdict = version.map(|version| {
            version.judge(rules.version(change), &change.operation, rules.options.on_collision)
        });
        if verdict.is_some_and(|verdict| verdict != Verdict::Write) {
            return None;
        }
        let write = match earlier {
            None => Some(first_write(change, rules, known, creates)),
            Some(earlier) => later_write(change, rules, earlier.is_some()),
        };
        let Some(write) = write else { continue };
        let is_delete = matches!(write, Write::Delete { .. });
        held.insert(*document, (!is_delete).then_some(change));
        writes.push((index, write));
    }
    Some(writes)
}

/// The write of a change after another one of the same document in the same batch; `None` if there
/// is nothing to do.
fn later_write<'a>(change: &'a Change, rules: Rules<'a>, exists: bool) -> Option<Write<'a>> {
    match (rules.content(change), rules.options.write, exists) {
        (None, _, true) => Some(Write::Delete { if_match: None }),
        (Some(content), Strategy::Upsert | Strategy::ReplaceIfPresent, true) => {
            Some(Write::Upsert(content))
        }
        (Some(content), Strategy::Upsert | Strategy::InsertIfAbsent, false) => {
            Some(Write::Create(content))
        }
        (None, _, false)
        | (Some(_), Strategy::InsertIfAbsent, true)
        | (Some(_), Strategy::ReplaceIfPresent, false) => None,
    }
}

#[cfg(test)]
mod tests;
