//! Where budgets read the throughput of a container.

use async_trait::async_trait;

use crate::cosmos::{ContainerHandle, CosmosError, Provisioned};

/// Reads the provisioned throughput of a container, and the number of its physical partitions.
#[async_trait]
pub trait ThroughputSource: Send + Sync {
    /// The throughput that is provisioned now.
    async fn throughput(&self) -> Result<Provisioned, CosmosError>;

    /// The number of physical partitions now.
    async fn partitions(&self) -> Result<usize, CosmosError>;
}

#[async_trait]
impl ThroughputSource for ContainerHandle {
    async fn throughput(&self) -> Result<Provisioned, CosmosError> {
        self.throughput().await
    }

    async fn partitions(&self) -> Result<usize, CosmosError> {
        Ok(self.ranges().await?.len())
    }
}
