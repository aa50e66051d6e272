//! Options with their secrets in place.

use cosmos_bridge_event::Encoder;

use crate::{Access, EventHubsOptions};

/// The options of a sink, with its access.
#[derive(Clone, Debug)]
pub struct Settings {
    pub options: EventHubsOptions,
    pub access: Access,
    /// The hub's name.
    pub hub: String,
    pub encoder: Encoder,
}
