//! Physical partitions.

/// A physical partition of one container. The number means nothing beyond this process, and one
/// that was split or merged is not used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u32);

impl PartitionId {
    /// Stands for all whose partition could not be told.
    pub const UNKNOWN: Self = Self(0);
}
