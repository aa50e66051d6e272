//! Sends spans in batches. Recording a span never waits for the collector.

use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::LogThrottle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use super::collector::{Collector, PostResult};
use super::error::TracesError;
use super::otlp;
use super::span::Span;
use crate::backoff::Backoff;
use crate::observe::{DropReason, TraceMeter};

/// Spans per request: half a megabyte; collectors accept some megabytes.
const BATCH: usize = 1024;

/// How long a batch waits for more spans.
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// How long a stop waits for the collector.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends the spans of the queue.
#[derive(Debug)]
pub struct Exporter {
    queue: mpsc::Receiver<Span>,
    collector: Collector,
    service: String,
    meter: Arc<TraceMeter>,
    queue_full: LogThrottle,
    /// Spans dropped by a full queue, up to the last check.
    dropped_before: u64,
}

impl Exporter {
    pub(super) fn new(
        queue: mpsc::Receiver<Span>,
        collector: Collector,
        service: String,
        meter: Arc<TraceMeter>,
    ) -> Self {
        Self {
            queue,
            collector,
            service,
            meter,
            queue_full: LogThrottle::default(),
            dropped_before: 0,
        }
    }

    /// Sends a request without spans.
    ///
    /// # Errors
    ///
    /// The collector does not accept it.
    pub async fn check(&self) -> Result<(), TracesError> {
        match self.collector.post(otlp::request(&self.service, &[])).await {
            PostResult::Accepted { .. } => Ok(()),
            PostResult::Rejected { why } | PostResult::Retry { why, .. } => {
                Err(TracesError::Collector(why))
            }
        }
    }

    /// Sends until asked to stop, then sends the remaining spans with one attempt per batch.
    async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        while self.collect(&mut batch, &stop).await {
            self.send(&mut batch, &stop).await;
        }
        loop {
            while batch.len() < BATCH
                && let Ok(span) = self.queue.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() || !matches!(self.post(&mut batch).await, Posted::Done) {
                return;
            }
        }
    }

    /// Collects a batch. Returns false when asked to stop, or when the queue is closed.
    async fn collect(&mut self, batch: &mut Vec<Span>, stop: &CancellationToken) -> bool {
        let mut until = None;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)),
                    if until.is_some() => return true,
                received = self.queue.recv_many(batch, room) => match received {
                    0 => return false,
                    _ => until = until.or_else(|| Some(Instant::now() + BATCH_DELAY)),
                },
            }
        }
        true
    }

    /// Sends a batch until the collector has accepted or rejected it. Meanwhile the queue fills.
    async fn send(&mut self, batch: &mut Vec<Span>, stop: &CancellationToken) {
        let mut backoff = Backoff::for_requests();
        while let Posted::Retry(retry_after) = self.post(batch).await {
            if stop.run_until_cancelled(sleep(backoff.next_wait(retry_after))).await.is_none() {
                return;
            }
        }
    }

    async fn post(&mut self, batch: &mut Vec<Span>) -> Posted {
        let count = batch.len() as u64;
        let result = self.collector.post(otlp::request(&self.service, batch)).await;
        self.log_dropped();
        match result {
            PostResult::Accepted { rejected: 0, .. } => {
                self.meter.sent.inc_by(count);
                self.meter.send_failures.recovered();
            }
            PostResult::Accepted { rejected, why } => {
                let rejected = rejected.min(count);
                self.meter.sent.inc_by(count - rejected);
                self.meter.dropped.add(DropReason::Refused, rejected);
                self.meter.send_failures.failed(&why);
            }
            PostResult::Rejected { why } => {
                self.meter.dropped.add(DropReason::Refused, count);
                self.meter.send_failures.failed(&why);
                // The secret of the collector may have changed.
                self.collector.read_headers().await;
            }
            PostResult::Retry { why, retry_after } => {
                self.meter.send_failures.failed(&why);
                return Posted::Retry(retry_after);
            }
        }
        batch.clear();
        Posted::Done
    }

    /// Logs that spans were dropped because the queue was full.
    fn log_dropped(&mut self) {
        let dropped = self.meter.dropped.get(DropReason::QueueFull);
        if dropped == self.dropped_before {
            self.queue_full.end();
            return;
        }
        self.dropped_before = dropped;
        if self.queue_full.on_occurrence(Instant::now()).is_some() {
            warn!(
                spans = dropped,
                "spans are dropped: the queue is full, because the collector is too slow"
            );
        }
    }
}

/// Whether a batch has to be sent again.
enum Posted {
    /// It was accepted or dropped.
    Done,
    Retry(Option<Duration>),
}

/// The running exporter.
#[derive(Debug)]
pub struct ExportTask {
    task: JoinSet<()>,
    /// Cancels the task when dropped.
    stop: DropGuard,
    meter: Arc<TraceMeter>,
}

impl ExportTask {
    pub fn start(exporter: Exporter) -> Self {
        let stop = CancellationToken::new();
        let meter = Arc::clone(&exporter.meter);
        let mut task = JoinSet::new();
        task.spawn(exporter.run(stop.clone()));
        Self { task, stop: stop.drop_guard(), meter }
    }

    /// Sends the remaining spans, for a few seconds or until `overdue`; the rest is dropped.
    pub async fn end(mut self, overdue: impl Future<Output = ()>) {
        self.stop.disarm().cancel();
        tokio::select! {
            _ = self.task.join_next() => {}
            () = overdue => {}
            () = sleep(STOP_TIMEOUT) => {}
        }
        self.task.shutdown().await;
        let spans = self.meter.in_flight();
        if spans > 0 {
            self.meter.dropped.add(DropReason::Stopped, spans);
            warn!(spans, "the last spans were dropped: the collector did not accept them in time");
        }
    }
}
