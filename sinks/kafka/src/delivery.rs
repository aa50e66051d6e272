//! What became of messages that were given to the client.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

/// `Ok` when every in-sync replica has the message.
pub(crate) type Delivery = Result<(), RDKafkaErrorCode>;

/// The messages of one write. Their answers come on the client's own thread.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    answers: Vec<Option<Delivery>>,
    open: usize,
    failed: bool,
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
    /// A place for the answer to one more message.
    pub(crate) fn ticket(self: &Arc<Self>) -> Ticket {
        let mut state = self.state();
        state.answers.push(None);
        state.open += 1;
        Ticket { batch: Arc::clone(self), index: state.answers.len() - 1 }
    }

    /// Whether any message has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.state().failed
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
        state.failed |= delivery.is_err();
        let wakes = state.open == 0 || state.wakes_for_each;
        drop(state);
        if wakes {
            self.batch.changed.notify_waiters();
        }
    }

    pub(crate) fn answer(&self) -> Option<Delivery> {
        self.batch.state().answers[self.index]
    }

    /// Has its answer, or belongs to the given batch, whose last answer is waited for anyway.
    fn wake_for_each(&self) {
        self.batch.state().wakes_for_each = true;
    }

    /// Waits for the answer to a message that an earlier write sent.
    pub(crate) async fn settled_earlier(&self) {
        self.wake_for_each();
        self.settled().await;
    }

    /// Waits for the answer; may be woken only when the whole batch has its answers.
    pub(crate) async fn settled(&self) {
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
        let mut first = Box::pin(tickets[0].settled());
        let mut earlier = Box::pin(tickets[1].settled_earlier());
        assert!(first.as_mut().now_or_never().is_none());
        assert!(earlier.as_mut().now_or_never().is_none());
        tickets[1].settle(Err(RDKafkaErrorCode::PurgeQueue));
        assert!(earlier.now_or_never().is_some(), "not waiting for the others");
        assert!(batch.has_failed());
        tickets[0].settle(Ok(()));
        assert!(first.now_or_never().is_some());
        assert_eq!(tickets[1].answer(), Some(Err(RDKafkaErrorCode::PurgeQueue)));
        assert_eq!(tickets[2].answer(), None);
    }
}
