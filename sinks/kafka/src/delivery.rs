//! The delivery reports of messages that were given to the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};

use cosmos_bridge_sink::Mutex;
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

/// `Ok` if every in-sync replica has the message.
pub(crate) type Delivery = Result<(), RDKafkaErrorCode>;

/// The messages of one write. Their reports arrive on a thread of the client.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    reports: Mutex<Reports>,
    failed: AtomicBool,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Reports {
    received: Vec<Option<Delivery>>,
    missing: usize,
    /// Wake for each report, not only for the last one: a later write waits for one of them.
    wakes_for_each: bool,
}

/// One message of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    batch: Arc<Batch>,
    index: usize,
}

impl Batch {
    /// A batch of at most this number of messages.
    pub(crate) fn of(messages: usize) -> Self {
        let reports = Reports { received: Vec::with_capacity(messages), ..Reports::default() };
        Self { reports: Mutex::new(reports), ..Self::default() }
    }

    /// Adds a message to the batch.
    pub(crate) fn ticket(self: &Arc<Self>) -> Ticket {
        let mut reports = self.reports.lock();
        reports.received.push(None);
        reports.missing += 1;
        Ticket { batch: Arc::clone(self), index: reports.received.len() - 1 }
    }

    /// True if any message has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Acquire)
    }

    /// Waits until every message has its report.
    pub(crate) async fn settled(&self) {
        loop {
            let changed = self.changed.notified();
            if self.reports.lock().missing == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Ticket {
    /// Sets the report. Called once for each ticket.
    pub(crate) fn settle(&self, delivery: Delivery) {
        let mut reports = self.batch.reports.lock();
        reports.received[self.index] = Some(delivery);
        reports.missing -= 1;
        if delivery.is_err() {
            self.batch.failed.store(true, Release);
        }
        let wakes = reports.missing == 0 || reports.wakes_for_each;
        drop(reports);
        if wakes {
            self.batch.changed.notify_waiters();
        }
    }

    pub(crate) fn report(&self) -> Option<Delivery> {
        self.batch.reports.lock().received[self.index]
    }

    /// Waits for the report of this message, which an earlier write sent.
    pub(crate) async fn settled(&self) {
        self.batch.reports.lock().wakes_for_each = true;
        loop {
            let changed = self.batch.changed.notified();
            if self.report().is_some() {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_batch_wakes_at_its_last_report_and_at_each_if_a_later_write_waits() {
        let batch = Arc::new(Batch::default());
        let tickets = [batch.ticket(), batch.ticket(), batch.ticket()];
        let mut all = Box::pin(batch.settled());
        let mut earlier = Box::pin(tickets[1].settled());
        assert!(all.as_mut().now_or_never().is_none());
        assert!(earlier.as_mut().now_or_never().is_none());
        tickets[1].settle(Err(RDKafkaErrorCode::PurgeQueue));
        assert!(earlier.now_or_never().is_some(), "not waiting for the others");
        assert!(batch.has_failed());
        tickets[0].settle(Ok(()));
        assert!(all.as_mut().now_or_never().is_none());
        assert_eq!(tickets[2].report(), None);
        tickets[2].settle(Ok(()));
        assert!(all.now_or_never().is_some());
        assert_eq!(tickets[1].report(), Some(Err(RDKafkaErrorCode::PurgeQueue)));
    }
}
