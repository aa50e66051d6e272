//! Turns changes into requests, and answers into outcomes.

use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_sink::{
    Cause, Change, Limits, Operation, Outcome, Sink, SinkError, Wait, Written,
};

use crate::{Answer, Class, Container, Write, classify, remedy};

/// How a document that exists already, or does not, is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    Upsert,
    /// A document that exists in the target is left alone.
    InsertIfAbsent,
    /// A document that does not exist in the target is not created.
    ReplaceIfPresent,
}

/// What a sink may do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub strategy: Strategy,
    pub limits: Limits,
}

/// A container that documents are copied into.
pub struct CosmosSink {
    name: String,
    settings: Settings,
    container: Arc<dyn Container>,
}

impl CosmosSink {
    pub fn new(name: impl Into<String>, settings: Settings, container: Arc<dyn Container>) -> Self {
        Self { name: name.into(), settings, container }
    }

    fn write_of<'a>(&self, change: &'a Change) -> Write<'a> {
        match (&change.operation, self.settings.strategy) {
            (Operation::Delete { .. }, _) => Write::Delete,
            (Operation::Upsert { document }, Strategy::Upsert) => Write::Upsert(document),
            (Operation::Upsert { document }, Strategy::InsertIfAbsent) => Write::Create(document),
            (Operation::Upsert { document }, Strategy::ReplaceIfPresent) => {
                Write::Replace(document)
            }
        }
    }

    /// One request for all of them; `None` if the batch was refused for the sake of one, so that
    /// each has to be asked on its own.
    async fn write_as_batch(&self, changes: &[Change], written: &mut Written) -> Option<()> {
        let writes: Vec<_> = changes.iter().map(|c| (c.id.as_str(), self.write_of(c))).collect();
        let answer = self.container.batch(&changes[0].partition_key, &writes).await;
        written.count(&answer.whole);
        let whole = classify(answer.whole.status, answer.whole.sub_status);
        let part_of = |part: &Answer| classify(part.status, part.sub_status);
        if whole == Class::Done && answer.parts.iter().all(|part| part_of(part) == Class::Done) {
            written.outcomes.extend(changes.iter().map(|_| Outcome::Delivered));
            return Some(());
        }
        // The parts tell why: the first that is not a consequence of another. Without parts, the
        // whole does.
        let cause = answer.parts.iter().find(|p| part_of(p) != Class::BatchMate);
        let cause = cause.filter(|p| part_of(p) != Class::Done).unwrap_or(&answer.whole);
        if let Some(why) = classify(cause.status, cause.sub_status).cause() {
            written.note_wait(why, cause);
            let reason = reason(cause);
            written
                .outcomes
                .extend(changes.iter().map(|_| Outcome::Deferred { reason: reason.clone() }));
            return Some(());
        }
        None
    }

    /// One request each, in order, until one has to wait: what follows it waits too, so that no
    /// document's later version is written before an earlier one.
    async fn write_one_by_one(&self, changes: &[Change], written: &mut Written) {
        for change in changes {
            let write = self.write_of(change);
            let answer = self.container.write(&change.partition_key, &change.id, write).await;
            written.count(&answer);
            let outcome = outcome(write, &answer);
            let waits = matches!(outcome, Outcome::Deferred { .. });
            written.outcomes.push(outcome);
            if let (true, Some(why)) = (waits, cause_of(write, &answer)) {
                written.note_wait(why, &answer);
                break;
            }
        }
        let reason = "an earlier write of the same group has to wait";
        written
            .outcomes
            .resize_with(changes.len(), || Outcome::Deferred { reason: reason.to_owned() });
    }
}

#[async_trait]
impl Sink for CosmosSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        self.settings.limits
    }

    async fn check(&self) -> Result<(), SinkError> {
        self.container.check().await
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut written = Written {
            outcomes: Vec::with_capacity(changes.len()),
            charge: 0.0,
            requests: 0,
            throttled: 0,
            wait: None,
        };
        if changes.len() == 1 || self.write_as_batch(changes, &mut written).await.is_none() {
            self.write_one_by_one(changes, &mut written).await;
        }
        written
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(()) // Every write has been answered; nothing is buffered here.
    }
}

/// Why the same point write can succeed later.
fn cause_of(write: Write<'_>, answer: &Answer) -> Option<Cause> {
    match (classify(answer.status, answer.sub_status), write) {
        // An upsert or create needs no document to be there: what is missing is the container.
        (Class::Missing, Write::Upsert(_) | Write::Create(_)) => Some(Cause::Fault),
        (class, _) => class.cause(),
    }
}

/// What a point write's answer means for its change.
fn outcome(write: Write<'_>, answer: &Answer) -> Outcome {
    match (classify(answer.status, answer.sub_status), write) {
        (Class::Done, _)
        // Already gone, already there, not there: what the strategy asked for.
        | (Class::Missing, Write::Delete | Write::Replace(_)) => Outcome::Delivered,
        (Class::Conflict, Write::Create(_)) if id_is_taken(answer) => Outcome::Delivered,
        _ if cause_of(write, answer).is_some() => Outcome::Deferred { reason: reason(answer) },
        _ => Outcome::Rejected { reason: reason(answer) },
    }
}

/// A create is refused with 409 both where the id is taken and where a unique key is, and only the
/// text tells them apart: "Entity with the specified id already exists in the system." Whatever
/// else it says, the document is not there, and is kept as a dead letter.
fn id_is_taken(answer: &Answer) -> bool {
    answer.message.to_ascii_lowercase().contains("id already exists")
}

fn reason(answer: &Answer) -> String {
    let Answer { status, sub_status, message, .. } = answer;
    let said = if message.is_empty() { "" } else { ": " };
    let mut reason = match sub_status {
        0 => format!("the target answered {status}{said}{message}"),
        // Codes from 20000 on are the client library's own; with these nothing came back.
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

/// Adds up what the answers to one write cost.
trait Tally {
    fn count(&mut self, answer: &Answer);
    fn note_wait(&mut self, cause: Cause, answer: &Answer);
}

impl Tally for Written {
    fn count(&mut self, answer: &Answer) {
        self.requests += 1;
        self.charge += answer.charge;
        self.throttled += u32::from(answer.status == 429);
    }

    fn note_wait(&mut self, cause: Cause, answer: &Answer) {
        self.wait = Some(Wait { cause, retry_after: answer.retry_after });
    }
}
