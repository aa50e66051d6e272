//! What the bridge needs of a change feed.

use std::num::NonZeroU32;

use async_trait::async_trait;

use crate::config::Start;
use crate::cosmos::CosmosError;
use crate::model::{FeedRange, PartitionId, Position, SourceChange, SourceIdentity};

/// The feed ranges of one container, and how they are read.
#[async_trait]
pub trait Feeds: Send + Sync {
    fn identity(&self) -> SourceIdentity;

    /// Changes per page, usually.
    fn page_size(&self) -> NonZeroU32;

    /// The feed ranges that the service has now.
    async fn ranges(&self) -> Result<Vec<FeedRange>, CosmosError>;

    /// The physical partition that is read with a range.
    fn partition(&self, range: &FeedRange) -> PartitionId;

    /// A reader of one slice; `start` is where to begin if the slice has no position. Nothing is
    /// sent before the first page is asked for.
    fn feed(&self, slice: Position, start: Start) -> Box<dyn ChangeFeed>;

    /// Proves that the feed can be read in its mode, at the cost of one small page.
    async fn check(&self) -> Result<(), CosmosError>;
}

/// Reads one feed range, a page at a time.
///
/// After an error the next call resumes behind the last page that was handed out.
#[async_trait]
pub trait ChangeFeed: Send {
    /// Asks for at most `page_size` changes. To ask for another number than the time before costs
    /// a read of metadata.
    async fn next_page(&mut self, page_size: NonZeroU32) -> Result<Page, CosmosError>;
}

/// One answer of the feed.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Empty when there is nothing new, or nothing new yet in this part of the range.
    pub changes: Vec<SourceChange>,
    /// Resuming here skips this page and nothing else. More than one after a split: the parts have
    /// positions of their own from here on.
    pub positions: Vec<Position>,
    /// The newest log sequence number of the range, where the service tells it.
    pub head_lsn: Option<i64>,
    /// Request units of all attempts.
    pub charge: f64,
    /// The service answered 304 for the whole range: there was nothing newer.
    pub caught_up: bool,
    /// Of memory that the documents take; an estimate.
    pub bytes: usize,
    /// The page holds a change that the SDK cannot read, and this is why. It is skipped.
    pub unreadable: Option<String>,
}
