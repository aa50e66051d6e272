//! What answers mean for changes.

use std::time::Duration;

use cosmos_bridge_sink::{Answers, Cause, Wait};

use crate::{Answer, BatchAnswer, Class, Found, INTERMEDIARY, Strategy, Write, classify, remedy};

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BatchResult {
    /// Every change has an outcome.
    Answered,
    /// A document is not as the last write of this sink left it. Nothing was written.
    Outdated,
    /// Nothing was written because of one change.
    Refused,
}

/// What the answer to a point write means for its change.
#[derive(Debug, PartialEq)]
pub(crate) enum PointResult {
    Done,
    /// The document stays: the target has a later version, or one of another source document.
    Kept,
    /// The document is not as the last write of this sink left it.
    Outdated,
    /// A document with the id exists, or another one has the value of a unique key: the answers are alike
    /// but for their text, so only a read tells.
    Taken(String),
    /// The service will never accept the write.
    Refused(String),
    /// Another document has the value of a unique key.
    Conflicting(String),
    /// A later attempt can succeed.
    Failed(String, Wait),
}

/// The reason of a change whose document was never found as it was read.
pub(crate) const OUTDATED: &str = "the document changes in the target while it is written";

impl PointResult {
    /// True if the next change of the document may be written.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Done | Self::Kept | Self::Refused(_))
    }

    /// True if the change is offered again.
    pub(crate) fn is_deferred(&self) -> bool {
        matches!(self, Self::Failed(..) | Self::Outdated)
    }
}

/// Gives a change the outcome of its result.
pub(crate) fn settle(answers: &mut Answers<'_>, index: usize, result: PointResult) {
    match result {
        PointResult::Done => answers.deliver(index),
        PointResult::Kept => answers.keep(index),
        PointResult::Refused(reason) => answers.reject(index, reason),
        // Another document may free the value: it may be one of this write.
        PointResult::Conflicting(reason) | PointResult::Taken(reason) => {
            answers.conflict(index, reason);
        }
        PointResult::Failed(reason, wait) => answers.defer(index, reason, wait),
        PointResult::Outdated => answers.defer(index, OUTDATED, Cause::Fault),
    }
}

/// The reason of a change whose document waits for `late_write_limit`.
const LATE_WRITE: &str = "an earlier attempt was not answered, and the target may still execute it; the \
                          change is written again after `late_write_limit`";

/// A document that waits for the rest of `late_write_limit`.
pub(crate) fn late_write(rest: Duration) -> PointResult {
    let wait = Wait { cause: Cause::Fault, retry_after: Some(rest) };
    PointResult::Failed(LATE_WRITE.to_owned(), wait)
}

pub(crate) fn is_done(answer: &BatchAnswer) -> bool {
    let is_done = |answer: &Answer| classify(answer.status, answer.sub_status) == Class::Done;
    is_done(&answer.whole) && answer.parts.iter().all(is_done)
}

/// Why a batch was not executed: the first part that is not a consequence of another part, with its
/// index; without parts, the answer to the whole.
pub(crate) fn cause_of_batch(answer: &BatchAnswer) -> (Option<usize>, &Answer) {
    let class = |part: &Answer| classify(part.status, part.sub_status);
    let first = answer.parts.iter().position(|part| class(part) != Class::BatchMate);
    match first.and_then(|at| answer.parts.get(at).map(|part| (at, part))) {
        Some((at, part)) if class(part) != Class::Done => (Some(at), part),
        _ => (None, &answer.whole),
    }
}

/// Why the same point write can succeed later.
pub(crate) fn cause_of(write: Write<'_>, answer: &Answer) -> Option<Cause> {
    match (classify(answer.status, answer.sub_status), write) {
        // An upsert or create needs no document, so it is the container that is missing.
        (Class::Missing, Write::Upsert(_) | Write::Create(_)) => Some(Cause::Fault),
        (class, _) => class.cause(),
    }
}

pub(crate) fn result(write: Write<'_>, answer: &Answer, strategy: Strategy) -> PointResult {
    match (classify(answer.status, answer.sub_status), write, strategy) {
        (Class::Done, _, _)
        // The target already is in the state that the strategy asks for.
        | (Class::Missing, Write::Delete { .. }, _)
        | (Class::Missing, Write::Replace { .. }, Strategy::ReplaceIfPresent) => PointResult::Done,
        (Class::Conflict, Write::Create(_), Strategy::InsertIfAbsent) => {
            PointResult::Taken(reason(answer))
        }
        // The id, or a unique key: an upsert tells.
        (Class::Conflict, Write::Create(_), Strategy::Upsert)
        | (Class::Changed, Write::Replace { .. } | Write::Delete { .. }, _)
        | (Class::Missing, Write::Replace { .. }, _) => PointResult::Outdated,
        (Class::Conflict, _, _) => PointResult::Conflicting(reason(answer)),
        _ => match cause_of(write, answer) {
            None => PointResult::Refused(reason(answer)),
            Some(cause) => PointResult::Failed(reason(answer), wait(cause, answer)),
        },
    }
}

pub(crate) fn reason(answer: &Answer) -> String {
    let Answer { status, sub_status, message, .. } = answer;
    let said = if message.is_empty() { "" } else { ": " };
    let mut reason = match sub_status {
        0 => format!("the target answered {status}{said}{message}"),
        &INTERMEDIARY => format!("no answer from the target{said}{message}"),
        // Codes from 20000 on are those of the client library; these mean that no answer came.
        sub @ 20_000..20_020 => {
            format!("no answer from the target ({status}/{sub}){said}{message}")
        }
        sub @ 20_020.. => format!("the client library gave up ({status}/{sub}){said}{message}"),
        sub => format!("the target answered {status}/{sub}{said}{message}"),
    };
    let class = classify(*status, *sub_status);
    let is_refused = matches!(class, Class::Denied | Class::Intermediary);
    if let Some(remedy) = remedy(*status, *sub_status).filter(|_| is_refused) {
        reason.push_str(". ");
        reason.push_str(remedy);
    }
    reason
}

/// Counts a request, its charge, and whether it was throttled.
pub(crate) fn count(answers: &mut Answers<'_>, answer: &Answer) {
    answers.sent(1);
    answers.charge(answer.charge);
    if answer.status == 429 {
        answers.throttled();
    }
}

/// Counts the requests of a read.
pub(crate) fn count_found(answers: &mut Answers<'_>, found: &Found) {
    count(answers, &found.answer);
    answers.sent(found.requests.saturating_sub(1));
}

pub(crate) fn wait(cause: Cause, answer: &Answer) -> Wait {
    Wait { cause, retry_after: answer.retry_after }
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_sink::Document;

    use super::{PointResult, result};
    use crate::{Answer, Strategy, Write};

    /// What is done is not offered again, and what is refused becomes a dead letter.
    #[test]
    fn the_same_answer_means_another_thing_for_another_write_or_strategy() {
        use Strategy::{InsertIfAbsent, ReplaceIfPresent, Upsert};
        let taken = "Entity with the specified id already exists in the system.";
        let unique = "Unique index constraint violation.";
        let document = Document::new();
        let (upsert, create) =
            (Write::Upsert((&document).into()), Write::Create((&document).into()));
        let replace = Write::Replace { content: (&document).into(), if_match: Some("e") };
        let delete = Write::Delete { if_match: Some("e") };
        for (write, strategy, status, message, expected) in [
            (upsert, Upsert, 200, "", "done"),
            (create, InsertIfAbsent, 201, "", "done"),
            (create, InsertIfAbsent, 409, taken, "taken"),
            (create, InsertIfAbsent, 409, unique, "taken"),
            (create, Upsert, 409, taken, "outdated"),
            (create, Upsert, 409, unique, "outdated"),
            (upsert, Upsert, 409, unique, "conflicting"),
            (replace, Upsert, 409, unique, "conflicting"),
            (replace, Upsert, 412, "", "outdated"),
            (delete, Upsert, 412, "", "outdated"),
            (replace, Upsert, 404, "", "outdated"),
            (replace, ReplaceIfPresent, 404, "", "done"),
            (delete, Upsert, 404, "", "done"),
            // The container is missing, and can be created again.
            (upsert, Upsert, 404, "", "failed"),
            (create, InsertIfAbsent, 404, "", "failed"),
            (upsert, Upsert, 413, "", "refused"),
            (delete, Upsert, 429, "", "failed"),
            (upsert, Upsert, 503, "", "failed"),
        ] {
            let answer = Answer { status, message: message.to_owned(), ..Answer::default() };
            let found = match result(write, &answer, strategy) {
                PointResult::Done => "done",
                PointResult::Kept => "kept",
                PointResult::Outdated => "outdated",
                PointResult::Refused(_) => "refused",
                PointResult::Conflicting(_) => "conflicting",
                PointResult::Taken(_) => "taken",
                PointResult::Failed(..) => "failed",
            };
            assert_eq!(found, expected, "{write:?} {strategy:?} {status} {message}");
        }
    }
}
