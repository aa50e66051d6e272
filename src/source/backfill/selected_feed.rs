//! The change feed of a container, without what is not selected.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_sink::{Document, Expiry, PartitionKey};

use super::selection::Selection;
use crate::config::Start;
use crate::cosmos::{ChangeFeed, CosmosError, Feeds, Page, Proof, ReadDocument};
use crate::model::{FeedRange, PartitionId, Position, SourceIdentity};

/// The feeds of a container, without what is not selected.
pub struct SelectedFeeds {
    pub feeds: Arc<dyn Feeds>,
    pub selection: Arc<Selection>,
}

struct SelectedFeed {
    feed: Box<dyn ChangeFeed>,
    selection: Arc<Selection>,
}

#[async_trait]
impl Feeds for SelectedFeeds {
    fn identity(&self) -> SourceIdentity {
        self.feeds.identity()
    }

    fn page_size(&self) -> NonZeroU32 {
        self.feeds.page_size()
    }

    async fn ranges(&self) -> Result<Vec<FeedRange>, CosmosError> {
        self.feeds.ranges().await
    }

    fn partition(&self, range: &FeedRange) -> PartitionId {
        self.feeds.partition(range)
    }

    fn feed(&self, position: Position, start: Start) -> Box<dyn ChangeFeed> {
        let feed = self.feeds.feed(position, start);
        Box::new(SelectedFeed { feed, selection: Arc::clone(&self.selection) })
    }

    fn existing(&self, position: Position) -> Box<dyn ChangeFeed> {
        let feed = self.feeds.existing(position);
        Box::new(SelectedFeed { feed, selection: Arc::clone(&self.selection) })
    }

    fn expiry(&self, document: &Document) -> Option<Expiry> {
        self.feeds.expiry(document)
    }

    async fn document(
        &self,
        id: &str,
        key: Option<&PartitionKey>,
    ) -> Result<ReadDocument, CosmosError> {
        self.feeds.document(id, key).await
    }

    async fn check(&self) -> Result<(), CosmosError> {
        self.feeds.check().await
    }
}

#[async_trait]
impl ChangeFeed for SelectedFeed {
    async fn next_page(&mut self, page_size: NonZeroU32) -> Result<Page, CosmosError> {
        let mut page = self.feed.next_page(page_size).await?;
        self.selection.apply(&mut page);
        Ok(page)
    }

    async fn prove_end(&mut self) -> Result<Proof, CosmosError> {
        self.feed.prove_end().await
    }
}
