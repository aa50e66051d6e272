//! cosmos-bridge replicates Azure Cosmos DB containers.
//!
//! A document's path is the order of these modules: [`config`] says what is wanted, [`source`]
//! reads pages of changes, [`route`] chooses sink and key, `deliver` offers each change until it is
//! safe, a sink writes it, and `state` remembers how far everything is safe.

pub mod config;
pub mod route;
pub mod source;
