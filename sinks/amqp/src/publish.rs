//! In which order messages go out, and what became of them. Pure.

use std::collections::{HashMap, HashSet};

use cosmos_bridge_sink::{Cause, Change, Outcome, PartitionKey, Wait};

use crate::Unroutable;
use crate::classify::Trouble;

/// What the broker said of one message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fate {
    /// In all queues that want it, and on disk where that was asked for.
    Confirmed,
    /// A queue did not take it: it is full, or failed.
    Nacked,
    /// No queue wants it; where it was sent, and why it came back.
    Returned(String),
    /// Nothing is known of it. It arrives no more, unless the broker has received it without reading it.
    Lost(Trouble),
}

/// Changes by how many of the same document stand before them: the first of each document, then the
/// second of each, and so on.
///
/// A later change goes out when all before it have been answered. Sent together, an earlier one could be
/// refused by a full queue and a later one taken.
pub(crate) fn rounds(changes: &[Change]) -> Vec<Vec<usize>> {
    let mut seen: HashMap<(&PartitionKey, &str), usize> = HashMap::with_capacity(changes.len());
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for (at, change) in changes.iter().enumerate() {
        let before = seen.entry((&change.partition_key, &change.id)).or_default();
        if rounds.len() == *before {
            rounds.push(Vec::new());
        }
        rounds[*before].push(at);
        *before += 1;
    }
    rounds
}

/// The answer to a write, as it comes together.
pub(crate) struct Answer<'c> {
    changes: &'c [Change],
    outcomes: Vec<Option<Outcome>>,
    /// Documents of which a change waits.
    waiting: HashSet<(&'c PartitionKey, &'c str)>,
    wait: Option<Wait>,
}

impl<'c> Answer<'c> {
    pub(crate) fn new(changes: &'c [Change]) -> Self {
        Self { changes, outcomes: vec![None; changes.len()], waiting: HashSet::new(), wait: None }
    }

    /// Whether the change is still to be sent.
    pub(crate) fn is_open(&self, at: usize) -> bool {
        self.outcomes[at].is_none() && !self.waiting.contains(&self.document(at))
    }

    pub(crate) fn reject(&mut self, at: usize, reason: String) {
        self.outcomes[at] = Some(Outcome::Rejected { reason });
    }

    pub(crate) fn note(&mut self, at: usize, fate: Fate, unroutable: Unroutable) {
        match fate {
            Fate::Confirmed => self.outcomes[at] = Some(Outcome::Delivered),
            Fate::Nacked => {
                let reason = "the broker did not take the message: a queue is full or has failed";
                self.defer(at, reason.to_owned(), Cause::Fault);
            }
            Fate::Returned(reason) if unroutable == Unroutable::DeadLetter => {
                self.reject(at, reason);
            }
            Fate::Returned(reason) => self.defer(at, reason, Cause::Fault),
            Fate::Lost(trouble) => {
                let cause = trouble.cause();
                self.defer(at, trouble.reason, cause);
            }
        }
    }

    fn defer(&mut self, at: usize, reason: String, cause: Cause) {
        self.outcomes[at] = Some(Outcome::Deferred { reason });
        self.waiting.insert(self.document(at));
        self.note_wait(cause);
    }

    /// What concerns everything outweighs what concerns one message.
    fn note_wait(&mut self, cause: Cause) {
        let known = self.wait.map(|wait| wait.cause);
        if known != Some(Cause::Busy) {
            self.wait = Some(Wait { cause, retry_after: None });
        }
    }

    /// With everything that has no outcome yet deferred for this reason, or for the sake of an
    /// earlier change of its document.
    pub(crate) fn finish(mut self, trouble: &Trouble) -> (Vec<Outcome>, Option<Wait>) {
        for at in 0..self.changes.len() {
            if self.outcomes[at].is_some() {
                continue;
            }
            if self.waiting.contains(&self.document(at)) {
                let reason = "an earlier change of the document has to wait".to_owned();
                self.outcomes[at] = Some(Outcome::Deferred { reason });
            } else {
                self.defer(at, trouble.reason.clone(), trouble.cause());
            }
        }
        (self.outcomes.into_iter().flatten().collect(), self.wait)
    }

    fn document(&self, at: usize) -> (&'c PartitionKey, &'c str) {
        (&self.changes[at].partition_key, &self.changes[at].id)
    }
}
