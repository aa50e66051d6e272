//! Writes of different documents that wait for one request.

use cosmos_bridge_sink::{Change, Mutex};
use futures::channel::oneshot;

use crate::{Answer, Operation, Write};

/// The writes that wait for the next request.
#[derive(Default)]
pub(super) struct Round(Mutex<Vec<Waiting>>);

pub(super) struct Waiting {
    pub(super) operation: Operation,
    pub(super) answer: oneshot::Sender<Option<Answer>>,
}

impl Round {
    /// The answer to a write that shares its request; `None` if it has to be sent alone.
    pub(super) async fn write(&self, change: &Change, write: Write<'_>) -> Option<Answer> {
        let operation = Operation::of(&change.partition_key, &change.id, write)?;
        let (answer, answered) = oneshot::channel();
        self.0.lock().push(Waiting { operation, answer });
        answered.await.ok().flatten()
    }

    /// All writes, if `documents` of them wait.
    pub(super) fn take_full(&self, documents: usize) -> Option<Vec<Waiting>> {
        let mut waiting = self.0.lock();
        (waiting.len() == documents).then(|| std::mem::take(&mut *waiting))
    }
}
