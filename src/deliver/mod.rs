//! Offers every change to its sink until it is safe. The only retry loop of the bridge.

mod lanes;
mod watermark;

use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_sink::{Cause, Change, Limits, Outcome, PartitionKey, Sink, Wait, Written};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::debug;

use crate::backoff::{Attempts, Repeat};
use crate::governor::{Governor, Kind, Operation, Settlement, Verdict};
use crate::model::PartitionId;
use crate::observe::{SinkMeter, Throttling, WriteActivity};
use crate::traces::{WriteSpans, WriteTracer};
use tokio_util::sync::CancellationToken;

pub use lanes::{Lanes, Placed, Unit};
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
    throttling: Throttling,
    /// `None` where nothing is traced.
    traces: Option<WriteTracer>,
}

/// What ends the writes of one sink in one feed range.
#[derive(Clone, Debug)]
pub struct WriteStop {
    /// Cancelled with everything, or when the range goes on without the sink. What can be sent
    /// immediately is still sent.
    pub stopped: CancellationToken,
    /// Cancelled only when the range goes on without the sink: its writes do not wait for a turn.
    pub abandoned: CancellationToken,
}

impl WriteStop {
    /// A branch of `parent`.
    pub fn branch_of(parent: &CancellationToken) -> Self {
        Self { stopped: parent.child_token(), abandoned: CancellationToken::new() }
    }

    /// Ends the writes of this sink in this range; others are not affected.
    pub fn abandon(&self) {
        self.abandoned.cancel();
        self.stopped.cancel();
    }
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
        }
    }

    /// Tells what becomes of changes that are traced.
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

    /// The physical partition that a key belongs to, where that matters.
    pub async fn partition(&self, key: &PartitionKey) -> PartitionId {
        match &self.partitions {
            Some(partitions) if self.governor.is_strained() => partitions.partition(key).await,
            _ => PartitionId::UNKNOWN,
        }
    }

    /// Offers the changes of a unit until each is delivered or rejected; returns the rejected ones.
    ///
    /// `None` when stopped first: some may be written, none may be forgotten.
    pub async fn until_done(&self, unit: &Unit, stop: &WriteStop) -> Option<Vec<Rejected>> {
        let mut spans = WriteSpans::begin(self.traces.as_ref());
        let mut attempts = Attempts::default();
        let mut rejected = Vec::new();
        let mut deferred: Deferred;
        let mut pending = unit.changes.as_slice();
        let mut partition = unit.partition;
        let all: Vec<_> = unit.changes.iter().zip(&unit.bytes).map(operation).collect();
        let mut operations = all.as_slice();
        loop {
            // A unit is made by the number of its changes; here it is known what they cost.
            let fitting = &operations[..self.governor.affordable(operations)];
            // What can be sent at once is sent even when a stop was asked for: it was read.
            let waits = &self.meter.time_spent;
            let admission = self.governor.admit(partition, fitting.to_vec());
            let mut admission = tokio::select! {
                biased;
                admission = waits.during(WriteActivity::Budget, admission) => admission,
                () = stop.stopped.cancelled() => return None,
            };
            let count = admission.affordable();
            let (offered, later) = pending.split_at(count);
            let (costs, later_costs) = operations.split_at(count);
            let (written, took) = {
                let turn = waits.during(WriteActivity::Turn, self.turns.acquire());
                // A feed range that goes on without this sink does not wait for its turn.
                let turn = tokio::select! {
                    biased;
                    turn = turn => turn,
                    () = stop.abandoned.cancelled() => return None,
                };
                let Ok(_turn) = turn else { return None };
                admission.mark_sent();
                let sent = Instant::now();
                let written = waits.during(WriteActivity::Request, self.sink.write(offered)).await;
                (written, sent.elapsed())
            };
            self.meter.count(&written, took);
            self.throttling.count(written.requests, written.throttled);
            let repeat = written.wait.map(|wait| attempts.after(wait));
            admission.settle(settlement(&written, repeat));
            // A sink that defers and does not say why is asked again like after a fault.
            let wait = written.wait.unwrap_or(Wait { cause: Cause::Fault, retry_after: None });
            let mut again = Deferred::default();
            for ((change, operation), outcome) in offered.iter().zip(costs).zip(written.outcomes) {
                spans.count(change, &outcome, wait.cause);
                match outcome {
                    Outcome::Delivered => {}
                    Outcome::Rejected { reason } => {
                        rejected.push(Rejected { change: change.clone(), reason });
                    }
                    Outcome::Deferred { reason } => again.add(change, *operation, reason),
                }
            }
            let Some(why) = &again.why else {
                if later.is_empty() {
                    break;
                }
                (pending, operations) = (later, later_costs);
                attempts = Attempts::default();
                continue;
            };
            if written.throttled == 0 {
                self.meter.write_failures.failed(why);
            }
            let Repeat { pause, .. } = repeat.unwrap_or_else(|| attempts.after(wait));
            let cause = wait.cause;
            self.meter.errors.add(cause, 1);
            debug!(sink = self.sink.name(), ?cause, ?pause, error = why, "writing has to wait");
            let pause = stop.stopped.run_until_cancelled(tokio::time::sleep(pause));
            waits.during(WriteActivity::Refused, pause).await?;
            if let (Some(Wait { cause: Cause::Moved, .. }), [first, ..]) =
                (written.wait, again.changes.as_slice())
            {
                partition = self.partition(&first.partition_key).await;
            }
            again.changes.extend_from_slice(later);
            again.operations.extend_from_slice(later_costs);
            deferred = again;
            (pending, operations) = (&deferred.changes, &deferred.operations);
        }
        self.meter.write_failures.recovered();
        Some(rejected)
    }
}

/// What has to be offered again.
#[derive(Default)]
struct Deferred {
    changes: Vec<Change>,
    operations: Vec<Operation>,
    /// The reason of the first of them.
    why: Option<String>,
}

impl Deferred {
    fn add(&mut self, change: &Change, operation: Operation, reason: String) {
        self.changes.push(change.clone());
        self.operations.push(operation);
        self.why.get_or_insert(reason);
    }
}

fn operation((change, bytes): (&Change, &usize)) -> Operation {
    let kind = match change.operation {
        cosmos_bridge_sink::Operation::Upsert { .. } => Kind::Write,
        cosmos_bridge_sink::Operation::Delete { .. } => Kind::Delete,
    };
    Operation { kind, bytes: *bytes }
}

/// What the governor has to know of an attempt. `repeat` is how to go on where changes wait.
fn settlement(written: &Written, repeat: Option<Repeat>) -> Settlement {
    let is_delivered = |outcome: &&Outcome| **outcome == Outcome::Delivered;
    let documents = written.outcomes.iter().filter(is_delivered).count();
    let verdict = match repeat {
        Some(repeat) => repeat.verdict,
        None if documents == written.outcomes.len() => Verdict::Done,
        None => Verdict::Other,
    };
    Settlement { charge: written.charge, documents, throttled: written.throttled, verdict }
}

#[cfg(test)]
mod tests;
