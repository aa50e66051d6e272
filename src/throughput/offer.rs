//! What a container has, as far as budgets need it.

use async_trait::async_trait;

use crate::cosmos::{ContainerHandle, CosmosError, Provisioned};

/// Tells what throughput a container has, and how many physical partitions share it.
#[async_trait]
pub trait Offer: Send + Sync {
    /// As it is now.
    async fn throughput(&self) -> Result<Provisioned, CosmosError>;

    /// As they are now.
    async fn partitions(&self) -> Result<usize, CosmosError>;
}

#[async_trait]
impl Offer for ContainerHandle {
    async fn throughput(&self) -> Result<Provisioned, CosmosError> {
        self.throughput().await
    }

    async fn partitions(&self) -> Result<usize, CosmosError> {
        Ok(self.ranges().await?.len())
    }
}
