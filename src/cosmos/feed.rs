//! Reads one feed range of one container with the SDK.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use azure_data_cosmos::CosmosError as SdkError;
use azure_data_cosmos::feed::FeedPage;
use azure_data_cosmos::models::{ChangeFeedItem, ChangeFeedMetadata, ChangeFeedOperationType};
use cosmos_bridge_sink::{ContainerName, Document, KeyValue, Origin, PartitionKey};
use futures::StreamExt;

use self::plan::{Pages, plan};
use super::error::answer_of;
use super::{ContainerHandle, CosmosError, position};
use crate::config::{Path, Start};
use crate::cosmos::{ChangeFeed, Feeds, Page};
use crate::model::{
    Event, FeedRange, Mode, PartitionId, Position, SourceChange, SourceIdentity, uncovered,
};

mod plan;

type Item = ChangeFeedItem<Image>;

/// A document that can be taken out of the SDK's item, which lends but does not give.
#[derive(Clone)]
struct Image(Arc<Document>);

impl<'de> serde::Deserialize<'de> for Image {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Document::deserialize(deserializer).map(|document| Self(Arc::new(document)))
    }
}

impl Image {
    fn into_document(self) -> Document {
        Arc::unwrap_or_clone(self.0)
    }
}

/// The feed ranges of one container, and how they are read.
#[derive(Clone)]
pub struct ContainerFeeds {
    pub container: ContainerHandle,
    pub name: Arc<ContainerName>,
    pub key_paths: Arc<[Path]>,
    pub mode: Mode,
    pub page_size: NonZeroU32,
}

#[async_trait]
impl Feeds for ContainerFeeds {
    fn identity(&self) -> SourceIdentity {
        let container = self.name.to_string();
        SourceIdentity { container, rid: self.container.rid.clone(), mode: self.mode }
    }

    fn page_size(&self) -> NonZeroU32 {
        self.page_size
    }

    async fn ranges(&self) -> Result<Vec<FeedRange>, CosmosError> {
        self.container.ranges().await
    }

    fn partition(&self, range: &FeedRange) -> PartitionId {
        self.container.partition(range)
    }

    fn feed(&self, slice: Position, start: Start) -> Box<dyn ChangeFeed> {
        Box::new(Feed::new(self.clone(), slice, start))
    }

    async fn check(&self) -> Result<(), CosmosError> {
        if let Some(range) = self.ranges().await?.into_iter().next() {
            let mut feed = self.feed(Position { range, etag: None }, Start::Now);
            feed.next_page(NonZeroU32::MIN).await?;
        }
        Ok(())
    }
}

/// Reads one feed range, a page at a time.
pub struct Feed {
    feeds: ContainerFeeds,
    slice: Position,
    /// Where to begin if the slice has no position.
    start: Start,
    /// `None` until the first page, and after an error: the SDK's iterator is then dead, and a
    /// token taken from it may be past a page that nobody saw.
    pages: Option<Pages>,
    /// Pages still to be read with one change each, to get past one that cannot be read.
    one_by_one: u32,
}

#[async_trait]
impl ChangeFeed for Feed {
    async fn next_page(&mut self, page_size: NonZeroU32) -> Result<Page, CosmosError> {
        // Of answers that are no page of their own: the service has charged for them as well.
        let mut charge = 0.0;
        match self.read(page_size, &mut charge).await {
            Ok(page) => Ok(Page { charge, ..page }),
            Err(mut fault) => {
                fault.answer.charge += charge;
                Err(fault)
            }
        }
    }
}

impl Feed {
    fn new(feeds: ContainerFeeds, slice: Position, start: Start) -> Self {
        Self { feeds, slice, start, pages: None, one_by_one: 0 }
    }

    /// Adds to `charge` what the answers cost that are not part of the error.
    async fn read(&mut self, page_size: NonZeroU32, charge: &mut f64) -> Result<Page, CosmosError> {
        loop {
            let size = if self.one_by_one > 0 { NonZeroU32::MIN } else { page_size };
            let mut pages = match self.pages.take().filter(|pages| pages.size == size) {
                Some(pages) => pages,
                None => plan(&self.feeds, &self.slice, &self.start, size).await?,
            };
            let attempt =
                format!("reading feed range {} of `{}`", self.slice.range, self.feeds.name);
            let read = pages.iterator.next().await;
            let diagnostics = match &read {
                Some(Ok(page)) => Some(page.diagnostics()),
                Some(Err(error)) => error.diagnostics(),
                None => None,
            };
            if let Some(diagnostics) = diagnostics {
                let container = &self.feeds.container;
                container.slow.note("reading", &container.name, &diagnostics);
            }
            let read = match read {
                Some(Err(error)) if is_unreadable(&error) => {
                    *charge += answer_of(&error).charge;
                    if self.one_by_one == 0 {
                        self.one_by_one = size.get();
                        continue;
                    }
                    // Alone on its page: what cannot be read is behind the iterator now.
                    Err(error.to_string())
                }
                Some(Err(error)) => {
                    let link = &self.feeds.container.link;
                    return Err(link.failed(&pages.clients, &attempt, &error).await);
                }
                Some(Ok(page)) => {
                    *charge += page.diagnostics().total_request_charge().value();
                    Ok(page)
                }
                None => return Err(CosmosError::ended(attempt)),
            };
            let token = pages.iterator.to_continuation_token();
            let token = token.map_err(|error| CosmosError::new(&attempt, &error))?;
            let slices = position::decode(&token).map_err(|what| {
                CosmosError::defect(&attempt, format!("continuation token: {what}"))
            })?;
            let page = self.page(read, slices);
            if let [only] = page.positions.as_slice() {
                self.slice.clone_from(only);
            }
            self.pages = Some(pages);
            self.count_down(page.unreadable.is_some());
            return Ok(page);
        }
    }
}

/// The SDK cannot read a document that is nested more than about 120 levels deep, which the
/// service would hold. Other failures to read a body, such as a connection that was cut, pass.
fn is_unreadable(error: &SdkError) -> bool {
    let sub_status = error.status().sub_status().map(|sub| sub.value());
    sub_status == Some(20_020) && format!("{error:?}").contains("recursion limit exceeded")
}

impl Feed {
    /// Goes back to whole pages once the page that could not be read must be behind. An iterator
    /// that met an error is dead.
    fn count_down(&mut self, met_error: bool) {
        self.one_by_one = self.one_by_one.saturating_sub(1);
        if met_error {
            self.pages = None;
        }
    }

    fn page(&self, read: Result<FeedPage<Item>, String>, mut slices: Vec<Position>) -> Page {
        // After a split, leaves that were not read yet are missing from the token.
        let resume = |range: FeedRange| Position { range, etag: self.slice.etag.clone() };
        slices.extend(uncovered(&self.slice.range, &slices).into_iter().map(resume));
        slices.sort_by(|a, b| a.range.min.cmp(&b.range.min));
        let page = match read {
            Ok(page) => page,
            Err(cause) => {
                return Page { positions: slices, unreadable: Some(cause), ..Page::default() };
            }
        };
        let head_lsn = page.headers().lsn().and_then(|lsn| i64::try_from(lsn).ok());
        let status = page.diagnostics().status().map(|status| u16::from(status.status_code()));
        let items = page.into_items().into_iter();
        let mut changes: Vec<_> = items.map(|item| self.change(item)).collect();
        number_repeated(&mut changes);
        let bytes = changes.iter().map(SourceChange::bytes).sum();
        let caught_up = status == Some(304) && slices.len() == 1;
        Page { changes, positions: slices, head_lsn, caught_up, bytes, ..Page::default() }
    }

    fn change(&self, item: Item) -> SourceChange {
        let metadata = item.metadata().cloned();
        let metadata = metadata.as_ref();
        let operation = metadata.and_then(ChangeFeedMetadata::operation_type);
        let (current, previous) = (item.current().cloned(), item.previous().cloned());
        drop(item); // So that the images are the only owners of their documents.
        let current = current.map(Image::into_document);
        let previous = previous.map(Image::into_document);
        let origin = Arc::new(self.origin(metadata, current.as_ref().or(previous.as_ref())));
        let event = match current {
            Some(current) if operation != Some(ChangeFeedOperationType::Delete) => {
                Event::Upsert { current, previous }
            }
            _ => Event::Delete {
                previous,
                expired: metadata.and_then(ChangeFeedMetadata::time_to_live_expired) == Some(true),
            },
        };
        SourceChange { origin, event }
    }

    /// Identity and place of a change: from its metadata where the feed carries it, else from the
    /// document's own system properties.
    fn origin(&self, metadata: Option<&ChangeFeedMetadata>, image: Option<&Document>) -> Origin {
        let number = |name: &str| image?.get(name)?.as_i64();
        let id = metadata.and_then(ChangeFeedMetadata::id);
        let id = id.or_else(|| image?.get("id")?.as_str()).unwrap_or_default().to_owned();
        let stated = || metadata.and_then(ChangeFeedMetadata::partition_key);
        let paths = &self.feeds.key_paths;
        let partition_key =
            image.map_or_else(|| key_from_metadata(stated(), paths), |image| key_of(image, paths));
        let committed_at = metadata
            .and_then(ChangeFeedMetadata::conflict_resolution_timestamp)
            .and_then(|at| i64::try_from(at.as_secs()).ok());
        let lsn = metadata.and_then(ChangeFeedMetadata::lsn).map(|lsn| lsn.value());
        Origin {
            container: Arc::clone(&self.feeds.name),
            id,
            partition_key,
            lsn: lsn.or_else(|| number("_lsn")),
            committed_at: committed_at.or_else(|| number("_ts")),
            nth: 0,
            trace: None,
        }
    }
}

/// A transaction that changes a document several times gives all of that one log sequence number. It
/// is never divided between pages, so the numbers are the same whenever it is read.
fn number_repeated(changes: &mut [SourceChange]) {
    let mut begin = 0;
    for at in 1..changes.len() {
        let (before, rest) = changes.split_at_mut(at);
        let change = &mut rest[0];
        let Origin { id, partition_key, lsn, .. } = &*change.origin;
        if lsn.is_none() || before[begin].origin.lsn != *lsn {
            begin = at;
            continue;
        }
        let is_same = |other: &&SourceChange| {
            other.origin.id == *id && other.origin.partition_key == *partition_key
        };
        let nth = before[begin..].iter().filter(is_same).count();
        if nth > 0
            && let Some(origin) = Arc::get_mut(&mut change.origin)
        {
            origin.nth = u32::try_from(nth).unwrap_or(u32::MAX);
        }
    }
}

fn key_of(document: &Document, paths: &[Path]) -> PartitionKey {
    let value = |path: &Path| {
        let (first, rest) = path.segments().split_first()?;
        rest.iter().try_fold(document.get(first)?, |value, name| value.get(name))
    };
    // An object or array cannot be a key value; the service stores such a document as keyless.
    let key = |path| KeyValue::from_json(value(path)).unwrap_or(KeyValue::Undefined);
    PartitionKey(paths.iter().map(key).collect())
}

/// The service sends the key values of a delete as an array, or as an object by field name. No value
/// at all where a name is missing: a delete of another document would be worse than a dead letter.
fn key_from_metadata(key: Option<&serde_json::Value>, paths: &[Path]) -> PartitionKey {
    let values = match key {
        Some(serde_json::Value::Array(values)) => Some(values.iter().collect()),
        Some(serde_json::Value::Object(fields)) => {
            paths.iter().map(|path| key_field(fields, path)).collect()
        }
        _ => None,
    };
    let values: Vec<_> = values.unwrap_or_default();
    let key = |value| KeyValue::from_json(Some(value)).unwrap_or(KeyValue::Undefined);
    PartitionKey(values.into_iter().map(key).collect())
}

/// By the path, with or without its first slash, or by its last name.
fn key_field<'f>(fields: &'f Document, path: &Path) -> Option<&'f serde_json::Value> {
    let path = path.segments().join("/");
    let last = path.rsplit('/').next().unwrap_or_default();
    let field = fields.get(&format!("/{path}")).or_else(|| fields.get(&path));
    field.or_else(|| fields.get(last))
}

#[cfg(test)]
mod tests;
