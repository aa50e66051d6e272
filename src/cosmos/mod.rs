//! The only module that names the Azure SDK.
//!
//! Everything it hands out is in the bridge's own words: [`Account`] connects, [`Target`] writes,
//! [`Feed`] reads one feed range, and every error is a [`Fault`] with the service's status.

mod account;
mod fault;
mod feed;
mod metadata;
mod position;
mod target;

pub use account::{Account, Connections, Located};
pub use fault::{Fault, FaultKind};
pub use feed::{ContainerFeeds, Feed};
pub use target::Target;
