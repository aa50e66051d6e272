//! Removes the copy of a document whose key or id in the target has changed.

use cosmos_bridge_sink::{Answers, Cause, Change};
use tokio::time::Instant;

use super::{CosmosSink, OUTDATED};
use crate::history::DocumentHash;
use crate::result::{PointResult, count, reason, result, wait};
use crate::source_version::SourceVersion;
use crate::{Class, Write, classify};

impl CosmosSink {
    /// Deletes an old copy. The place may be another document's by now, whose write can be in flight; so
    /// the delete is conditional, except for an id that no request can name to read its `ETag`.
    pub(super) async fn remove_copy(
        &self,
        removal: &Change,
        answers: &mut Answers<'_>,
    ) -> PointResult {
        let began = Instant::now();
        let Change { id, partition_key, .. } = removal;
        let document = DocumentHash::of(removal);
        let etag = if let Some(known) = self.history.last_write(document) {
            if let Some(result) = self.collision(known.version, removal, answers) {
                return result;
            }
            Some(known.etag.to_string())
        } else {
            let answer = self.container.etag(partition_key, id).await;
            count(answers, &answer);
            match classify(answer.status, answer.sub_status) {
                Class::Done => answer.etag,
                Class::Missing => return self.wait_for_late_writes(removal, began),
                class => {
                    let cause = class.cause().unwrap_or(Cause::Fault);
                    return PointResult::Failed(reason(&answer), wait(cause, &answer));
                }
            }
        };
        let write = Write::Delete { if_match: etag.as_deref() };
        let answer = self.container.write(partition_key, id, write).await;
        count(answers, &answer);
        self.note_unanswered(std::slice::from_ref(removal), &[(0, write)], &answer);
        let result = result(write, &answer, self.options.write);
        match result {
            PointResult::Done => {
                self.history.wrote(document, SourceVersion::of(removal), write, &answer);
                self.wait_for_late_writes(removal, began)
            }
            PointResult::Outdated => {
                self.note_outdated(removal, write, &result);
                PointResult::Failed(OUTDATED.to_owned(), Cause::Fault.into())
            }
            result => result,
        }
    }
}
