//! Flow control towards the client: the credit of a link and the window of a session.

use std::sync::{Arc, Mutex};

use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::amqp::performative;
use crate::lock;
use crate::out::{Ended, Out};

/// The deliveries that may still be sent on a link.
#[derive(Debug, Default)]
pub(crate) struct Credit {
    state: Mutex<LinkState>,
    grown: Notify,
}

#[derive(Debug, Default, Clone, Copy)]
struct LinkState {
    delivery_count: u32,
    credit: u32,
}

impl Credit {
    /// Applies a flow frame of the client, which counts from the deliveries that it has seen. Returns
    /// the delivery count for an answer.
    pub(crate) fn grant(&self, seen: Option<u32>, credit: u32, drain: bool) -> u32 {
        let mut state = lock(&self.state);
        let under_way = state.delivery_count.wrapping_sub(seen.unwrap_or(0));
        state.credit = credit.saturating_sub(under_way);
        if drain {
            state.delivery_count = state.delivery_count.wrapping_add(state.credit);
            state.credit = 0;
        }
        self.grown.notify_one();
        state.delivery_count
    }

    /// Waits for credit for one delivery, and uses it.
    async fn take(&self) {
        loop {
            {
                let mut state = lock(&self.state);
                if state.credit > 0 {
                    state.credit -= 1;
                    state.delivery_count = state.delivery_count.wrapping_add(1);
                    return;
                }
            }
            self.grown.notified().await;
        }
    }
}

/// The number of frames that may still be sent in a session.
#[derive(Debug)]
pub(crate) struct Window {
    state: Mutex<SessionState>,
    grown: Notify,
    /// Locked during a delivery, so that its frames are sent in the order of their numbers.
    turn: AsyncMutex<()>,
}

#[derive(Debug, Clone, Copy)]
struct SessionState {
    next_outgoing: u32,
    frames: u32,
}

impl Window {
    pub(crate) fn new(frames: u32) -> Self {
        let state = Mutex::new(SessionState { next_outgoing: 0, frames });
        Self { state, grown: Notify::new(), turn: AsyncMutex::new(()) }
    }

    /// Applies a flow frame of the client.
    pub(crate) fn grant(&self, seen: Option<u32>, frames: u32) {
        let mut state = lock(&self.state);
        let under_way = state.next_outgoing.wrapping_sub(seen.unwrap_or(0));
        state.frames = frames.saturating_sub(under_way);
        self.grown.notify_one();
    }

    pub(crate) fn next_outgoing(&self) -> u32 {
        lock(&self.state).next_outgoing
    }

    /// Waits until one frame may be sent; returns its number.
    async fn take(&self) -> u32 {
        loop {
            {
                let mut state = lock(&self.state);
                if state.frames > 0 {
                    state.frames -= 1;
                    let number = state.next_outgoing;
                    state.next_outgoing = number.wrapping_add(1);
                    return number;
                }
            }
            self.grown.notified().await;
        }
    }
}

/// Sends messages on one link as credit and window allow.
#[derive(Debug, Clone)]
pub(crate) struct Pusher {
    pub(crate) channel: u16,
    pub(crate) handle: u32,
    pub(crate) settled: bool,
    /// The largest frame payload that the client accepts.
    pub(crate) payload_bytes_max: usize,
    /// Sends events, not answers.
    pub(crate) events: bool,
    pub(crate) credit: Arc<Credit>,
    pub(crate) window: Arc<Window>,
    pub(crate) out: Out,
}

impl Pusher {
    pub(crate) async fn push(&self, message: &[u8]) -> Result<(), Ended> {
        self.credit.take().await;
        let _turn = self.window.turn.lock().await;
        let mut delivery = None;
        let mut rest = message;
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(self.payload_bytes_max));
            let number = self.window.take().await;
            let delivery = *delivery.get_or_insert(number);
            let more = !tail.is_empty();
            let transfer = performative::transfer(self.handle, delivery, self.settled, more);
            self.out.transfer(self.channel, &transfer, head, self.events).await?;
            rest = tail;
        }
        Ok(())
    }
}
