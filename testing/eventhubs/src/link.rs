//! The links of a session, from attach to detach.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::amqp::Performative;
use crate::amqp::performative::Failure;
use crate::credit::{Credit, Pusher};
use crate::hub::Hub;
use crate::ingest::Entrance;
use crate::message::deliver;
use crate::namespace::Namespace;
use crate::nodes::Node;
use crate::sas::{Claim, Grant, path};
use crate::selector::Start;

/// The credit of a sender; refilled when half of it is used, as the service does.
pub(crate) const CREDIT: u32 = 300;

/// Events that a reader takes from a log in one step.
const READ_EVENTS: usize = 100;

/// One link, by what the client may do with it.
#[derive(Debug)]
pub(crate) enum Link {
    /// The client sends events or requests.
    Inbound(Inbound),
    /// The client receives answers of a node.
    Answers { node: Node, credit: Arc<Credit>, answers: mpsc::UnboundedSender<Vec<u8>> },
    /// The client receives events.
    Events { credit: Arc<Credit> },
}

#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) to: To,
    pub(crate) delivery_count: u32,
    pub(crate) credit: u32,
    partial: Option<Partial>,
}

#[derive(Debug, Clone)]
pub(crate) enum To {
    Hub(Entrance),
    Node(Node),
}

#[derive(Debug)]
struct Partial {
    delivery: u32,
    format: u32,
    settled: bool,
    payload: BytesMut,
}

/// A complete delivery.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) delivery: u32,
    pub(crate) format: u32,
    pub(crate) settled: bool,
    pub(crate) payload: Bytes,
}

impl Inbound {
    pub(crate) fn new(to: To, delivery_count: u32) -> Self {
        Self { to, delivery_count, credit: CREDIT, partial: None }
    }

    /// Adds one transfer frame; returns the delivery after its last frame.
    pub(crate) fn transfer(&mut self, transfer: &Performative, payload: &[u8]) -> Option<Whole> {
        let partial = self.partial.get_or_insert_with(|| Partial {
            delivery: transfer.field(1).uint().unwrap_or(0),
            format: transfer.field(3).uint().unwrap_or(0),
            settled: false,
            payload: BytesMut::new(),
        });
        partial.settled |= transfer.is_true(4);
        partial.payload.extend_from_slice(payload);
        if transfer.is_true(5) {
            return None;
        }
        let Partial { delivery, format, settled, payload } = self.partial.take()?;
        self.delivery_count = self.delivery_count.wrapping_add(1);
        self.credit = self.credit.saturating_sub(1);
        // An aborted delivery leaves nothing.
        let whole = Whole { delivery, format, settled, payload: payload.freeze() };
        (!transfer.is_true(9)).then_some(whole)
    }
}

/// A request to attach.
#[derive(Debug)]
pub(crate) enum Asked {
    Inbound(To),
    Answers(Node),
    Events { hub: Arc<Hub>, partition: usize, start: Start },
}

/// Reads an attach, and refuses unknown entities and missing rights.
pub(crate) fn asked(
    attach: &Performative,
    namespace: &Namespace,
    grants: &[Grant],
) -> Result<Asked, Failure> {
    let client_receives = attach.is_true(2);
    // The target of a sender and the source of a receiver lead here.
    let terminus = attach.field(if client_receives { 5 } else { 6 });
    let address = match terminus.as_described() {
        Some((_, crate::amqp::Value::List(fields))) => fields.first().and_then(|f| f.text()),
        _ => None,
    };
    let Some(address) = address else {
        return Err(Failure::new("amqp:invalid-field", "The link has no address."));
    };
    let address = path(address);
    if let Some(node) = Node::named(address) {
        return Ok(if client_receives {
            Asked::Answers(node)
        } else {
            Asked::Inbound(To::Node(node))
        });
    }
    let mut segments = address.split('/');
    let name = segments.next().unwrap_or_default();
    let (claim, needed) =
        if client_receives { (Claim::Listen, "Listen") } else { (Claim::Send, "Send") };
    if !grants.iter().any(|grant| grant.covers(name, claim, SystemTime::now())) {
        let text = format!("Unauthorized access. '{needed}' claim(s) are required.");
        return Err(Failure::new("amqp:unauthorized-access", text));
    }
    let Some(hub) = namespace.hub(name) else {
        let text = format!("The messaging entity '{name}' could not be found.");
        return Err(Failure::new("amqp:not-found", text));
    };
    let segments: Vec<&str> = segments.collect();
    let partition = match segments.as_slice() {
        [.., word, id] if word.eq_ignore_ascii_case("partitions") => {
            let index = id.parse().ok().filter(|index| *index < hub.partitions.len());
            let text = format!("The partition '{id}' is out of range.");
            Some(index.ok_or(Failure::new("com.microsoft:argument-out-of-range", text))?)
        }
        _ => None,
    };
    if !client_receives {
        return Ok(Asked::Inbound(To::Hub(Entrance { hub, partition })));
    }
    let partition = partition
        .ok_or_else(|| Failure::new("amqp:not-allowed", "A receiver must name a partition."))?;
    let start = Start::of(attach).map_err(|text| Failure::new("amqp:invalid-field", text))?;
    Ok(Asked::Events { hub, partition, start })
}

/// Sends answers until the connection ends.
pub(crate) async fn push_answers(pusher: Pusher, mut answers: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(answer) = answers.recv().await {
        if pusher.push(&answer).await.is_err() {
            return;
        }
    }
}

/// Sends the events of a partition from a position on, and then new events.
pub(crate) async fn push_events(pusher: Pusher, hub: Arc<Hub>, partition: usize, start: Start) {
    let Some(partition) = hub.partitions.get(partition) else { return };
    let mut next = partition.inspect(|log| start.place(log));
    let mut changes = partition.changes();
    loop {
        changes.mark_unchanged();
        let events = partition.read(next, READ_EVENTS);
        if events.is_empty() && changes.changed().await.is_err() {
            return;
        }
        for event in events {
            let bytes = deliver(&event.sent, event.sequence, event.offset, event.enqueued_ms);
            if pusher.push(&bytes).await.is_err() {
                return;
            }
            next = event.sequence + 1;
        }
    }
}
