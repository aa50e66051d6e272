//! Sends spans in batches, and never makes anybody wait for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::TracesError;
use super::collector::{Answer, Collector};
use super::otlp;
use super::span::Span;
use crate::backoff::Backoff;
use crate::observe::{LogThrottle, Lost, TraceMeter};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Half a megabyte: collectors take up to some megabytes at once.
const BATCH: usize = 1024;

/// How long a span waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// How long a stop waits for the collector, at most.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Sends what is in the queue.
#[derive(Debug)]
pub struct Exporter {
    queue: mpsc::Receiver<Span>,
    collector: Collector,
    service: String,
    meter: Arc<TraceMeter>,
    full: LogThrottle,
    /// Spans that had found the queue full at the last look.
    seen: u64,
}

impl Exporter {
    pub(super) fn new(
        queue: mpsc::Receiver<Span>,
        collector: Collector,
        service: String,
        meter: Arc<TraceMeter>,
    ) -> Self {
        Self { queue, collector, service, meter, full: LogThrottle::default(), seen: 0 }
    }

    /// Sends a request without any span.
    ///
    /// # Errors
    ///
    /// The collector does not take it.
    pub async fn check(&self) -> Result<(), TracesError> {
        match self.collector.post(otlp::request(&self.service, &[])).await {
            Answer::Taken { .. } => Ok(()),
            Answer::Refused { why } | Answer::Later { why, .. } => Err(TracesError::Collector(why)),
        }
    }

    /// Sends until asked to stop, and then what is left, once.
    async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        while self.gather(&mut batch, &stop).await {
            self.send(&mut batch, &stop).await;
        }
        loop {
            while batch.len() < BATCH
                && let Ok(span) = self.queue.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() || !self.offer(&mut batch).await.is_done() {
                return;
            }
        }
    }

    /// Waits for a batch. `false` when asked to stop, or when no span will come any more.
    async fn gather(&mut self, batch: &mut Vec<Span>, stop: &CancellationToken) -> bool {
        let mut until = None;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)),
                    if until.is_some() => return true,
                taken = self.queue.recv_many(batch, room) => match taken {
                    0 => return false,
                    _ => until = until.or_else(|| Some(Instant::now() + GATHER)),
                },
            }
        }
        true
    }

    /// Offers a batch until the collector has taken or refused it; meanwhile the queue fills.
    async fn send(&mut self, batch: &mut Vec<Span>, stop: &CancellationToken) {
        let mut backoff = Backoff::for_requests();
        while let Offered::Later(told) = self.offer(batch).await {
            if stop.run_until_cancelled(sleep(backoff.next_wait(told))).await.is_none() {
                return;
            }
        }
    }

    async fn offer(&mut self, batch: &mut Vec<Span>) -> Offered {
        let count = batch.len() as u64;
        let answer = self.collector.post(otlp::request(&self.service, batch)).await;
        self.tell_lost();
        match answer {
            Answer::Taken { refused: 0, .. } => {
                self.meter.count_sent(count);
                self.meter.trouble.recovered();
            }
            Answer::Taken { refused, why } => {
                let refused = refused.min(count);
                self.meter.count_sent(count - refused);
                self.meter.count_lost(Lost::Refused, refused);
                self.meter.trouble.failed(&why);
            }
            Answer::Refused { why } => {
                self.meter.count_lost(Lost::Refused, count);
                self.meter.trouble.failed(&why);
                // What opens the collector may be another secret by now.
                self.collector.read_headers().await;
            }
            Answer::Later { why, told } => {
                self.meter.trouble.failed(&why);
                return Offered::Later(told);
            }
        }
        batch.clear();
        Offered::Done
    }

    /// Tells that spans found the queue full.
    fn tell_lost(&mut self) {
        let lost = self.meter.lost(Lost::QueueFull);
        if lost == self.seen {
            self.full.over();
            return;
        }
        self.seen = lost;
        if self.full.happened(Instant::now()).is_some() {
            warn!(spans = lost, "spans are dropped: the collector does not take them in time");
        }
    }
}

/// What became of a batch.
enum Offered {
    /// It is taken or lost.
    Done,
    Later(Option<Duration>),
}

impl Offered {
    fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

/// An exporter at work.
#[derive(Debug)]
pub struct Exporting {
    task: JoinSet<()>,
    /// Cancels the task when dropped.
    stop: DropGuard,
    meter: Arc<TraceMeter>,
}

impl Exporting {
    pub fn start(exporter: Exporter) -> Self {
        let stop = CancellationToken::new();
        let meter = Arc::clone(&exporter.meter);
        let mut task = JoinSet::new();
        task.spawn(exporter.run(stop.clone()));
        Self { task, stop: stop.drop_guard(), meter }
    }

    /// Sends what is left, until `overdue` or for a few seconds; then it is lost.
    pub async fn end(mut self, overdue: impl Future<Output = ()>) {
        self.stop.disarm().cancel();
        tokio::select! {
            _ = self.task.join_next() => {}
            () = overdue => {}
            () = sleep(LAST_WORDS) => {}
        }
        self.task.shutdown().await;
        let spans = self.meter.under_way();
        if spans > 0 {
            self.meter.count_lost(Lost::Stopped, spans);
            warn!(spans, "the collector did not take the last spans in time");
        }
    }
}
