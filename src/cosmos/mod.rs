//! The only module that names the SDK for Cosmos DB.
//!
//! Everything it hands out is in the bridge's own words: [`Account`] connects, [`Target`] writes,
//! [`Feed`] reads one feed range, and every error is a [`CosmosError`] with the service's status.

mod account;
mod change_feed;
mod error;
mod feed;
mod link;
#[cfg(test)]
mod local;
mod metadata;
mod partition;
mod position;
mod slow;
mod target;
mod throughput;

pub use account::{Account, Connections, ContainerHandle};
pub use change_feed::{ChangeFeed, Feeds, Page};
pub use error::{ConnectError, CosmosError, CosmosErrorKind};
pub use feed::{ContainerFeeds, Feed};
pub use target::Target;
pub use throughput::Provisioned;
