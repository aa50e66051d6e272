//! Writes changes into an Azure Cosmos DB container.
//!
//! This crate decides what to send and what an answer means. A [`Container`] sends the requests; the
//! bridge implements it once for all its accounts.

mod classify;
mod container;
mod document_hash;
#[cfg(test)]
mod fixtures;
mod history;
mod lifetime;
pub mod mirror;
mod options;
mod remedy;
mod result;
mod sink;
mod source_version;
mod writes;

pub use classify::{Class, INTERMEDIARY, NO_STATUS, Row, SubStatus, TABLE, classify, row_of};
pub use container::{
    Answer, BatchAnswer, BulkAnswer, Container, Content, Found, FoundDocument, Operation,
    OperationKind, StoredDocument, Write,
};
pub use lifetime::{TTL_MAX, is_ttl};
pub use options::{CosmosOptions, OnCollision, Strategy, Ttl};
pub use remedy::remedy;
pub use sink::CosmosSink;
pub use source_version::{SourceDocument, SourceVersion};
