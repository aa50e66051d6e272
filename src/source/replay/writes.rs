//! Writes the changes of letters as the pipeline writes them, and says for each letter how that went.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use crate::deliver::{AddressedChange, Delivery, Rejected, WriteBatch, WriteQueue, WriteStop};
use crate::route::Addressed;

/// The changes of several letters for one sink, in feed order.
pub(super) struct Writes {
    delivery: Arc<Delivery>,
    queue: WriteQueue,
    /// By letter: changes that are not durable, and why one of them was refused.
    letters: Vec<Progress>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// How many changes the letter has for the sink.
    pub(super) changes: usize,
    /// How many of them are durable or refused.
    settled: usize,
    pub(super) refused: Option<String>,
}

impl Progress {
    /// Every change is durable in the target.
    pub(super) fn is_durable(&self) -> bool {
        self.settled == self.changes && self.refused.is_none()
    }
}

/// How often places that have become free are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Writes {
    pub(super) fn new(delivery: Arc<Delivery>, letters: usize) -> Self {
        let queue = WriteQueue::new(delivery.sink.limits().grouping);
        Self { delivery, queue, letters: vec![Progress::default(); letters] }
    }

    /// Adds a change of the letter with this number among those that are replayed together.
    pub(super) async fn push(&mut self, letter: usize, addressed: Addressed) {
        let Addressed { bytes, change, .. } = addressed;
        let partition = self.delivery.partition(&change.partition_key).await;
        self.letters[letter].changes += 1;
        self.queue.push(letter as u64, AddressedChange { partition, bytes, change });
    }

    /// Writes until every change is durable or refused, or a stop is asked for.
    pub(super) async fn write(mut self, stop: &WriteStop) -> Result<Vec<Progress>, JoinError> {
        let mut batches = JoinSet::new();
        let mut is_stopped = false;
        loop {
            while !is_stopped && let Some(batch) = self.queue.next_batch(self.delivery.limits()) {
                let (delivery, stop) = (Arc::clone(&self.delivery), stop.clone());
                batches.spawn(async move {
                    let rejected = delivery.until_done(&batch, &stop).await;
                    (batch, rejected)
                });
            }
            // A batch that waits because of one of its changes gives its place to others.
            let Ok(ended) = timeout(LOOK_AGAIN, batches.join_next()).await else { continue };
            let Some(ended) = ended else { return Ok(self.letters) };
            match ended? {
                (batch, Some(rejected)) => self.settle(&batch, rejected),
                // Of its changes, nothing is known: no later one of the same documents is offered.
                (_, None) => is_stopped = true,
            }
        }
    }

    fn settle(&mut self, batch: &WriteBatch, rejected: Vec<Rejected>) {
        self.queue.finish(batch);
        for page in &batch.pages {
            if let Some(letter) = letter_mut(&mut self.letters, *page) {
                letter.settled += 1;
            }
        }
        for Rejected { change, reason } in rejected {
            let at = batch.changes.iter().position(|offered| *offered == change);
            let letter = at.and_then(|at| letter_mut(&mut self.letters, batch.pages[at]));
            if let Some(letter) = letter {
                letter.refused = Some(reason);
            }
        }
    }
}

fn letter_mut(letters: &mut [Progress], page: u64) -> Option<&mut Progress> {
    letters.get_mut(usize::try_from(page).ok()?)
}
