//! Opens the pages of a feed range.

use std::num::NonZeroU32;
use std::sync::Arc;

use azure_data_cosmos::CosmosError as SdkError;
use azure_data_cosmos::feed::{ContinuationToken, FeedRange as SdkRange};
use azure_data_cosmos::models::EffectivePartitionKey;
use azure_data_cosmos::options::{
    ChangeFeedStartFrom, OperationOptions, OperationOptionsBuilder, ReadConsistencyStrategy,
};
use cosmos_bridge_sink::ContainerName;

use crate::config::Start;
use crate::cosmos::container_clients::Clients;
use crate::cosmos::driver::{PageReader, PageRequest};
use crate::cosmos::{ContainerHandle, CosmosError, position};
use crate::model::{FeedRange, Mode, Position};

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// By the consistency of the account: often one replica, which may lag.
    AReplica,
    /// As many replicas of the region as it takes to know what is committed. Costs twice as much.
    AQuorum,
}

/// The pages, with the size and the clients that they are read with.
pub(super) struct Pages {
    pub(super) size: NonZeroU32,
    pub(super) reader: PageReader,
    pub(super) clients: Arc<Clients>,
}

impl Pages {
    /// Opens the pages after a position. Not a method of the feed: the reader that a feed holds cannot be
    /// shared between threads.
    pub(super) async fn open(
        container: &ContainerHandle,
        name: &ContainerName,
        mode: Mode,
        position: &Position,
        start: &Start,
        (size, asked): (NonZeroU32, Asked),
    ) -> Result<Self, CosmosError> {
        let attempt = format!("opening feed range {} of `{name}`", position.range);
        // Without a token, a container that was recreated under the same name would be read
        // silently. A proof comes after an answer, and so has one.
        if asked == Asked::AReplica && !container.is_unchanged().await? {
            return Err(CosmosError::replaced(attempt));
        }
        let options = match asked {
            Asked::AReplica => OperationOptions::default(),
            Asked::AQuorum => OperationOptionsBuilder::new()
                .with_read_consistency_strategy(ReadConsistencyStrategy::LatestCommitted)
                .build(),
        };
        let Begin { range, token, start } = Begin::at(&attempt, container, mode, position, start)?;
        let request = PageRequest { mode, range, start, token, size, options };
        let (reader, clients) = container.clients.pages(&attempt, request).await?;
        Ok(Self { size, reader, clients })
    }
}

/// Where the pages begin, in the SDK's terms.
struct Begin {
    range: SdkRange,
    token: Option<ContinuationToken>,
    /// Used without a token.
    start: ChangeFeedStartFrom,
}

impl Begin {
    fn at(
        attempt: &str,
        container: &ContainerHandle,
        mode: Mode,
        position: &Position,
        start: &Start,
    ) -> Result<Self, CosmosError> {
        let internal = |message| CosmosError::internal(attempt, message);
        let range = sdk_range(&position.range);
        let range = range.map_err(|error| CosmosError::new(attempt, &error))?;
        if position.etag.is_none() {
            let start = start_from(start).map_err(internal)?;
            return Ok(Self { range, token: None, start });
        }
        let token = position::encode(&container.rid, mode, std::slice::from_ref(position));
        let token = Some(token.map_err(internal)?);
        Ok(Self { range, token, start: ChangeFeedStartFrom::Beginning })
    }
}

fn sdk_range(range: &FeedRange) -> Result<SdkRange, SdkError> {
    SdkRange::new(
        EffectivePartitionKey::try_from(range.min.as_str())?,
        EffectivePartitionKey::try_from(range.max.as_str())?,
    )
}

fn start_from(start: &Start) -> Result<ChangeFeedStartFrom, String> {
    Ok(match start {
        Start::Beginning => ChangeFeedStartFrom::Beginning,
        Start::Now => ChangeFeedStartFrom::Now,
        Start::Time(at) => ChangeFeedStartFrom::PointInTime(
            time::OffsetDateTime::from_unix_timestamp(at.as_second())
                .map_err(|error| error.to_string())?,
        ),
    })
}
