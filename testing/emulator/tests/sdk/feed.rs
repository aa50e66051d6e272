//! The change feed, as the Rust SDK reads it.

use std::num::NonZeroU32;

use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::feed::{ContinuationToken, FeedRange, FeedScope};
use azure_data_cosmos::models::{ChangeFeedItem, ChangeFeedOperationType};
use azure_data_cosmos::options::{
    ChangeFeedMode, ChangeFeedOptions, ChangeFeedStartFrom, MaxItemCountHint, ReadFeedRangesOptions,
};
use futures::StreamExt as _;
use serde_json::{Map, Value, json};

use crate::client::plain;
use crate::process::Result;

/// A feed range that was split answers for one child at a time, so one idle answer is not the end.
const IDLE_ANSWERS: usize = 4;

pub(crate) type Change = ChangeFeedItem<Value>;

/// A place to read on from.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    range: FeedRange,
    token: ContinuationToken,
}

pub(crate) async fn ranges(container: &ContainerClient) -> Result<Vec<FeedRange>> {
    let fresh = ReadFeedRangesOptions::default().with_force_refresh(true);
    Ok(container.read_feed_ranges(Some(fresh)).await?)
}

/// One page of a feed range from a start, and the place after it.
pub(crate) async fn page(
    container: &ContainerClient,
    range: &FeedRange,
    start: ChangeFeedStartFrom,
    mode: ChangeFeedMode,
    size: u32,
) -> Result<(Vec<Change>, Place)> {
    let scope = FeedScope::range(range.clone());
    let mut feed =
        container.query_change_feed::<Value>(scope, start, Some(options(mode, size))).await?;
    let page = feed.next().await.ok_or("the feed ended")??;
    let token = feed.to_continuation_token()?;
    Ok((page.into_items(), Place { range: range.clone(), token }))
}

/// Every change from a place on.
pub(crate) async fn rest(
    container: &ContainerClient,
    place: Place,
    mode: ChangeFeedMode,
) -> Result<Vec<Change>> {
    let options = options(mode, 7).with_continuation_token(place.token);
    let scope = FeedScope::range(place.range);
    let mut feed = container
        .query_change_feed::<Value>(scope, ChangeFeedStartFrom::Beginning, Some(options))
        .await?;
    let (mut changes, mut idle) = (Vec::new(), 0);
    while idle < IDLE_ANSWERS {
        let page = feed.next().await.ok_or("the feed ended")??;
        idle = if page.items().is_empty() { idle + 1 } else { 0 };
        changes.extend(page.into_items());
    }
    Ok(changes)
}

/// The latest version of every document, each feed range in two readings: a page, then the rest.
pub(crate) async fn latest(container: &ContainerClient, range: &FeedRange) -> Result<Vec<Value>> {
    let mode = ChangeFeedMode::LatestVersion;
    let (mut changes, place) =
        page(container, range, ChangeFeedStartFrom::Beginning, mode, 3).await?;
    assert!(changes.len() <= 3, "a page holds no more than was asked for");
    changes.extend(rest(container, place, mode).await?);
    Ok(currents(&changes))
}

/// Where all versions begin: the end of each feed range.
pub(crate) async fn now(container: &ContainerClient) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for range in ranges(container).await? {
        let mode = ChangeFeedMode::AllVersionsAndDeletes;
        let (changes, place) = page(container, &range, ChangeFeedStartFrom::Now, mode, 1).await?;
        assert!(changes.is_empty(), "a feed that starts now has no changes yet");
        places.push(place);
    }
    Ok(places)
}

/// All versions and deletes since some places, as a report: the changes of each key in their order.
pub(crate) async fn versions(container: &ContainerClient, places: Vec<Place>) -> Result<Value> {
    let mut pairs = Vec::new();
    for place in places {
        let changes = rest(container, place, ChangeFeedMode::AllVersionsAndDeletes).await?;
        pairs.extend(changes.iter().map(describe));
    }
    Ok(by_key(pairs))
}

pub(crate) fn currents(changes: &[Change]) -> Vec<Value> {
    changes.iter().filter_map(|change| change.current()).map(plain).collect()
}

/// Groups by key and keeps the order in which each key's changes came.
pub(crate) fn by_key(pairs: impl IntoIterator<Item = (String, Value)>) -> Value {
    let mut keys = Map::new();
    for (key, what) in pairs {
        let of_key = keys.entry(key).or_insert_with(|| json!([]));
        of_key.as_array_mut().unwrap().push(what);
    }
    Value::Object(keys)
}

pub(crate) fn key(document: &Value) -> String {
    document["pk"].as_str().unwrap_or_default().to_owned()
}

fn options(mode: ChangeFeedMode, size: u32) -> ChangeFeedOptions {
    let size =
        NonZeroU32::new(size).map_or(MaxItemCountHint::ServerDecides, MaxItemCountHint::Limit);
    ChangeFeedOptions::default().with_mode(mode).with_max_item_count(size)
}

/// One change: its key, and what every client must see of it.
fn describe(change: &Change) -> (String, Value) {
    let known = change.current().or(change.previous()).unwrap();
    let metadata = change.metadata().unwrap();
    let operation = match metadata.operation_type() {
        Some(ChangeFeedOperationType::Create) => "create",
        Some(ChangeFeedOperationType::Replace) => "replace",
        Some(ChangeFeedOperationType::Delete) => "delete",
        other => panic!("the operation is {other:?}"),
    };
    let image = |document: Option<&Value>| document.map_or_else(|| json!({}), plain);
    let numbered = metadata.lsn().is_some_and(|lsn| lsn.value() > 0)
        && metadata.conflict_resolution_timestamp().is_some_and(|time| !time.is_zero());
    let seen = json!({
        "operation": operation,
        "id": known["id"],
        "expired": metadata.time_to_live_expired().unwrap_or_default(),
        "current": image(change.current()),
        "previous": image(change.previous()),
        "numbered": numbered,
    });
    (key(known), seen)
}
