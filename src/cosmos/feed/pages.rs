//! Opens the SDK's iterator over the pages of a feed range.

use std::num::NonZeroU32;
use std::sync::Arc;

use azure_data_cosmos::CosmosError as SdkError;
use azure_data_cosmos::feed::{
    ChangeFeedPageIterator, ContinuationToken, FeedRange as SdkRange, FeedScope,
};
use azure_data_cosmos::models::EffectivePartitionKey;
use azure_data_cosmos::options::{
    ChangeFeedMode, ChangeFeedOptions, ChangeFeedStartFrom, MaxItemCountHint,
    OperationOptionsBuilder, ReadConsistencyStrategy,
};
use cosmos_bridge_sink::ContainerName;

use super::item::{Image, Item};
use crate::config::Start;
use crate::cosmos::container_clients::Clients;
use crate::cosmos::driver::{PageBytes, PageRequest};
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

/// The SDK's iterator, with the page size and the clients it was built with.
pub(super) struct Pages {
    pub(super) size: NonZeroU32,
    pub(super) iterator: ChangeFeedPageIterator<Item>,
    pub(super) clients: Arc<Clients>,
}

impl Pages {
    /// Opens the pages after a position. Not a method of the feed: the iterator that a feed holds
    /// cannot be shared between threads.
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
        let mut options = ChangeFeedOptions::default()
            .with_mode(match mode {
                Mode::LatestVersion => ChangeFeedMode::LatestVersion,
                Mode::AllVersionsAndDeletes => ChangeFeedMode::AllVersionsAndDeletes,
            })
            .with_max_item_count(MaxItemCountHint::Limit(size));
        if asked == Asked::AQuorum {
            let strategy = ReadConsistencyStrategy::LatestCommitted;
            let operation =
                OperationOptionsBuilder::new().with_read_consistency_strategy(strategy).build();
            options = options.with_operation_options(operation);
        }
        let Begin { range, token, from } = Begin::at(&attempt, container, mode, position, start)?;
        if let Some(token) = token {
            options = options.with_continuation_token(token);
        }
        let clients = container.clients.clients(&attempt).await?;
        let scope = FeedScope::range(range);
        match clients.container.query_change_feed::<Image>(scope, from, Some(options)).await {
            Ok(iterator) => Ok(Self { size, iterator, clients }),
            Err(error) => Err(container.clients.failed(&clients, &attempt, &error).await),
        }
    }
}

/// Where an iterator begins, in the SDK's terms.
struct Begin {
    range: SdkRange,
    token: Option<ContinuationToken>,
    /// Used without a token.
    from: ChangeFeedStartFrom,
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
            return Ok(Self { range, token: None, from: start_from(start).map_err(internal)? });
        }
        let token = position::encode(&container.rid, mode, std::slice::from_ref(position));
        let token = Some(token.map_err(internal)?);
        Ok(Self { range, token, from: ChangeFeedStartFrom::Beginning })
    }
}

/// Reads the page after a position as the service sends it.
pub(super) async fn page_bytes(
    attempt: &str,
    container: &ContainerHandle,
    mode: Mode,
    position: &Position,
    start: &Start,
    size: NonZeroU32,
) -> Result<PageBytes, CosmosError> {
    let Begin { range, token, from } = Begin::at(attempt, container, mode, position, start)?;
    let request = PageRequest { mode, range, start: from, token, size };
    container.clients.page_bytes(attempt, request).await
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
