//! Storing received events.

use std::sync::Arc;

use bytes::Bytes;

use crate::amqp::performative::{Failure, State};
use crate::fault::Fault;
use crate::hub::Hub;
use crate::message;
use crate::namespace::{Counters, Namespace};

/// The target of a link for events.
#[derive(Debug, Clone)]
pub(crate) struct Entrance {
    pub(crate) hub: Arc<Hub>,
    /// Set if the link names the partition.
    pub(crate) partition: Option<usize>,
}

/// The answer to a delivery.
#[derive(Debug)]
pub(crate) enum Answer {
    Settle(State),
    /// Settled, but later than anything else.
    Late(std::time::Duration),
    Silence,
    /// Accepted; then the connection is not read any more.
    Stall,
    Detach(Failure),
    Close(Failure),
    Cut,
}

impl Entrance {
    /// Stores one complete delivery.
    pub(crate) fn take(&self, namespace: &Namespace, format: u32, payload: &Bytes) -> Answer {
        Counters::count(&namespace.counters.deliveries);
        if payload.len() as u64 > namespace.message_bytes_max {
            let text = format!(
                "The received message (delivery-id:0, size:{} bytes) exceeds the limit ({} bytes) \
                 currently allowed on the link.",
                payload.len(),
                namespace.message_bytes_max
            );
            return rejected("amqp:link:message-size-exceeded", text);
        }
        let events = match message::events(payload, format) {
            Ok(events) if events.is_empty() => {
                return rejected("com.microsoft:argument-error", "The batch is empty.");
            }
            Ok(events) => events,
            Err(error) => return rejected("amqp:decode-error", error.to_string()),
        };
        let by_key = self.hub.partition_for(&events);
        let index = match by_key {
            Ok(index) => self.partition.unwrap_or(index),
            Err(reason) => return rejected("com.microsoft:argument-error", reason),
        };
        let Some(partition) = self.hub.partitions.get(index) else {
            return rejected("com.microsoft:argument-out-of-range", "The partition is unknown.");
        };
        let struck = namespace.faults.strike(&self.hub.name, index);
        let stored = struck.as_ref().is_none_or(|(fault, stored)| {
            *stored || matches!(fault, Fault::Delay { .. } | Fault::Stall)
        });
        if stored && let Err(error) = partition.append(events) {
            return rejected("amqp:internal-error", error.to_string());
        }
        struck.map_or(Answer::Settle(State::Accepted), |(fault, _)| answer(fault))
    }
}

fn rejected(condition: &str, description: impl Into<String>) -> Answer {
    Answer::Settle(State::Rejected(Failure::new(condition, description)))
}

/// The answer with a fault applied.
pub(crate) fn answer(fault: Fault) -> Answer {
    if let Some(delay) = fault.delay() {
        return Answer::Late(delay);
    }
    let failure = |condition: String| Failure { condition, description: "As asked.".to_owned() };
    match fault {
        Fault::Reject { condition } => Answer::Settle(State::Rejected(failure(condition))),
        Fault::Release => Answer::Settle(State::Released),
        Fault::Modify => Answer::Settle(State::Modified),
        Fault::Detach { condition } => Answer::Detach(failure(condition)),
        Fault::Close { condition } => Answer::Close(failure(condition)),
        Fault::Cut => Answer::Cut,
        Fault::Stall => Answer::Stall,
        Fault::Silence | Fault::Delay { .. } => Answer::Silence,
    }
}
