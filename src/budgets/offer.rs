//! What a container has, as far as budgets need it.

use async_trait::async_trait;

use crate::cosmos::{Fault, Located, Provisioned};

/// Tells what throughput a container has, and how many physical partitions share it.
#[async_trait]
pub trait Offer: Send + Sync {
    /// As it is now.
    async fn throughput(&self) -> Result<Provisioned, Fault>;

    /// As they are now.
    async fn partitions(&self) -> Result<usize, Fault>;
}

#[async_trait]
impl Offer for Located {
    async fn throughput(&self) -> Result<Provisioned, Fault> {
        self.throughput().await
    }

    async fn partitions(&self) -> Result<usize, Fault> {
        Ok(self.ranges().await?.len())
    }
}
