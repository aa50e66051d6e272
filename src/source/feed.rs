//! What the bridge needs of a change feed.

use std::num::NonZeroU32;

use async_trait::async_trait;

use super::{Slice, SourceChange};
use crate::cosmos::Fault;

/// Reads one feed range, a page at a time.
///
/// After an error the next call resumes behind the last page that was handed out.
#[async_trait]
pub trait ChangeFeed: Send {
    /// Asks for at most `page_size` changes. To ask for another number than the time before costs
    /// a read of metadata.
    async fn next_page(&mut self, page_size: NonZeroU32) -> Result<Page, Fault>;
}

/// One answer of the feed.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Empty when there is nothing new, or nothing new yet in this part of the range.
    pub changes: Vec<SourceChange>,
    /// Resuming here skips this page and nothing else. More than one after a split: the parts have
    /// positions of their own from here on.
    pub slices: Vec<Slice>,
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
