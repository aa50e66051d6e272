//! Publishes changes to Apache Kafka and to services with the same protocol, such as Event Hubs.
//!
//! A change is delivered when every in-sync replica has it. The producer is idempotent and keeps the
//! order of its messages, also across failures; see `README.md` for the guarantees of consumers.

mod attempt;
mod bearer;
mod classify;
mod client;
mod client_log;
mod connection;
mod context;
mod delivery;
mod message;
mod open;
mod options;
mod pending;
mod refused;
mod settings;
mod sink;
mod token;
mod topic_name;
mod topics;
mod under_way;

pub use classify::{TABLE, classify};
pub use options::{BearerToken, Compression, KafkaOptions, Login, SaslOptions, Tls};
pub use refused::{REFUSED, refused};
pub use settings::{Mechanism, Sasl, Settings};
pub use sink::KafkaSink;
pub use topic_name::TOPIC;
