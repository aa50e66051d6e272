//! Keeps a message that arrives late from being the last one of its document.
//!
//! A message that was sent and not answered may arrive after its repetition, and then also after a later
//! change. So a later change of the same document is not offered before the first one can no longer
//! arrive. Its repetition is: it does no harm if the first one arrives after it.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cosmos_bridge_sink::{Cause, Change, Operation, Outcome, Sink, Wait, Written};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a message may be on its way: what delays it is rarely slower.
pub const LATE_LIMIT: Duration = Duration::from_secs(30);

const REASON: &str =
    "an earlier change of the document was sent without an answer, and may still arrive";

/// The documents of one sink with messages that may still arrive.
#[derive(Debug, Default)]
pub(super) struct LateWrites {
    hasher: RandomState,
    /// False if there are none: nearly always.
    any: AtomicBool,
    documents: Mutex<HashMap<u64, Late>>,
}

/// The change whose message may still arrive.
#[derive(Clone, Copy, Debug)]
struct Late {
    version: u64,
    until: Instant,
}

impl LateWrites {
    /// Offers changes to a sink, except those that have to wait.
    pub(super) async fn write(&self, sink: &dyn Sink, changes: &[Change]) -> Written {
        let Some(waits) = self.waits(changes) else {
            let written = sink.write(changes).await;
            self.note(changes, &written.unanswered);
            return written;
        };
        let ready = changes.iter().zip(&waits).filter(|(_, wait)| wait.is_none());
        let ready: Vec<Change> = ready.map(|(change, _)| change.clone()).collect();
        let mut written = Written::default();
        if !ready.is_empty() {
            written = sink.write(&ready).await;
            self.note(&ready, &written.unanswered);
        }
        merged(written, &waits)
    }

    /// How long each change has to wait; `None` if no change has to.
    fn waits(&self, changes: &[Change]) -> Option<Vec<Option<Duration>>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let now = Instant::now();
        let documents = self.documents.lock();
        let wait = |change: &Change| {
            let late = documents.get(&self.document(change))?;
            let rest = late.until.saturating_duration_since(now);
            (late.version != self.version(change) && !rest.is_zero()).then_some(rest)
        };
        let waits: Vec<_> = changes.iter().map(wait).collect();
        waits.iter().any(Option::is_some).then_some(waits)
    }

    fn note(&self, changes: &[Change], unanswered: &[usize]) {
        if unanswered.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut documents = self.documents.lock();
        documents.retain(|_, late| late.until > now);
        let mut unanswered: Vec<_> = unanswered.to_vec();
        unanswered.sort_unstable();
        let mut noted = HashSet::new();
        for change in unanswered.into_iter().filter_map(|index| changes.get(index)) {
            // Of several changes of a document the first is repeated first, and the others wait.
            let document = self.document(change);
            if noted.insert(document) {
                let late = Late { version: self.version(change), until: now + LATE_LIMIT };
                documents.insert(document, late);
            }
        }
        self.any.store(!documents.is_empty(), Ordering::Release);
    }

    /// Of the document for those who get its events. Two with one number only make a change wait.
    fn document(&self, change: &Change) -> u64 {
        self.hasher.hash_one(change.document_id())
    }

    fn version(&self, change: &Change) -> u64 {
        let origin = &change.origin;
        let is_delete = matches!(change.operation, Operation::Delete { .. });
        self.hasher.hash_one((origin.lsn, origin.nth, origin.committed_at, is_delete))
    }
}

/// The result of a write for all changes, of which some were not offered.
fn merged(written: Written, waits: &[Option<Duration>]) -> Written {
    let mut answered = written.outcomes.into_iter();
    let mut indexes = Vec::new();
    let mut outcomes = Vec::with_capacity(waits.len());
    let mut longest = Duration::ZERO;
    for (index, wait) in waits.iter().enumerate() {
        outcomes.push(match wait {
            None => {
                indexes.push(index);
                answered.next().unwrap_or(Outcome::Deferred { reason: REASON.to_owned() })
            }
            Some(rest) => {
                longest = longest.max(*rest);
                Outcome::Deferred { reason: REASON.to_owned() }
            }
        });
    }
    let in_all =
        |some: Vec<usize>| some.iter().filter_map(|at| indexes.get(*at).copied()).collect();
    let held = Wait { cause: Cause::Fault, retry_after: Some(longest) };
    Written {
        outcomes,
        kept: in_all(written.kept),
        conflicts: in_all(written.conflicts),
        unanswered: in_all(written.unanswered),
        wait: Some(written.wait.map_or(held, |wait| wait.and(held))),
        ..written
    }
}

#[cfg(test)]
mod tests;
