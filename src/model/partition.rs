//! Physical partitions.

/// A physical partition of one container. The number is only valid in this process. The number of a
/// partition that was split or merged is not reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u32);

impl PartitionId {
    /// All unknown partitions.
    pub const UNKNOWN: Self = Self(0);
}
