//! Publishes changes to Azure Event Hubs over AMQP 1.0.
//!
//! A change is delivered when the service has accepted the batch that holds its event. Events of one
//! key go to one partition, those of one document in order.

mod access;
mod batches;
mod chain;
mod classify;
mod connection;
mod connection_string;
mod hash;
mod lane;
mod message;
mod namespace;
mod problem;
mod requests;
mod settings;
mod signature;
mod sink;
mod socket;
mod tally;
mod tls;

pub use access::Access;
pub use classify::{Class, TABLE, classify};
pub use connection_string::{ConnectionString, Malformed};
pub use hash::partition_of;
pub use namespace::{Namespace, NoNamespace};
pub use settings::{Partitioning, Settings};
pub use sink::EventHubsSink;
