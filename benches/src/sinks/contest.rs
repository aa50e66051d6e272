//! The comparison of one sink with its bare client, and the driver of its writes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge::deliver::{AddressedChange, Delivery, WriteQueue, WriteStop};
use cosmos_bridge::governor::{Governor, YieldPolicy};
use cosmos_bridge::model::PartitionId;
use cosmos_bridge_event::{ContentMode, Data, Encoder, Event, Format, Oversize};
use cosmos_bridge_sink::{Change, Operation, Sink, document_bytes};
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Failure;

/// Changes per page of the source.
const PAGE: usize = 1000;

/// When the bare client's messages are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// Before the measurement, which then covers the client only.
    Before,
    /// During the measurement, one after the other, with the bridge's own encoder.
    Within,
}

impl Made {
    /// The messages, in turn, of batches with this number of changes.
    pub(crate) fn of<M: Send + 'static>(
        self,
        changes: &Arc<[Change]>,
        each: usize,
        make: impl Fn(&[Change]) -> M + Send + 'static,
    ) -> Messages<M> {
        let changes = Arc::clone(changes);
        let starts = (0..changes.len()).step_by(each);
        let messages = starts.map(move |at| make(&changes[at..changes.len().min(at + each)]));
        match self {
            Self::Before => Box::new(messages.collect::<Vec<_>>().into_iter()),
            Self::Within => Box::new(messages),
        }
    }
}

/// Each message is dropped when it was sent.
pub(crate) type Messages<M> = Box<dyn Iterator<Item = M> + Send>;

/// Several senders take messages from it.
pub(crate) struct Shared<M>(Arc<Mutex<Messages<M>>>);

impl<M> Clone for Shared<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> Shared<M> {
    pub(crate) fn new(messages: Messages<M>) -> Self {
        Self(Arc::new(Mutex::new(messages)))
    }

    pub(crate) fn next(&self) -> Option<M> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

/// Runs one task per sender, and measures until the last one is done.
pub(crate) async fn measure<F>(senders: impl IntoIterator<Item = F>) -> Result<Took, Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let clock = Clock::start();
    let mut tasks = JoinSet::new();
    for sender in senders {
        tasks.spawn(sender);
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(clock.stop())
}

/// One sink and the bare client that it is compared with.
#[async_trait]
pub(crate) trait Contest: Send {
    fn name(&self) -> &'static str;

    /// The number of changes for a run of one or two seconds.
    fn changes(&self) -> u64;

    /// Replaces the target by an empty one.
    async fn renew(&mut self) -> Result<(), Failure>;

    /// The sink, with the settings that the bridge has by default.
    fn sink(&self) -> Result<Arc<dyn Sink>, Failure>;

    /// Sends the same messages with the bare client, and returns when all are acknowledged.
    async fn bare(&self, changes: &Arc<[Change]>, made: Made) -> Result<Took, Failure>;

    /// The consumed messages, in an order that does not depend on the writer.
    async fn arrived(&self, count: usize) -> Result<Vec<String>, Failure>;
}

/// The time of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) wall: Duration,
    /// CPU time of this process, which contains no broker.
    pub(crate) cpu: Duration,
}

/// A running measurement.
pub(crate) struct Clock {
    started: Instant,
    cpu: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { cpu: cpu(), started: Instant::now() }
    }

    pub(crate) fn stop(&self) -> Took {
        Took { wall: self.started.elapsed(), cpu: cpu().saturating_sub(self.cpu) }
    }
}

fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// The format that sinks have by default.
pub(crate) fn encoder(mode: ContentMode) -> Encoder {
    let format = Format { data: Data::Document, cloud_events: Some(mode) };
    Encoder::new(format, Oversize::DeadLetter)
}

/// The event of every message.
pub(crate) fn event(mode: ContentMode, change: &Change) -> Event {
    let event = encoder(mode).encode(change, usize::MAX);
    event.unwrap_or_else(|_| unreachable!("no event is larger than that"))
}

/// Delivers changes as the bridge does to one feed range: `src/deliver` makes the writes, keeps as many
/// under way as the sink allows, never two of one document, and takes an outcome for every change.
///
/// In a separate task, as a pipeline is and as the bare client's senders are: the thread that waits
/// for all of them would have to be woken for each write.
pub(crate) async fn deliver(sink: Arc<dyn Sink>, changes: &Arc<[Change]>) -> Result<Took, Failure> {
    sink.check().await?;
    let mut pipeline = JoinSet::new();
    pipeline.spawn(drive(sink, Arc::clone(changes)));
    pipeline.join_next().await.ok_or("no pipeline")??
}

async fn drive(sink: Arc<dyn Sink>, changes: Arc<[Change]>) -> Result<Took, Failure> {
    let governor = Governor::new(None, YieldPolicy::Normal, sink.limits().concurrency);
    let delivery = Arc::new(Delivery::new(Arc::clone(&sink), Arc::new(governor), None));
    let limits = delivery.limits();
    let most = limits.changes * (limits.concurrency + 1);
    let stop = WriteStop::default();
    let mut queue = WriteQueue::new(limits.grouping);
    let mut writes = JoinSet::new();
    let mut held = 0;
    // The documents live until the end, as the bare client's do: each side frees its own memory.
    let mut finished = Vec::new();
    // A routed change carries its size.
    let addressed = |change: Change| {
        let bytes = match &change.operation {
            Operation::Upsert { document } => document_bytes(document),
            Operation::Delete { .. } => change.id.len(),
        };
        AddressedChange { partition: PartitionId::UNKNOWN, bytes, change }
    };
    let addressed: Vec<_> = changes.iter().cloned().map(addressed).collect();
    let mut pages = (0_u64..).zip(addressed).peekable();
    let clock = Clock::start();
    loop {
        while held < most && pages.peek().is_some() {
            for (number, change) in pages.by_ref().take(PAGE) {
                queue.push(number, change);
                held += 1;
            }
        }
        while let Some(batch) = queue.next_batch(limits) {
            let (delivery, stop) = (Arc::clone(&delivery), stop.clone());
            writes.spawn(async move {
                let end = delivery.until_done(&batch, &stop).await;
                (batch, end)
            });
        }
        let Some(written) = writes.join_next().await else { break };
        match written? {
            (batch, Some(end)) if end.rejected.is_empty() => {
                held -= batch.changes.len();
                queue.finish(&batch);
                finished.push(batch);
            }
            (_, end) => return Err(format!("not delivered: {end:?}").into()),
        }
    }
    let took = clock.stop();
    drop(finished);
    let totals = delivery.error();
    sink.close().await?;
    match totals {
        None => Ok(took),
        Some(error) => Err(error.into()),
    }
}
