//! Publishes changes to Azure Event Hubs over AMQP 1.0.
//!
//! A change is delivered when the service has accepted the batch that holds its event. The events of one
//! key are sent to one partition, and the events of one document in order.

mod access;
mod batches;
mod chain;
mod classify;
mod connection;
mod connection_string;
mod failure;
mod hash;
mod message;
mod namespace;
mod open;
mod options;
mod partition_link;
mod requests;
mod session;
mod settings;
mod signature;
mod sink;
mod socket;
mod tls;

pub use access::Access;
pub use classify::{TABLE, classify};
pub use connection_string::{ConnectionString, Malformed};
pub use hash::partition_of;
pub use namespace::{Namespace, NoNamespace};
pub use options::{EventHubsOptions, Partitioning};
pub use settings::Settings;
pub use sink::EventHubsSink;
