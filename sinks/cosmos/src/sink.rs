//! Turns changes into requests, and answers into outcomes.

use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_sink::{
    Answers, Cause, Change, Grouping, Limits, OldCopies, Operation, Place, Sink, SinkError, Wait,
    Written,
};
use tokio::time::Instant;

use crate::history::{DocumentHash, History};
use crate::result::{PointResult, count, result};
use crate::source_version::{SourceVersion, Verdict};
use crate::writes::first_write;
use crate::{Answer, Container, CosmosOptions, Write};

mod batch;
mod old_copy;

/// A container that documents are copied into.
pub struct CosmosSink {
    name: String,
    options: CosmosOptions,
    container: Arc<dyn Container>,
    history: History,
}

impl CosmosSink {
    pub fn new(
        name: impl Into<String>,
        options: CosmosOptions,
        container: Arc<dyn Container>,
    ) -> Self {
        let history = History::new(options.remembered_documents, options.late_write_limit);
        Self { name: name.into(), options, container, history }
    }

    /// Sends one request for each change, in order, until one is deferred. The changes after it are
    /// deferred too, so that no later version of a document is written before an earlier one.
    async fn write_one_by_one(&self, changes: &[Change], answers: &mut Answers<'_>) {
        for (index, change) in changes.iter().enumerate() {
            // An earlier change of the document meets a conflict.
            if answers.is_held(index) {
                continue;
            }
            match self.write_alone(change, answers).await {
                PointResult::Done => answers.deliver(index),
                PointResult::Refused(reason) => answers.reject(index, reason),
                // Another document may free the value: it may be one of this write.
                PointResult::Conflicting(reason) => answers.conflict(index, reason),
                PointResult::Failed(reason, wait) => {
                    answers.defer(index, reason, wait);
                    break;
                }
                PointResult::Outdated => {
                    answers.defer(index, OUTDATED, Cause::Fault);
                    break;
                }
            }
        }
    }

    /// Writes one change, and then removes the old copy of its document. If the change is not written,
    /// the old copy stays.
    async fn write_alone(&self, change: &Change, answers: &mut Answers<'_>) -> PointResult {
        let written = self.write_document(change, answers).await;
        match &change.old_copies {
            OldCopies::At(place) if written == PointResult::Done => {
                let Place { id, partition_key } = Place::clone(place);
                let operation = Operation::Delete { expired: false };
                let old_copies = OldCopies::None;
                let removal = Change { id, partition_key, operation, old_copies, ..change.clone() };
                self.remove_copy(&removal, answers).await
            }
            OldCopies::None | OldCopies::At(_) => written,
        }
    }

    /// Writes one document, and once more if it is not as the last write left it.
    async fn write_document(&self, change: &Change, answers: &mut Answers<'_>) -> PointResult {
        let began = Instant::now();
        let document = DocumentHash::of(change);
        let mut known = self.history.last_write(document);
        let mut expects_new = self.history.expects_new(1);
        if let Some(known) = &known
            && let Some(result) = self.collision(known.version, change, answers)
        {
            return result;
        }
        loop {
            let etag = known.as_ref().map(|known| &*known.etag);
            let write = first_write(&change.operation, self.options.write, etag, expects_new);
            let answer = self.container.write(&change.partition_key, &change.id, write).await;
            count(answers, &answer);
            self.note_unanswered(std::slice::from_ref(change), &[(0, write)], &answer);
            let result = result(write, &answer, self.options.write);
            match result {
                PointResult::Done => {
                    self.history.wrote(document, SourceVersion::of(change), write, &answer);
                    return self.wait_for_late_writes(change, began);
                }
                PointResult::Outdated if known.is_some() || expects_new => {
                    self.note_outdated(change, write, &result);
                    // The next write has no condition that could fail.
                    (known, expects_new) = (None, false);
                }
                result => return result,
            }
        }
    }

    /// The result of a change that is not written because of what the target has.
    fn collision(
        &self,
        held: SourceVersion,
        change: &Change,
        answers: &mut Answers<'_>,
    ) -> Option<PointResult> {
        let verdict = held.judge(change, self.options.on_collision);
        if matches!(verdict, Verdict::Takeover | Verdict::Collision) {
            answers.collided();
        }
        match verdict {
            Verdict::Write | Verdict::Takeover => None,
            Verdict::Superseded | Verdict::Collision => {
                answers.superseded();
                Some(PointResult::Done)
            }
            Verdict::Refused => Some(PointResult::Refused(COLLISION.to_owned())),
            Verdict::Held => {
                let reason = format!("{COLLISION}. {ON_COLLISION}");
                Some(PointResult::Failed(reason, Cause::Fault.into()))
            }
        }
    }

    fn note_outdated(&self, change: &Change, write: Write<'_>, result: &PointResult) {
        if matches!(result, PointResult::Outdated) {
            let exists = matches!(write, Write::Create(_));
            self.history.is_outdated(DocumentHash::of(change), exists);
        }
    }

    /// Records what the service may execute later. One conditional write in a batch keeps the whole
    /// batch from having an effect again.
    fn note_unanswered(&self, changes: &[Change], writes: &[(usize, Write<'_>)], answer: &Answer) {
        if answer.is_unanswered && !writes.iter().any(|(_, write)| write.is_conditional()) {
            for (index, write) in writes {
                self.history.unanswered(DocumentHash::of(&changes[*index]), *write);
            }
        }
    }

    /// Whether a change that was written is safe from attempts that were not answered.
    fn wait_for_late_writes(&self, change: &Change, began: Instant) -> PointResult {
        let is_delete = matches!(change.operation, Operation::Delete { .. });
        match self.history.wait(DocumentHash::of(change), is_delete, began) {
            None => PointResult::Done,
            Some(rest) => PointResult::Failed(
                LATE_WRITE.to_owned(),
                Wait { cause: Cause::Fault, retry_after: Some(rest) },
            ),
        }
    }
}

/// The reason of a change whose document waits for `late_write_limit`.
const LATE_WRITE: &str = "an earlier attempt was not answered, and the target may still execute it; the \
                          change is written again after `late_write_limit`";

const COLLISION: &str = "another source document has this key and id in the target";

const ON_COLLISION: &str = "Make the route's partition_key and id distinguish them, or choose another \
                            on_collision for the sink";

const OUTDATED: &str = "the document changes in the target while it is written";

#[async_trait]
impl Sink for CosmosSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        let CosmosOptions { concurrency, batch_changes, batch_bytes, .. } = self.options;
        Limits { grouping: Grouping::Key, changes: batch_changes, bytes: batch_bytes, concurrency }
    }

    async fn check(&self) -> Result<(), SinkError> {
        self.container.check().await
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut answers = Answers::new(changes);
        if changes.len() == 1 || !self.write_as_batch(changes, &mut answers).await {
            self.write_one_by_one(changes, &mut answers).await;
        }
        answers.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(()) // Every write has been answered; nothing is buffered here.
    }
}

#[cfg(test)]
mod service;
#[cfg(test)]
mod tests;
