//! What an Event Hubs sink is told.

use std::time::Duration;

use cosmos_bridge_event::Encoder;
use cosmos_bridge_sink::Template;

use crate::Access;

/// Where to publish, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    pub access: Access,
    /// The hub's name.
    pub hub: String,
    pub partitioning: Partitioning,
    /// Application properties beside those of the event.
    pub headers: Vec<(String, Template)>,
    pub encoder: Encoder,
    /// Changes in one write.
    pub changes: usize,
    /// Writes under way at once.
    pub concurrency: usize,
    /// The longest wait for one answer.
    pub timeout: Duration,
}

impl Settings {
    /// Settings with what the service does well with.
    pub fn new(access: impl Into<Access>, hub: impl Into<String>, encoder: Encoder) -> Self {
        Self {
            access: access.into(),
            hub: hub.into(),
            partitioning: Partitioning::default(),
            headers: Vec::new(),
            encoder,
            changes: 1000,
            concurrency: 8,
            timeout: Duration::from_secs(30),
        }
    }
}

/// How the partition of an event is found.
#[derive(Clone, Debug, PartialEq)]
pub enum Partitioning {
    /// By the service's hash of the key, computed here: events of many keys share a batch.
    Client { key: Template },
    /// By the service, from the key: a batch holds one key.
    Service { key: Template },
    /// Always this one.
    Fixed { id: String },
}

impl Default for Partitioning {
    fn default() -> Self {
        use cosmos_bridge_sink::{Piece, Property};
        Self::Client { key: Template(vec![Piece::Property(Property::PartitionKey)]) }
    }
}
