//! Reads what the target has of a document before it is written, where no write of this process tells.

use std::collections::HashMap;

use cosmos_bridge_sink::{Answers, Cause, Change, Operation};

use super::{CosmosSink, Strategy};
use crate::document_hash::DocumentHash;
use crate::history::{Known, LastWrite};
use crate::result::{PointResult, count_found, reason, wait};
use crate::{Class, Found, StoredDocument, classify};

impl CosmosSink {
    /// True if a document of which nothing is known is read before this change of it is written: only
    /// the document tells its source.
    pub(super) fn reads_before(&self, change: &Change, expects_new: bool) -> bool {
        let is_upsert = matches!(change.operation, Operation::Upsert { .. });
        self.options.source_field.is_some()
            && match self.options.write {
                // A create never overwrites.
                Strategy::InsertIfAbsent => !is_upsert,
                Strategy::Upsert => !is_upsert || !expects_new,
                Strategy::ReplaceIfPresent => true,
            }
    }

    pub(super) async fn read_one(
        &self,
        change: &Change,
        answers: &mut Answers<'_>,
    ) -> Result<Known, PointResult> {
        let stored = self.read(std::slice::from_ref(&change), answers).await?;
        Ok(stored.first().map_or(Known::Missing, |one| Known::Written(LastWrite::of(one))))
    }

    /// What the target has of the documents of some changes, all of one partition key.
    pub(super) async fn read_all(
        &self,
        changes: &[&Change],
        answers: &mut Answers<'_>,
    ) -> Result<HashMap<DocumentHash, Known>, PointResult> {
        let stored = self.read(changes, answers).await?;
        let known = |change: &&Change| {
            let found = stored.iter().find(|stored| stored.id == change.id);
            let known = found.map_or(Known::Missing, |one| Known::Written(LastWrite::of(one)));
            (DocumentHash::of(change), known)
        };
        Ok(changes.iter().map(known).collect())
    }

    /// Whether the target has the document of a change.
    pub(super) async fn exists(
        &self,
        change: &Change,
        answers: &mut Answers<'_>,
    ) -> Result<bool, PointResult> {
        let found = self.container.read_latest(&change.partition_key, &change.id).await;
        count_found(answers, &found);
        found_or_failed(found).map(|documents| !documents.is_empty())
    }

    /// Replaces what is not known of the documents of a batch, with one request.
    pub(super) async fn read_unknown(
        &self,
        changes: &[Change],
        known: &mut [(DocumentHash, Known)],
        answers: &mut Answers<'_>,
    ) -> Result<(), PointResult> {
        let known = changes.iter().zip(known).map(|(change, (_, known))| (change, known));
        let mut unknown: Vec<_> = known.filter(|(_, known)| **known == Known::Nothing).collect();
        let ask: Vec<_> = unknown.iter().map(|(change, _)| *change).collect();
        if ask.is_empty() {
            return Ok(());
        }
        let stored = self.read(&ask, answers).await?;
        for (change, known) in &mut unknown {
            let found = stored.iter().find(|stored| stored.id == change.id);
            **known = found.map_or(Known::Missing, |one| Known::Written(LastWrite::of(one)));
        }
        Ok(())
    }

    /// The documents of the changes, all of one partition key, that the target has.
    async fn read(
        &self,
        changes: &[&Change],
        answers: &mut Answers<'_>,
    ) -> Result<Vec<StoredDocument>, PointResult> {
        let Some(first) = changes.first() else { return Ok(Vec::new()) };
        let mut ids: Vec<_> = changes.iter().map(|change| change.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        let field = self.options.source_field.as_deref();
        let found = self.container.read(&first.partition_key, &ids, field).await;
        count_found(answers, &found);
        found_or_failed(found)
    }
}

/// What a read found; the reason why it has to be repeated if it failed.
pub(super) fn found_or_failed(found: Found) -> Result<Vec<StoredDocument>, PointResult> {
    let Found { answer, documents, .. } = found;
    match classify(answer.status, answer.sub_status) {
        Class::Done => Ok(documents),
        class => {
            let cause = class.cause().unwrap_or(Cause::Fault);
            Err(PointResult::Failed(reason(&answer), wait(cause, &answer)))
        }
    }
}
