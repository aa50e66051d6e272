//! Reads and writes Cosmos DB. The only module that uses its SDK.
//!
//! No type of the SDK leaves the module: [`Connections`] connects accounts, [`Account`] finds
//! containers, [`Target`] writes, [`Feed`] reads one feed range, and every error is a
//! [`CosmosError`] with the service's status.

mod account;
mod account_address;
mod account_client;
mod account_options;
mod batch;
mod bulk;
mod change_feed;
mod conflict_log;
mod container;
mod container_clients;
mod default_ttl;
mod documents;
mod driver;
mod error;
mod feed;
mod key;
mod key_partitions;
#[cfg(test)]
mod local;
mod metadata;
mod partition_ids;
mod path_segment;
mod position;
mod previous_images;
mod slow;
mod sweep;
mod target;
mod throughput;

pub use account::{Account, Connections};
pub use change_feed::{ChangeFeed, Feeds, Page, Proof, ReadDocument, Unreadable};
pub use conflict_log::ConflictContainer;
pub use container::{ContainerHandle, ContainerId};
pub use error::{ConnectError, CosmosError, CosmosErrorKind};
pub use feed::{ContainerFeeds, Feed, key_of};
pub use previous_images::PreviousImages;
pub use sweep::{
    Copies, CopiesPage, Existing, Looked, Search, SweepSource, SweepTarget, SweptCopy,
};
pub use target::{SweptSource, SweptTarget, Target};
pub use throughput::Provisioned;
