//! Offers every change to its sink until it is safe. The only retry loop of the bridge.

mod lanes;
mod watermark;

use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_sink::{Change, Outcome, PartitionKey, Sink};
use tokio::sync::Semaphore;

use crate::backoff::Backoff;
use crate::cosmos::PartitionId;
use crate::governor::Governor;
use crate::observe::{SinkMeter, Trouble};
use crate::stop::Stop;

pub use lanes::{Lanes, Unit};
pub use watermark::Watermark;

/// Tells which physical partition of a target a key belongs to.
#[async_trait]
pub trait Partitions: Send + Sync {
    /// Attribution only: what cannot be told is [`PartitionId::UNKNOWN`].
    async fn partition(&self, key: &PartitionKey) -> PartitionId;
}

/// One sink, shared by everybody who writes to it.
pub struct Delivery {
    pub sink: Arc<dyn Sink>,
    pub meter: Arc<SinkMeter>,
    /// The budget of the sink's container; unlimited where the sink has none.
    pub governor: Arc<Governor>,
    /// `None` for a sink whose target has no partitions that anybody has to know of.
    partitions: Option<Arc<dyn Partitions>>,
    /// Writes that may be under way at once, over all feed ranges.
    turns: Semaphore,
    trouble: Trouble,
}

/// A change that its sink will never take.
#[derive(Debug)]
pub struct Rejected {
    pub change: Change,
    pub reason: String,
}

impl Delivery {
    pub fn new(
        sink: Arc<dyn Sink>,
        governor: Arc<Governor>,
        partitions: Option<Arc<dyn Partitions>>,
    ) -> Self {
        let turns = Semaphore::new(sink.limits().concurrency);
        let trouble = Trouble::new(format!("writing to sink `{}`", sink.name()));
        Self { sink, meter: Arc::default(), governor, partitions, turns, trouble }
    }

    /// Offers the changes until each is delivered or rejected; returns the rejected ones.
    ///
    /// `None` when stopped first: some may be written, none may be forgotten.
    pub async fn until_done(&self, changes: &[Change], stop: &Stop) -> Option<Vec<Rejected>> {
        let Ok(_turn) = self.turns.acquire().await else { return None };
        let mut backoff = Backoff::for_requests();
        let mut rejected = Vec::new();
        let mut deferred: Vec<Change>;
        let mut pending = changes;
        loop {
            let written = self.sink.write(pending).await;
            self.meter.count(&written);
            let mut waiting = Vec::new();
            let mut why = None;
            for (change, outcome) in pending.iter().zip(written.outcomes) {
                match outcome {
                    Outcome::Delivered => {}
                    Outcome::Rejected { reason } => {
                        rejected.push(Rejected { change: change.clone(), reason });
                    }
                    Outcome::Deferred { reason } => {
                        why.get_or_insert(reason);
                        waiting.push(change.clone());
                    }
                }
            }
            let Some(why) = why else { break };
            if written.throttled == 0 {
                self.trouble.failed(&why);
            }
            deferred = waiting;
            pending = &deferred;
            let wait = backoff.next_wait(written.retry_after);
            stop.within(tokio::time::sleep(wait)).await?;
        }
        self.trouble.recovered();
        Some(rejected)
    }
}
