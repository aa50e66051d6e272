//! Opens a slice of a change feed.

use std::num::NonZeroU32;
use std::sync::Arc;

use azure_data_cosmos::CosmosError as SdkError;
use azure_data_cosmos::feed::{ChangeFeedPageIterator, FeedRange as SdkRange, FeedScope};
use azure_data_cosmos::models::EffectivePartitionKey;
use azure_data_cosmos::options::{
    ChangeFeedMode, ChangeFeedOptions, ChangeFeedStartFrom, MaxItemCountHint,
};

use super::{ContainerFeeds, Image, Item};
use crate::config::Start;
use crate::cosmos::link::Clients;
use crate::cosmos::{CosmosError, position};
use crate::model::{FeedRange, Mode, Position};

/// The SDK's iterator, and the page size that it was made with.
pub(super) struct Pages {
    pub(super) size: NonZeroU32,
    pub(super) iterator: ChangeFeedPageIterator<Item>,
    /// What it was made by.
    pub(super) clients: Arc<Clients>,
}

/// Opens a slice. Not a method: the iterator that a feed holds cannot be shared between threads.
pub(super) async fn plan(
    feeds: &ContainerFeeds,
    slice: &Position,
    start: &Start,
    size: NonZeroU32,
) -> Result<Pages, CosmosError> {
    let attempt = format!("opening feed range {} of `{}`", slice.range, feeds.name);
    let fault = |error| CosmosError::new(&attempt, &error);
    // A plan without a token would silently read a container that was created in its place.
    if !feeds.container.is_unchanged().await? {
        return Err(CosmosError::replaced(attempt));
    }
    let mut options = ChangeFeedOptions::default()
        .with_mode(match feeds.mode {
            Mode::LatestVersion => ChangeFeedMode::LatestVersion,
            Mode::AllVersionsAndDeletes => ChangeFeedMode::AllVersionsAndDeletes,
        })
        .with_max_item_count(MaxItemCountHint::Limit(size));
    let from = if slice.etag.is_some() {
        let token = position::encode(&feeds.container.rid, feeds.mode, std::slice::from_ref(slice))
            .map_err(|problem| CosmosError::defect(&attempt, problem))?;
        options = options.with_continuation_token(token);
        ChangeFeedStartFrom::Beginning
    } else {
        start_of(start).map_err(|problem| CosmosError::defect(&attempt, problem))?
    };
    let range = sdk_range(&slice.range).map_err(fault)?;
    let link = &feeds.container.link;
    let clients = link.clients(&attempt).await?;
    let scope = FeedScope::range(range);
    match clients.container.query_change_feed::<Image>(scope, from, Some(options)).await {
        Ok(iterator) => Ok(Pages { size, iterator, clients }),
        Err(error) => Err(link.failed(&clients, &attempt, &error).await),
    }
}

fn sdk_range(range: &FeedRange) -> Result<SdkRange, SdkError> {
    SdkRange::new(
        EffectivePartitionKey::try_from(range.min.as_str())?,
        EffectivePartitionKey::try_from(range.max.as_str())?,
    )
}

fn start_of(start: &Start) -> Result<ChangeFeedStartFrom, String> {
    Ok(match start {
        Start::Beginning => ChangeFeedStartFrom::Beginning,
        Start::Now => ChangeFeedStartFrom::Now,
        Start::Time(at) => ChangeFeedStartFrom::PointInTime(
            time::OffsetDateTime::from_unix_timestamp(at.as_second())
                .map_err(|error| error.to_string())?,
        ),
    })
}
