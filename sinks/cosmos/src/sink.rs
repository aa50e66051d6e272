//! Turns changes into requests, and answers into outcomes.

use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_sink::{
    Answers, Cause, Change, Grouping, Limits, OldCopies, Operation, Sink, SinkError, Written,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::document_hash::DocumentHash;
use crate::history::{History, Known, OldCopy};
use crate::result::{PointResult, count, late_write, result, settle};
use crate::source_version::{SourceDocument, SourceVersion, Verdict};
use crate::writes::{Rules, write_of};
use crate::{Answer, Container, Content, CosmosOptions, Strategy, Write};

mod batch;
mod bulk;
mod old_copy;
mod read;
mod round;

use round::{Round, alone};

/// A container that documents are copied into.
pub struct CosmosSink {
    name: String,
    options: CosmosOptions,
    container: Arc<dyn Container>,
    history: History,
    /// For requests of one document that follow those of many.
    alone: Semaphore,
    /// Seconds since the Unix epoch.
    now: fn() -> i64,
}

impl CosmosSink {
    /// `now` is the time in seconds since the Unix epoch.
    pub fn new(
        name: impl Into<String>,
        options: CosmosOptions,
        container: Arc<dyn Container>,
        now: fn() -> i64,
    ) -> Self {
        let history = History::new(&options);
        let alone = Semaphore::new(options.concurrency);
        Self { name: name.into(), options, container, history, alone, now }
    }

    fn rules(&self) -> Rules<'_> {
        let default_ttl = self.container.default_ttl();
        Rules { options: &self.options, default_ttl, now: self.now }
    }

    /// Sends one request for each change, in order, until one is deferred. The changes after it are
    /// deferred too, so that no later version of a document is written before an earlier one.
    async fn write_one_by_one(
        &self,
        changes: &[Change],
        old_copies: &[Vec<OldCopy>],
        answers: &mut Answers<'_>,
    ) {
        for (index, (change, old_copies)) in changes.iter().zip(old_copies).enumerate() {
            // An earlier change of the document meets a conflict.
            if answers.is_held(index) {
                continue;
            }
            let result = self.write_alone(change, old_copies, None, answers).await;
            let is_deferred = result.is_deferred();
            settle(answers, index, result);
            if is_deferred {
                break;
            }
        }
    }

    /// Writes one change, and then removes the old copies of its document. If the change is not written,
    /// the old copies stay. Its writes share the requests of `round`, if there is one.
    async fn write_alone<'c>(
        &'c self,
        change: &'c Change,
        old_copies: &[OldCopy],
        round: Option<&Round<'c>>,
        answers: &mut Answers<'_>,
    ) -> PointResult {
        if self.rules().is_expired(change) {
            return PointResult::Done;
        }
        let mut written = PointResult::Done;
        if !removes_copies(change) {
            written = self.write_document(change, round, answers).await;
            if !matches!(written, PointResult::Done | PointResult::Kept) {
                return written;
            }
        }
        // False if the target has a later version of the document.
        let mut is_last = written == PointResult::Done;
        for copy in old_copies {
            let removed = alone(round, self.remove_copy(change, copy, answers)).await;
            is_last &= removed == PointResult::Done;
            if !matches!(removed, PointResult::Done | PointResult::Kept) {
                return removed;
            }
        }
        if is_last {
            self.note_place(change);
        } else {
            self.history.forget_place(SourceDocument::of(&change.origin));
        }
        written
    }

    /// Writes one document, and again if it is not as it was known.
    async fn write_document<'c>(
        &'c self,
        change: &'c Change,
        round: Option<&Round<'c>>,
        answers: &mut Answers<'_>,
    ) -> PointResult {
        /// With one condition that fails, and one more change of the document after it was read.
        const ATTEMPTS_MAX: usize = 3;
        let began = Instant::now();
        let document = DocumentHash::of(change);
        if let Some(rest) = self.history.rest(document) {
            return late_write(rest);
        }
        let content = self.rules().content(change);
        let mut known = self.history.known(document);
        if known == Known::Nothing
            && let Some(found) = round.and_then(|round| round.take_found(document))
        {
            known = found;
        }
        let mut creates = true;
        for attempt in 1.. {
            let expects_new = creates && self.history.expects_new(1);
            if known == Known::Nothing && self.reads_before(change, expects_new) {
                known = match alone(round, self.read_one(change, answers)).await {
                    Ok(known) => known,
                    Err(result) => return result,
                };
            }
            if let Some(held) = known.version()
                && let Some(result) = self.collision(held, change, answers)
            {
                return result;
            }
            let creates_now = if known == Known::Missing { creates } else { expects_new };
            let write = write_of(content, self.options.write, &known, creates_now);
            let answer = self.send(change, content, write, round, answers).await;
            self.note_unanswered(std::slice::from_ref(change), &[(0, write)], &answer);
            let mut result = result(write, &answer, self.options.write);
            if let PointResult::Taken(reason) = result {
                match alone(round, self.exists(change, answers)).await {
                    Ok(true) => result = PointResult::Done,
                    // It was deleted meanwhile, or it is a unique key: a second attempt tells.
                    Ok(false) if attempt == 1 => continue,
                    Ok(false) => result = PointResult::Conflicting(reason),
                    Err(failed) => return failed,
                }
            }
            let had_condition = known != Known::Nothing || matches!(write, Write::Create(_));
            match result {
                PointResult::Done => {
                    self.history.wrote(document, self.rules().version(change), write, &answer);
                    return self.wait_for_late_writes(change, document, began);
                }
                PointResult::Outdated if had_condition && attempt < ATTEMPTS_MAX => {
                    self.note_outdated(change, write, &result);
                    // A create that is refused because of a unique key would be refused again.
                    (known, creates) = (Known::Nothing, false);
                }
                result => return result,
            }
        }
        PointResult::Outdated
    }

    /// Sends one write, in a request of its own or together with others.
    async fn send<'c>(
        &self,
        change: &'c Change,
        content: Option<Content<'c>>,
        write: Write<'_>,
        round: Option<&Round<'c>>,
        answers: &mut Answers<'_>,
    ) -> Answer {
        if let Some(round) = round
            && let Some(answer) = round.write(change, content, write).await
        {
            // What would make a dead letter is confirmed, and explained, by a request of its own.
            let result = result(write, &answer, self.options.write);
            if !matches!(result, PointResult::Refused(_) | PointResult::Conflicting(_)) {
                return answer;
            }
            self.note_unanswered(std::slice::from_ref(change), &[(0, write)], &answer);
        }
        let write = self.container.write(&change.partition_key, &change.id, write);
        let answer = alone(round, write).await;
        count(answers, &answer);
        answer
    }

    /// The result of a change that is not written because of what the target has.
    fn collision(
        &self,
        held: SourceVersion,
        change: &Change,
        answers: &mut Answers<'_>,
    ) -> Option<PointResult> {
        let new = self.rules().version(change);
        let verdict = held.judge(new, &change.operation, self.options.on_collision);
        if matches!(verdict, Verdict::Takeover | Verdict::Collision) {
            answers.collided();
        }
        match verdict {
            Verdict::Write | Verdict::Takeover => None,
            Verdict::Superseded | Verdict::Collision => {
                answers.superseded();
                Some(PointResult::Kept)
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

    /// Records what the service may execute later.
    fn note_unanswered(&self, changes: &[Change], writes: &[(usize, Write<'_>)], answer: &Answer) {
        if answer.is_unanswered {
            let document = |index: &usize| DocumentHash::of(&changes[*index]);
            let writes = writes.iter().map(|(index, write)| (document(index), *write));
            self.history.unanswered(&writes.collect::<Vec<_>>());
        }
    }

    /// Whether a change that was written is safe from attempts that were not answered.
    fn wait_for_late_writes(
        &self,
        change: &Change,
        document: DocumentHash,
        began: Instant,
    ) -> PointResult {
        let is_delete = matches!(change.operation, Operation::Delete { .. });
        match self.history.wait(document, is_delete, began) {
            None => PointResult::Done,
            Some(rest) => late_write(rest),
        }
    }
}

const COLLISION: &str = "another source document has this key and id in the target";

const ON_COLLISION: &str = "Make the route's partition_key and id distinguish them, or choose another \
                            on_collision for the sink";

/// True if the change only removes copies, whose places are not known.
fn removes_copies(change: &Change) -> bool {
    matches!(change.operation, Operation::Delete { .. }) && change.old_copies == OldCopies::Anywhere
}

#[async_trait]
impl Sink for CosmosSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        let CosmosOptions { concurrency, batch_changes, batch_bytes, .. } = self.options;
        let grouping = if self.options.bulk { Grouping::Partition } else { Grouping::Key };
        Limits { grouping, changes: batch_changes, bytes: batch_bytes, concurrency }
    }

    async fn check(&self) -> Result<(), SinkError> {
        self.container.check().await
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut answers = Answers::new(changes);
        // None if the service did not tell: then every change is deferred.
        if let Some(old_copies) = self.old_copies(changes, &mut answers).await {
            if self.options.bulk && changes.len() > 1 {
                self.write_in_bulk(changes, &old_copies, &mut answers).await;
                return answers.finish();
            }
            let is_batch = changes.len() > 1
                && old_copies.iter().all(Vec::is_empty)
                && !changes.iter().any(removes_copies);
            if !is_batch || !self.write_as_batch(changes, &mut answers).await {
                self.write_one_by_one(changes, &old_copies, &mut answers).await;
            }
        }
        answers.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(()) // Every write has been answered; nothing is buffered here.
    }
}

#[cfg(test)]
pub(crate) mod service;
#[cfg(test)]
mod tests;
