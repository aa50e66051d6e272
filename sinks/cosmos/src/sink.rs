//! Turns changes into requests, and answers into outcomes.

use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_sink::{
    Answers, Cause, Change, Grouping, Limits, Operation, Sink, SinkError, Wait, Written,
};

use crate::{Answer, Class, Container, CosmosOptions, Strategy, Write, classify, remedy};

/// A container that documents are copied into.
pub struct CosmosSink {
    name: String,
    options: CosmosOptions,
    container: Arc<dyn Container>,
}

impl CosmosSink {
    pub fn new(
        name: impl Into<String>,
        options: CosmosOptions,
        container: Arc<dyn Container>,
    ) -> Self {
        Self { name: name.into(), options, container }
    }

    fn write_of<'a>(&self, change: &'a Change) -> Write<'a> {
        match (&change.operation, self.options.write) {
            (Operation::Delete { .. }, _) => Write::Delete,
            (Operation::Upsert { document }, Strategy::Upsert) => Write::Upsert(document),
            (Operation::Upsert { document }, Strategy::InsertIfAbsent) => Write::Create(document),
            (Operation::Upsert { document }, Strategy::ReplaceIfPresent) => {
                Write::Replace(document)
            }
        }
    }

    /// Sends one request for all changes. Returns `false` if the service refused the batch because of
    /// one change, so that each change needs its own request.
    async fn write_as_batch(&self, changes: &[Change], answers: &mut Answers<'_>) -> bool {
        let writes: Vec<_> = changes.iter().map(|c| (c.id.as_str(), self.write_of(c))).collect();
        let answer = self.container.batch(&changes[0].partition_key, &writes).await;
        count(answers, &answer.whole);
        let whole = classify(answer.whole.status, answer.whole.sub_status);
        let part_of = |part: &Answer| classify(part.status, part.sub_status);
        if whole == Class::Done && answer.parts.iter().all(|part| part_of(part) == Class::Done) {
            answers.deliver_rest();
            return true;
        }
        // The cause is the first part that is not a consequence of another part. Without parts, it is
        // the whole.
        let cause = answer.parts.iter().find(|p| part_of(p) != Class::BatchMate);
        let cause = cause.filter(|p| part_of(p) != Class::Done).unwrap_or(&answer.whole);
        if let Some(why) = classify(cause.status, cause.sub_status).cause() {
            answers.defer_rest(&reason(cause), wait(why, cause));
            return true;
        }
        false
    }

    /// Sends one request for each change, in order, until one is deferred. The changes after it are
    /// deferred too, so that no later version of a document is written before an earlier one.
    async fn write_one_by_one(&self, changes: &[Change], answers: &mut Answers<'_>) {
        for (index, change) in changes.iter().enumerate() {
            let write = self.write_of(change);
            let answer = self.container.write(&change.partition_key, &change.id, write).await;
            count(answers, &answer);
            match result(write, &answer) {
                PointResult::Done => answers.deliver(index),
                PointResult::Refused => answers.reject(index, reason(&answer)),
                PointResult::Failed(cause) => {
                    answers.defer(index, reason(&answer), wait(cause, &answer));
                    break;
                }
            }
        }
    }
}

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

/// What the answer to a point write means for its change.
enum PointResult {
    Done,
    /// The service will never accept the write.
    Refused,
    /// A later attempt can succeed.
    Failed(Cause),
}

/// Why the same point write can succeed later.
fn cause_of(write: Write<'_>, answer: &Answer) -> Option<Cause> {
    match (classify(answer.status, answer.sub_status), write) {
        // An upsert or create needs no document, so it is the container that is missing.
        (Class::Missing, Write::Upsert(_) | Write::Create(_)) => Some(Cause::Fault),
        (class, _) => class.cause(),
    }
}

fn result(write: Write<'_>, answer: &Answer) -> PointResult {
    match (classify(answer.status, answer.sub_status), write) {
        (Class::Done, _)
        // The target already is in the state that the strategy asks for.
        | (Class::Missing, Write::Delete | Write::Replace(_)) => PointResult::Done,
        (Class::Conflict, Write::Create(_)) if id_is_taken(answer) => PointResult::Done,
        _ => cause_of(write, answer).map_or(PointResult::Refused, PointResult::Failed),
    }
}

/// True if a create failed because the id exists. The service also answers 409 if a unique key is
/// taken, and only the text differs: "Entity with the specified id already exists in the system." With
/// any other text the document is not in the target, and the change becomes a dead letter.
fn id_is_taken(answer: &Answer) -> bool {
    answer.message.to_ascii_lowercase().contains("id already exists")
}

fn reason(answer: &Answer) -> String {
    let Answer { status, sub_status, message, .. } = answer;
    let said = if message.is_empty() { "" } else { ": " };
    let mut reason = match sub_status {
        0 => format!("the target answered {status}{said}{message}"),
        // Codes from 20000 on are those of the client library; these mean that no answer came.
        sub @ 20_000..20_020 => {
            format!("no answer from the target ({status}/{sub}){said}{message}")
        }
        sub @ 20_020.. => format!("the client library gave up ({status}/{sub}){said}{message}"),
        sub => format!("the target answered {status}/{sub}{said}{message}"),
    };
    let is_denied = classify(*status, *sub_status) == Class::Denied;
    if let Some(remedy) = remedy(*status, *sub_status).filter(|_| is_denied) {
        reason.push_str(". ");
        reason.push_str(remedy);
    }
    reason
}

/// Counts a request, its charge, and whether it was throttled.
fn count(answers: &mut Answers<'_>, answer: &Answer) {
    answers.sent(1);
    answers.charge(answer.charge);
    if answer.status == 429 {
        answers.throttled();
    }
}

fn wait(cause: Cause, answer: &Answer) -> Wait {
    Wait { cause, retry_after: answer.retry_after }
}
