//! How one exchange is written to.

use std::time::Duration;

use cosmos_bridge_event::Encoder;
use cosmos_bridge_sink::{Limits, Template};

use crate::Broker;

/// Everything that `[sinks.amqp.NAME]` says.
#[derive(Clone, Debug)]
pub struct Settings {
    pub broker: Broker,
    pub exchange: Template,
    pub routing_key: Template,
    /// Beside those of the event. None of [`crate::RESERVED_HEADERS`].
    pub headers: Vec<(String, Template)>,
    pub encoder: Encoder,
    /// The most bytes of an event, attributes included.
    pub max_message: usize,
    /// Whether a message that no queue takes comes back. If not, the broker drops it and confirms it.
    pub mandatory: bool,
    pub unroutable: Unroutable,
    /// Whether the broker writes messages to disk before it confirms them, in durable queues.
    pub persistent: bool,
    /// A connection on which nothing is heard for twice as long is dead. In whole seconds; the
    /// broker may want less.
    pub heartbeat: Duration,
    /// For a connection, from its first packet to its last handshake.
    pub connect_timeout: Duration,
    /// For all confirmations of one write.
    pub confirm_timeout: Duration,
    pub limits: Limits,
}

/// What becomes of a message that no queue takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unroutable {
    /// The change is kept as a dead letter.
    DeadLetter,
    /// The change is offered again until a queue is bound.
    Wait,
}
