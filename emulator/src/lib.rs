//! Local Azure Cosmos DB accounts on loopback.

pub mod chance;
pub mod orders;
mod words;
pub mod workload;
