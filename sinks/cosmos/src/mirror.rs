//! Two containers that mirror each other: what a change of one does in the other.

mod decision;
#[cfg(test)]
mod simulation;
mod version;

pub use decision::{Action, Decision, Reason, Side, Winner, decide, is_echo};
pub use version::{Change, ContentHash, Etag, Kind, Order, Own, Stamp, Version};
