//! Publishes changes to an AMQP 0-9-1 broker such as `RabbitMQ`.
//!
//! A write publishes its messages on a channel that no other write uses, waits until the broker has
//! confirmed them, and checks which ones the broker returned. Changes whose messages are not
//! confirmed when a channel or connection ends are deferred, and so sent again by the bridge.

mod broker;
mod broker_state;
mod classify;
mod connection;
mod largest_body;
mod message;
mod open;
mod options;
mod publish;
mod refusals;
mod settings;
mod short_string;
mod sink;
mod socket;
#[cfg(test)]
mod tests;

pub use broker::{Broker, BrokerError, Identity, Tls, TlsError};
pub use classify::{Row, Stage, TABLE};
pub use options::{AmqpOptions, ClientCertificate, RESERVED_HEADERS, Unroutable};
pub use settings::Settings;
pub use short_string::NAMES;
pub use sink::AmqpSink;
