//! A sink, and what limits the writes to it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::{Change, Grouping, Limits, PartitionKey, Sink};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::late_writes::LateWrites;
use crate::governor::Governor;
use crate::model::{Fate, PartitionId};
use crate::observe::{SinkMeter, Throttling};
use crate::traces::WriteTracer;

/// Finds the physical partition of a target that a key belongs to.
#[async_trait]
pub trait Partitions: Send + Sync {
    /// Attribution and grouping only: an unknown partition is [`PartitionId::UNKNOWN`].
    async fn partition(&self, key: &PartitionKey) -> PartitionId;
}

/// One sink, shared by all feed ranges and pipelines that write to it.
pub struct Delivery {
    pub sink: Arc<dyn Sink>,
    pub meter: Arc<SinkMeter>,
    /// The budget of the sink's container; unlimited where the sink has none.
    pub governor: Arc<Governor>,
    /// `None` for a sink whose target's partitions do not matter.
    partitions: Option<Arc<dyn Partitions>>,
    /// Concurrent writes, over all feed ranges.
    pub(super) turns: Semaphore,
    pub(super) throttling: Throttling,
    /// `None` if traces are off.
    pub(super) traces: Option<WriteTracer>,
    pub(super) late_writes: LateWrites,
}

/// The longest that writes may wait for the budget or a target that throttles after a stop was asked for: what was
/// read and is not written is read again by the next run.
pub const STOP_GRACE: Duration = Duration::from_secs(5);

/// What ends the writes of one sink in one feed range.
#[derive(Clone, Debug, Default)]
pub struct WriteStop {
    /// Cancelled with everything, or when the range goes on without the sink. What can be sent
    /// within the grace is still sent.
    pub stopped: CancellationToken,
    /// Cancelled only when the range goes on without the sink: its writes do not wait for a turn.
    pub abandoned: CancellationToken,
    grace: Duration,
    /// When the stop was asked for.
    asked: Arc<OnceLock<Instant>>,
}

impl WriteStop {
    /// A branch of `parent`. After a stop, writes may wait for `grace`.
    pub fn branch_of(parent: &CancellationToken, grace: Duration) -> Self {
        Self { stopped: parent.child_token(), grace, ..Self::default() }
    }

    /// A stop was asked for now.
    pub fn note(&self) {
        self.asked.get_or_init(Instant::now);
    }

    /// Completes when writes may wait no longer: some time after a stop, or immediately if the range goes
    /// on without the sink.
    pub async fn is_over(&self) {
        self.stopped.cancelled().await;
        // The range notes it at the same moment; this is for what has no range.
        let asked = *self.asked.get_or_init(Instant::now);
        tokio::select! {
            () = self.abandoned.cancelled() => {}
            () = sleep_until(asked + self.grace) => {}
        }
    }

    /// Ends the writes of this sink in this range; others are not affected.
    pub fn abandon(&self) {
        self.abandoned.cancel();
        self.stopped.cancel();
    }
}

/// The end of a batch: what its sink said of each change.
#[derive(Debug, Default)]
pub struct BatchEnd {
    pub rejected: Vec<Rejected>,
    /// In the order of the batch. `None` if the sink was never asked, or said nothing: that is lost.
    pub fates: Vec<Option<Fate>>,
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
        let what = format!("writing to sink `{}`", sink.name());
        Self {
            meter: Arc::new(SinkMeter::new(sink.name())),
            sink,
            governor,
            partitions,
            turns,
            throttling: Throttling::new(what),
            traces: None,
            late_writes: LateWrites::default(),
        }
    }

    /// Adds spans for the changes that are traced.
    #[must_use]
    pub fn traced(self, traces: Option<WriteTracer>) -> Self {
        Self { traces, ..self }
    }

    /// What one write may hold at the moment.
    pub fn limits(&self) -> Limits {
        let limits = self.sink.limits();
        Limits { changes: self.governor.fitting(limits.changes), ..limits }
    }

    /// Why writing fails at the moment.
    pub fn error(&self) -> Option<String> {
        self.meter.write_failures.error()
    }

    /// How long writing has failed without a success; `None` if it works.
    pub fn failing_for(&self) -> Option<Duration> {
        self.meter.write_failures.failing_for()
    }

    /// The physical partition that a key belongs to, where that matters.
    pub async fn partition(&self, key: &PartitionKey) -> PartitionId {
        let is_grouped = self.sink.limits().grouping == Grouping::Partition;
        match &self.partitions {
            Some(partitions) if is_grouped || self.governor.is_strained() => {
                partitions.partition(key).await
            }
            _ => PartitionId::UNKNOWN,
        }
    }
}
