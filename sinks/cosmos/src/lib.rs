//! Writes changes into an Azure Cosmos DB container.
//!
//! This crate decides what to send and what an answer means. A [`Container`] sends the requests; the
//! bridge implements it once for all its accounts.

mod classify;
mod container;
mod options;
mod remedy;
mod sink;

pub use classify::{Class, NO_STATUS, Row, SubStatus, TABLE, classify, row_of};
pub use container::{Answer, BatchAnswer, Container, Write};
pub use options::{CosmosOptions, Strategy};
pub use remedy::remedy;
pub use sink::CosmosSink;
