//! Options with their secrets in place.

use cosmos_bridge_event::Encoder;
use cosmos_bridge_sink::{Grouping, Limits};

use crate::{AmqpOptions, Broker};

/// The options of a sink, with its broker.
#[derive(Clone, Debug)]
pub struct Settings {
    pub options: AmqpOptions,
    pub broker: Broker,
    pub encoder: Encoder,
}

impl Settings {
    pub(crate) fn limits(&self) -> Limits {
        /// Of documents in one write, which are held twice while it is in flight: a thousand of 8 KiB,
        /// and one of any size.
        const BYTES: usize = 8 * 1024 * 1024;
        let AmqpOptions { batch, concurrency, .. } = self.options;
        Limits { grouping: Grouping::Any, changes: batch, bytes: BYTES, concurrency }
    }
}
