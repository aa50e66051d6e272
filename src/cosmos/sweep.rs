//! What a sweep asks of a source and of a target: which copies there are, and which documents.

use async_trait::async_trait;
use cosmos_bridge_cosmos::{Answer, SourceDocument, StoredDocument};
use cosmos_bridge_sink::{PartitionKey, Place};

use super::CosmosError;

/// A copy in the target, as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct SweptCopy {
    pub stored: StoredDocument,
    /// What the copy has in the fields of the source's partition key.
    pub source_key: PartitionKey,
}

/// Copies that were read together.
#[derive(Clone, Debug, Default)]
pub struct CopiesPage {
    pub copies: Vec<SweptCopy>,
    /// The request charge of all attempts, in request units.
    pub charge: f64,
}

/// Source documents that were looked for together.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    pub documents: Vec<SourceDocument>,
    /// Of other partition keys there are so many with these ids that not all were read.
    pub is_too_many: bool,
    /// In request units.
    pub charge: f64,
}

/// How documents are looked for together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Search {
    /// By their ids alone, which is cheaper where ids are unique in the container.
    #[default]
    Ids,
    /// By their partition keys and ids.
    Keys,
}

/// The answer of a quorum of replicas about one document.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Looked {
    pub exists: bool,
    /// The log sequence number that the answer is as new as.
    pub lsn: Option<i64>,
    /// In request units.
    pub charge: f64,
}

/// A container in which copies may be whose source documents do not exist any more.
#[async_trait]
pub trait SweepTarget: Send + Sync {
    /// Reads all copies, from the first.
    fn copies(&self) -> Box<dyn Copies>;

    /// Deletes a document unless it has changed.
    async fn delete(&self, copy: &StoredDocument) -> Answer;
}

/// Reads the copies of a container, a page at a time.
#[async_trait]
pub trait Copies: Send {
    /// `None` at the end. After an error, the next call reads the same page.
    async fn next_page(&mut self) -> Result<Option<CopiesPage>, CosmosError>;
}

/// The container that was copied.
#[async_trait]
pub trait SweepSource: Send + Sync {
    /// The number of a document in the records of its copies.
    fn number(&self, place: &Place) -> SourceDocument;

    /// Those of these documents that a replica has.
    async fn existing(&self, places: &[Place], by: Search) -> Result<Existing, CosmosError>;

    /// Looks for one document, as a quorum of replicas has it.
    async fn look(&self, place: &Place) -> Result<Looked, CosmosError>;
}
