//! Writes changes into an Azure Cosmos DB container.
//!
//! What to send and what an answer means are decided here; how a request reaches the service is
//! the [`Container`]'s business, which the bridge implements once for all its accounts.

mod classify;
mod container;
mod remedy;
mod sink;

pub use classify::{Class, NO_STATUS, Row, SubStatus, TABLE, classify, row_of};
pub use container::{Answer, BatchAnswer, Container, Write};
pub use remedy::remedy;
pub use sink::{CosmosSink, Settings, Strategy};
