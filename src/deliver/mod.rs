//! Offers every change to its sink until it is safe.

mod delivery;
mod late_writes;
mod offer;
mod watermark;
mod write_queue;

pub use delivery::{BatchEnd, Delivery, Partitions, Rejected, STOP_GRACE, WriteStop};
pub use late_writes::LATE_LIMIT;
pub use watermark::Watermark;
pub use write_queue::{AddressedChange, WriteBatch, WriteQueue};

#[cfg(test)]
mod tests;
