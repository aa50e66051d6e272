//! Publishes changes to an AMQP 0-9-1 broker such as `RabbitMQ`, and tells what became of each.
//!
//! A write publishes all its messages on a channel of its own, waits until the broker has confirmed
//! them, and looks at what it returned. What is not confirmed when a channel or connection ends is
//! deferred, and so sent again by the bridge.

mod broker;
mod classify;
mod connection;
mod message;
mod publish;
mod refusals;
mod settings;
mod sink;
mod socket;
mod standing;
#[cfg(test)]
mod tests;

pub use broker::{Broker, BrokerError, Identity, Tls, TlsError};
pub use classify::{Meaning, Row, Stage, TABLE};
pub use message::RESERVED_HEADERS;
pub use settings::{Settings, Unroutable};
pub use sink::AmqpSink;
