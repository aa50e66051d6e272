//! Two containers that mirror each other: what a change of one does in the other.

mod conflict;
mod crossing;
mod decision;
mod incoming;
mod policy;
mod record;
#[cfg(test)]
mod simulation;
mod sink;
mod steps;
mod version;

pub use conflict::ConflictLog;
pub use decision::{Action, Decision, Reason, Side, Winner, decide, is_echo};
pub use policy::Policy;
pub use sink::{Mirror, MirrorSink, Role};
pub use version::{Change, ContentHash, Etag, Kind, Order, Own, Stamp, Version};
