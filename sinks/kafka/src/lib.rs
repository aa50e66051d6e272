//! Publishes changes to Apache Kafka, and to whatever else speaks its protocol, such as Event Hubs.
//!
//! A change is delivered when every in-sync replica has it. The producer is idempotent and keeps the
//! order of what it was given, also across failures; see `README.md` for what that means for a
//! consumer.

mod attempt;
mod bearer;
mod classify;
mod connection;
mod context;
mod delivery;
mod message;
mod options;
mod pending;
mod settings;
mod sink;
mod token;
mod topics;
mod under_way;

pub use classify::{Class, TABLE, classify};
pub use options::{REFUSED, refused};
pub use settings::{Compression, Mechanism, Sasl, Settings, Tls};
pub use sink::KafkaSink;
