//! A container that was found.

use std::fmt;
use std::sync::Arc;

use azure_data_cosmos::options::ReadFeedRangesOptions;
use tracing::debug;

use super::container_clients::ContainerClients;
use super::default_ttl::{DefaultTtl, seconds_of};
use super::metadata::MetadataGate;
use super::partition_ids::PartitionIds;
use super::slow::SlowOperations;
use super::{CosmosError, PreviousImages};
use crate::model::{FeedRange, PartitionId};

/// The identity of a container, independent of the names that lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerId {
    /// An address that all names of the account share.
    pub account: String,
    /// The resource id. Another account may have a container with the same one.
    pub rid: String,
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of account `{}`", self.rid, self.account)
    }
}

/// A container that was found, with the properties that identify it.
#[derive(Clone)]
pub struct ContainerHandle {
    pub(super) clients: Arc<ContainerClients>,
    pub(super) gate: Arc<MetadataGate>,
    pub(super) partitions: Arc<PartitionIds>,
    pub(super) slow: Arc<SlowOperations>,
    /// The resource id. It changes if the container is deleted and recreated.
    pub rid: String,
    /// An address of the account that does not depend on the name it is configured by.
    pub account_address: String,
    /// The partition key paths as the service writes them, such as `/tenant/id`; one to three.
    pub key_paths: Vec<String>,
    pub(super) default_ttl: Arc<DefaultTtl>,
    /// As they were when the container was found.
    pub previous_images: PreviousImages,
    /// `account/database/container`, for messages.
    pub name: String,
}

impl ContainerHandle {
    pub fn id(&self) -> ContainerId {
        ContainerId { account: self.account_address.clone(), rid: self.rid.clone() }
    }

    /// True if the name still belongs to this container.
    ///
    /// # Errors
    ///
    /// The container cannot be read, or no longer exists.
    pub async fn is_unchanged(&self) -> Result<bool, CosmosError> {
        let attempt = format!("reading container `{}`", self.name);
        let clients = self.clients.clients(&attempt).await?;
        self.gate.ready().await;
        let read = clients.container.read(None).await;
        let read = read.and_then(azure_data_cosmos::models::ResourceResponse::into_model);
        let properties = match read {
            Ok(properties) => properties,
            Err(error) => return Err(self.clients.failed(&clients, &attempt, &error).await),
        };
        let is_unchanged =
            properties.system_properties.resource_id.as_deref() == Some(self.rid.as_str());
        if is_unchanged {
            self.default_ttl.set(seconds_of(&properties.default_ttl));
        }
        Ok(is_unchanged)
    }

    /// The time to live of documents without their own, in seconds: none if documents do not expire, -1
    /// if only those with a `ttl` do. At most about a minute old where it matters.
    pub fn default_ttl(&self) -> Option<i64> {
        self.default_ttl.get()
    }

    /// Reads the time to live again if that is due. An error keeps the old one.
    pub(super) async fn renew_default_ttl(&self) {
        if self.default_ttl.is_due()
            && let Err(error) = self.is_unchanged().await
        {
            debug!(container = self.name, %error, "could not read the time to live");
        }
    }

    /// The container's current feed ranges in order, one for each physical partition.
    ///
    /// # Errors
    ///
    /// The feed ranges cannot be read.
    pub async fn ranges(&self) -> Result<Vec<FeedRange>, CosmosError> {
        let attempt = format!("reading the feed ranges of `{}`", self.name);
        let clients = self.clients.clients(&attempt).await?;
        self.gate.ready().await;
        let options = ReadFeedRangesOptions::default().with_force_refresh(true);
        let ranges = match clients.container.read_feed_ranges(Some(options)).await {
            Ok(ranges) => ranges,
            Err(error) => return Err(self.clients.failed(&clients, &attempt, &error).await),
        };
        let mut ranges: Vec<_> = ranges
            .iter()
            .map(|range| FeedRange {
                min: range.min_inclusive().to_hex(),
                max: range.max_exclusive().to_hex(),
            })
            .collect();
        ranges.sort();
        self.partitions.note(&ranges);
        Ok(ranges)
    }

    /// The physical partition of a feed range, as the partitions were when they were last read. A range that
    /// is several partitions counts as one of its own.
    pub fn partition(&self, range: &FeedRange) -> PartitionId {
        self.partitions.of(range)
    }
}
