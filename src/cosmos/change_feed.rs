//! The traits through which the bridge reads change feeds.

use std::num::NonZeroU32;

use async_trait::async_trait;
use cosmos_bridge_sink::{Document, Expiry, Origin, PartitionKey};

use crate::config::Start;
use crate::cosmos::CosmosError;
use crate::model::{FeedRange, PartitionId, Position, SourceChange, SourceIdentity};

/// The change feed of one container, by feed range.
#[async_trait]
pub trait Feeds: Send + Sync {
    fn identity(&self) -> SourceIdentity;

    /// The usual number of changes per page.
    fn page_size(&self) -> NonZeroU32;

    /// The current feed ranges of the container.
    async fn ranges(&self) -> Result<Vec<FeedRange>, CosmosError>;

    /// The physical partition of a range.
    fn partition(&self, range: &FeedRange) -> PartitionId;

    /// A reader that continues at a position, or at `start` if the position has no ETag. It sends
    /// nothing before the first page is requested.
    fn feed(&self, position: Position, start: Start) -> Box<dyn ChangeFeed>;

    /// A reader of what a range holds now, in latest-version mode, independent of the mode of the feed. It
    /// continues at a position in that mode, or begins with the oldest document.
    fn existing(&self, position: Position) -> Box<dyn ChangeFeed>;

    /// When a document of the container, with its system properties, expires; `None` if none do.
    fn expiry(&self, document: &Document) -> Option<Expiry>;

    /// Reads the current version of a document. Without its key, it is looked for in all partitions.
    async fn document(
        &self,
        id: &str,
        key: Option<&PartitionKey>,
    ) -> Result<ReadDocument, CosmosError>;

    /// Proves that the feed can be read in its mode, by reading one small page.
    async fn check(&self) -> Result<(), CosmosError>;
}

/// The answer to the read of one document.
#[derive(Clone, Debug, Default)]
pub struct ReadDocument {
    /// With the service's system properties. None if there is no such document; without a key, several
    /// may have the id.
    pub documents: Vec<Document>,
    /// The request charge of all attempts, in request units.
    pub charge: f64,
}

/// Reads one feed range, a page at a time.
///
/// After an error, the next call resumes after the last page that was returned.
#[async_trait]
pub trait ChangeFeed: Send {
    /// Reads at most `page_size` changes. A size other than in the last call costs a metadata
    /// request.
    async fn next_page(&mut self, page_size: NonZeroU32) -> Result<Page, CosmosError>;

    /// Asks, after an answer that nothing is newer, whether that holds for the service and not only for
    /// the replica that answered. Costs more than an answer.
    async fn prove_end(&mut self) -> Result<Proof, CosmosError>;
}

/// The answer to [`ChangeFeed::prove_end`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Proof {
    /// Nothing is newer than what the feed has returned.
    pub is_end: bool,
    /// In request units.
    pub charge: f64,
}

/// One page of the feed.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Empty if there are no new changes, or none yet in this part of the range.
    pub changes: Vec<SourceChange>,
    /// The positions after this page. More than one after a split: from then on each part of the
    /// range has its own position.
    pub positions: Vec<Position>,
    /// The newest log sequence number of the range, if the service returns it.
    pub head_lsn: Option<i64>,
    /// The request charge of all attempts, in request units.
    pub charge: f64,
    /// The service answered 304 for the whole range: there were no newer changes.
    pub caught_up: bool,
    /// Memory that the documents take, in bytes; an estimate.
    pub bytes: usize,
    /// Changes of the page that cannot be parsed.
    pub unreadable: Vec<Unreadable>,
    /// How many changes the page has, as the service counts them: for the conservation ledger, which finds out
    /// by it whether all of them are in `changes` and `unreadable`.
    pub items: usize,
    /// Further changes that no sink gets. `bytes` is with them.
    pub left_out: usize,
}

/// A change that cannot be parsed.
#[derive(Clone, Debug)]
pub struct Unreadable {
    pub cause: String,
    /// Id, key and log sequence number are empty where they cannot be parsed either.
    pub origin: Origin,
    /// `upsert`, `delete` or `expire`.
    pub operation: &'static str,
    /// As the service sent it: nearly JSON, and mostly UTF-8.
    pub document: Vec<u8>,
}
