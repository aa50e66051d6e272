//! Changes that share one request.

use cosmos_bridge_sink::{Answers, Change};
use tokio::time::Instant;

use super::CosmosSink;
use crate::document_hash::DocumentHash;
use crate::history::Known;
use crate::result::{
    BatchResult, PointResult, cause_of_batch, count, is_done, reason, result, wait,
};
use crate::writes::batch_writes;
use crate::{Answer, Write, classify};

impl CosmosSink {
    /// Sends one request for all changes, and once more if a document is not as the last write left it.
    /// Returns `false` if the service refused the batch because of one change, so that each change needs
    /// its own request.
    pub(super) async fn write_as_batch(
        &self,
        changes: &[Change],
        answers: &mut Answers<'_>,
    ) -> bool {
        let sent = self.try_batch(changes, answers, false).await;
        let sent = match sent {
            BatchResult::Outdated => self.try_batch(changes, answers, true).await,
            sent => sent,
        };
        sent == BatchResult::Answered
    }

    async fn try_batch(
        &self,
        changes: &[Change],
        answers: &mut Answers<'_>,
        is_second: bool,
    ) -> BatchResult {
        let began = Instant::now();
        let mut known = self.history.known_of(changes);
        let unknown = known.iter().filter(|(_, known)| *known == Known::Nothing).count();
        let expects_new = !is_second && self.history.expects_new(unknown);
        let mut creates = expects_new;
        if changes.iter().any(|change| self.reads_before(change, expects_new)) {
            match self.read_unknown(changes, &mut known, answers).await {
                Ok(()) => creates = !is_second,
                Err(PointResult::Failed(reason, wait)) => {
                    answers.defer_rest(&reason, wait);
                    return BatchResult::Answered;
                }
                Err(_) => return BatchResult::Refused,
            }
        }
        let writes = batch_writes(changes, self.rules(), &known, creates);
        let Some(writes) = writes.filter(|writes| writes.len() > 1) else {
            return BatchResult::Refused;
        };
        let named: Vec<_> =
            writes.iter().map(|(index, write)| (changes[*index].id.as_str(), *write)).collect();
        let answer = self.container.batch(&changes[0].partition_key, &named).await;
        count(answers, &answer.whole);
        self.note_unanswered(changes, &writes, &answer.whole);
        if is_done(&answer) {
            self.record(changes, &known, &writes, &answer.parts);
            self.settle_batch(changes, &known, began, answers);
            return BatchResult::Answered;
        }
        let (part, cause) = cause_of_batch(&answer);
        if part.is_some() && cause.status == 429 && answer.whole.status != 429 {
            answers.throttled();
        }
        if let Some(why) = classify(cause.status, cause.sub_status).cause() {
            answers.defer_rest(&reason(cause), wait(why, cause));
            return BatchResult::Answered;
        }
        let Some((index, write)) = part.and_then(|part| writes.get(part)) else {
            return BatchResult::Refused;
        };
        let result = result(*write, cause, self.options.write);
        self.note_outdated(&changes[*index], *write, &result);
        if result == PointResult::Outdated { BatchResult::Outdated } else { BatchResult::Refused }
    }

    /// Records the writes of a batch that was executed.
    fn record(
        &self,
        changes: &[Change],
        known: &[(DocumentHash, Known)],
        writes: &[(usize, Write<'_>)],
        parts: &[Answer],
    ) {
        let (no_part, rules) = (Answer::default(), self.rules());
        for (at, (index, write)) in writes.iter().enumerate() {
            let (change, part) = (&changes[*index], parts.get(at).unwrap_or(&no_part));
            let (document, _) = known[*index];
            self.history.wrote(document, rules.version(change), *write, part);
        }
    }

    /// Delivers the changes of a batch, except the last one of each document that has to wait.
    fn settle_batch(
        &self,
        changes: &[Change],
        known: &[(DocumentHash, Known)],
        began: Instant,
        answers: &mut Answers<'_>,
    ) {
        let is_last = |index: usize, document: DocumentHash| {
            !known[index + 1..].iter().any(|(later, _)| *later == document)
        };
        for (index, (change, (document, _))) in changes.iter().zip(known).enumerate() {
            match self.wait_for_late_writes(change, *document, began) {
                PointResult::Failed(reason, wait) if is_last(index, *document) => {
                    answers.defer(index, reason, wait);
                }
                _ => {
                    self.note_place(change);
                    answers.deliver(index);
                }
            }
        }
    }
}
