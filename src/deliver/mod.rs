//! Offers every change to its sink until it is safe.

mod delivery;
mod offer;
mod watermark;
mod write_queue;

pub use delivery::{Delivery, Partitions, Rejected, WriteStop};
pub use watermark::Watermark;
pub use write_queue::{AddressedChange, WriteBatch, WriteQueue};

#[cfg(test)]
mod tests;
