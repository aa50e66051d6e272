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
                    let end = delivery.until_done(&batch, &stop).await;
                    (batch, end)
                });
            }
            // A batch that waits because of one of its changes gives its place to others.
            let Ok(ended) = timeout(LOOK_AGAIN, batches.join_next()).await else { continue };
            let Some(ended) = ended else { return Ok(self.letters) };
            match ended? {
                (batch, Some(end)) => self.settle(&batch, end.rejected),
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

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use cosmos_bridge_sink::{
        Answers, Cause, Change, ContainerName, Grouping, KeyValue, Limits, OldCopies, Operation,
        Origin, PartitionKey, Sink, SinkError, Written,
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::governor::{Governor, YieldPolicy};

    /// Does with a document what its id says.
    struct ById;

    #[async_trait]
    impl Sink for ById {
        fn name(&self) -> &'static str {
            "by id"
        }

        fn limits(&self) -> Limits {
            Limits { grouping: Grouping::Any, changes: 1, bytes: 1000, concurrency: 4 }
        }

        async fn check(&self) -> Result<(), SinkError> {
            Ok(())
        }

        async fn write(&self, changes: &[Change]) -> Written {
            let mut answers = Answers::new(changes);
            for (index, change) in changes.iter().enumerate() {
                match change.id.as_str() {
                    "refused" => answers.reject(index, "too large"),
                    "waits" => answers.defer(index, "not now", Cause::Fault),
                    _ => answers.deliver(index),
                }
            }
            answers.finish()
        }

        async fn close(&self) -> Result<(), SinkError> {
            Ok(())
        }
    }

    fn addressed(id: &str) -> Addressed {
        let text = |text: &str| text.to_owned();
        let container = ContainerName {
            account: text("a"),
            database: text("d"),
            container: text("c"),
            rid: text("rid"),
        };
        let partition_key = PartitionKey(vec![KeyValue::Null]);
        let origin = Origin {
            container: Arc::new(container),
            id: text(id),
            partition_key: partition_key.clone(),
            lsn: None,
            committed_at: None,
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        };
        let change = Change {
            id: text(id),
            partition_key,
            operation: Operation::Delete { expired: false },
            previous: None,
            origin: Arc::new(origin),
            old_copies: OldCopies::None,
        };
        Addressed { sink: 0, bytes: id.len(), change }
    }

    /// A letter that counts as durable is removed.
    #[tokio::test(start_paused = true)]
    async fn a_letter_is_durable_once_all_its_changes_are_and_not_if_one_is_refused_or_unknown() {
        // The ids of the changes of each letter, and whether it is durable in the end.
        let cases: [(&[&str], bool); 6] = [
            (&[], true),
            (&["1"], true),
            (&["2", "3"], true),
            (&["refused"], false),
            (&["4", "refused"], false),
            (&["5", "waits"], false),
        ];
        let governor = Arc::new(Governor::new(None, YieldPolicy::Normal, 4));
        let delivery = Arc::new(Delivery::new(Arc::new(ById), governor, None));
        let mut writes = Writes::new(delivery, cases.len());
        for (letter, (ids, _)) in cases.iter().enumerate() {
            for id in *ids {
                writes.push(letter, addressed(id)).await;
            }
        }
        let parent = CancellationToken::new();
        let stop = WriteStop::branch_of(&parent, Duration::ZERO);
        let stopped = async {
            tokio::time::sleep(Duration::from_mins(5)).await;
            parent.cancel();
        };
        let (progress, ()) = tokio::join!(writes.write(&stop), stopped);
        for (progress, (ids, is_durable)) in progress.unwrap().iter().zip(cases) {
            assert_eq!(progress.changes, ids.len(), "{ids:?}");
            assert_eq!(progress.is_durable(), is_durable, "{ids:?}");
            let refused = ids.contains(&"refused").then_some("too large");
            assert_eq!(progress.refused.as_deref(), refused, "{ids:?}");
        }
    }
}
