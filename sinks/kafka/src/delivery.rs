//! What became of messages that were given to the client.

use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

/// `Ok` when every in-sync replica has the message.
pub(crate) type Delivery = Result<(), RDKafkaErrorCode>;

/// The messages of one write. Their answers come on the client's own thread.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    state: Mutex<State>,
    failed: AtomicBool,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    answers: Vec<Option<Delivery>>,
    open: usize,
    /// Wake for each answer, not for the last one alone: a later write waits for some of them.
    wakes_for_each: bool,
}

/// One message of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    batch: Arc<Batch>,
    index: usize,
}

impl Batch {
    /// For so many messages at most.
    pub(crate) fn of(messages: usize) -> Self {
        let state = State { answers: Vec::with_capacity(messages), ..State::default() };
        Self { state: Mutex::new(state), ..Self::default() }
    }

    /// A place for the answer to one more message.
    pub(crate) fn ticket(self: &Arc<Self>) -> Ticket {
        let mut state = self.state();
        state.answers.push(None);
        state.open += 1;
        Ticket { batch: Arc::clone(self), index: state.answers.len() - 1 }
    }

    /// Whether any message has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Acquire)
    }

    /// Waits until every message has its answer.
    pub(crate) async fn settled(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state().open == 0 {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Called once, by whoever knows.
    pub(crate) fn settle(&self, delivery: Delivery) {
        let mut state = self.batch.state();
        state.answers[self.index] = Some(delivery);
        state.open -= 1;
        if delivery.is_err() {
            self.batch.failed.store(true, Release);
        }
        let wakes = state.open == 0 || state.wakes_for_each;
        drop(state);
        if wakes {
            self.batch.changed.notify_waiters();
        }
    }

    pub(crate) fn answer(&self) -> Option<Delivery> {
        self.batch.state().answers[self.index]
    }

    /// Waits for the answer to one message, of an earlier write.
    pub(crate) async fn settled(&self) {
        self.batch.state().wakes_for_each = true;
        loop {
            let changed = self.batch.changed.notified();
            if self.answer().is_some() {
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
    fn a_batch_wakes_at_its_last_answer_and_for_each_where_a_later_write_waits() {
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
        assert_eq!(tickets[2].answer(), None);
        tickets[2].settle(Ok(()));
        assert!(all.now_or_never().is_some());
        assert_eq!(tickets[1].answer(), Some(Err(RDKafkaErrorCode::PurgeQueue)));
    }
}
