//! Writes of different documents that wait for one request.

use std::collections::HashMap;

use cosmos_bridge_sink::{Change, Mutex};
use futures::channel::oneshot;
use tokio::sync::Semaphore;

use crate::document_hash::DocumentHash;
use crate::history::Known;
use crate::{Answer, Content, Operation, Write};

/// The documents of one write of the sink, and what they wait for.
pub(super) struct Round<'c> {
    state: Mutex<State<'c>>,
    /// For requests of one document: each refused request of many would otherwise be followed by as many of
    /// them at once.
    alone: &'c Semaphore,
}

#[derive(Default)]
struct State<'c> {
    /// The writes that wait for the next request.
    waiting: Vec<Waiting<'c>>,
    /// Documents that wait for an answer.
    under_way: usize,
    /// What was read of documents before.
    found: HashMap<DocumentHash, Known>,
}

pub(super) struct Waiting<'c> {
    pub(super) operation: Operation<'c>,
    pub(super) answer: oneshot::Sender<Option<Answer>>,
}

impl<'c> Round<'c> {
    pub(super) fn new(alone: &'c Semaphore, found: HashMap<DocumentHash, Known>) -> Self {
        Self { state: Mutex::new(State { found, ..State::default() }), alone }
    }

    /// What was read of a document; it is true only until the first write.
    pub(super) fn take_found(&self, document: DocumentHash) -> Option<Known> {
        self.state.lock().found.remove(&document)
    }

    /// The answer to a write that shares its request; `None` if it has to be sent alone.
    pub(super) async fn write(
        &self,
        change: &'c Change,
        content: Option<Content<'c>>,
        write: Write<'_>,
    ) -> Option<Answer> {
        let operation = Operation::of(&change.partition_key, &change.id, content, write)?;
        let (answer, answered) = oneshot::channel();
        self.state.lock().waiting.push(Waiting { operation, answer });
        let answer = answered.await.ok().flatten();
        self.state.lock().under_way -= 1;
        answer
    }

    /// Sends requests of one document alone; the other documents do not wait for it.
    pub(super) async fn alone<T>(&self, requests: impl Future<Output = T>) -> T {
        self.state.lock().under_way += 1;
        let permit = self.alone.acquire().await;
        let answer = requests.await;
        drop(permit);
        self.state.lock().under_way -= 1;
        answer
    }

    /// The writes for the next request, if no more of the `documents` can join it before something is
    /// answered.
    pub(super) fn take_full(&self, documents: usize) -> Option<Vec<Waiting<'c>>> {
        let State { waiting, under_way, .. } = &mut *self.state.lock();
        if waiting.is_empty() || waiting.len() + *under_way < documents {
            return None;
        }
        *under_way += waiting.len();
        Some(std::mem::take(waiting))
    }
}

/// As [`Round::alone`], if there is a round.
pub(super) async fn alone<T>(round: Option<&Round<'_>>, requests: impl Future<Output = T>) -> T {
    match round {
        Some(round) => round.alone(requests).await,
        None => requests.await,
    }
}
