//! The order in which messages are published, and what the result of one means. Pure.

use std::collections::HashMap;

use cosmos_bridge_sink::{Answers, Cause, Change, DocumentId};

use crate::Unroutable;
use crate::classify::Failure;

/// The broker's result for one message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PublishResult {
    /// Stored in every queue that it was routed to, and on disk if that is configured.
    Confirmed,
    /// A queue did not accept it: it is full, or failed.
    Nacked,
    /// No queue is bound for it. Says where it was sent, and why it was returned.
    Returned(String),
    /// Unknown. The message will not arrive later, unless the broker has received it already.
    Lost(Failure),
}

/// Divides changes by the number of earlier changes of the same document: the first change of each
/// document, then the second of each, and so on.
///
/// A later change is published when all earlier ones have a result. Sent together, a full queue could
/// refuse an earlier change and accept a later one.
pub(crate) fn rounds(changes: &[Change]) -> Vec<Vec<usize>> {
    let mut seen: HashMap<DocumentId<'_>, usize> = HashMap::with_capacity(changes.len());
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for (at, change) in changes.iter().enumerate() {
        let before = seen.entry(change.document_id()).or_default();
        if rounds.len() == *before {
            rounds.push(Vec::new());
        }
        rounds[*before].push(at);
        *before += 1;
    }
    rounds
}

/// Turns the result of a message into the outcome of its change.
pub(crate) fn settle(
    answers: &mut Answers<'_>,
    at: usize,
    result: PublishResult,
    unroutable: Unroutable,
) {
    match result {
        PublishResult::Confirmed => answers.deliver(at),
        PublishResult::Nacked => {
            let reason = "the broker did not accept the message: a queue is full or has failed";
            answers.defer(at, reason, Cause::Fault);
        }
        PublishResult::Returned(reason) if unroutable == Unroutable::DeadLetter => {
            answers.reject(at, reason);
        }
        PublishResult::Returned(reason) => answers.defer(at, reason, Cause::Fault),
        PublishResult::Lost(failure) => {
            let cause = failure.cause();
            if failure.is_silence {
                answers.unanswered(at);
            }
            answers.defer(at, failure.reason, cause);
        }
    }
}
