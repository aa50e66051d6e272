//! Reads what existed when a pipeline first started, and then every change since, deletes too.
//!
//! The service serves all versions and deletes from a moment on, and nothing before. So that moment is
//! stored first, as the `ETag` of each feed range (`stream_from`). Then the range is read in latest-version
//! mode, which has every document at its last change, in the order of the log sequence numbers, up to that
//! moment; then it is read in all-versions-and-deletes mode from there. A document that changes meanwhile
//! moves behind the moment in the first feed, where it is left out, and all its changes are in the second. A
//! document that is deleted meanwhile is in neither or has its delete in the second. So nothing is missing,
//! nothing is older than what was sent before, and a position in the first feed is good for a restart.
//!
//! That holds for answers of replicas that have got as far as that moment: one that lags may still have a
//! document whose delete is before it. Such an answer is not used.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;

use crate::config::Start;
use crate::cosmos::{ChangeFeed, CosmosError, Feeds, Page, Proof};
use crate::model::{Position, SourceChange};

/// A reader from a position on, of either feed. `start` is for a position without an `ETag`.
pub(super) fn open(feeds: &Arc<dyn Feeds>, from: Position, start: &Start) -> Box<dyn ChangeFeed> {
    if from.stream_from.is_none() {
        return feeds.feed(from, start.clone());
    }
    let feed = existing(feeds.as_ref(), &from);
    Box::new(FullCopy { feeds: Arc::clone(feeds), position: from, feed })
}

fn existing(feeds: &dyn Feeds, position: &Position) -> Box<dyn ChangeFeed> {
    feeds.existing(Position { stream_from: None, ..position.clone() })
}

/// Reads what existed, then the changes since.
struct FullCopy {
    feeds: Arc<dyn Feeds>,
    position: Position,
    /// The feed that the position is in.
    feed: Box<dyn ChangeFeed>,
}

#[async_trait]
impl ChangeFeed for FullCopy {
    async fn next_page(&mut self, page_size: NonZeroU32) -> Result<Page, CosmosError> {
        let page = self.feed.next_page(page_size).await?;
        if self.position.stream_from.is_none() {
            return Ok(page);
        }
        let page = page_of_existing(page, &self.position);
        match page.positions.as_slice() {
            // The feed may be behind an answer that was not used.
            [only] if *only == self.position => self.feed = existing(&*self.feeds, only),
            [only] => {
                self.position = only.clone();
                if only.stream_from.is_none() {
                    // It has an `ETag`, so that its start does not matter.
                    self.feed = self.feeds.feed(only.clone(), Start::Now);
                }
            }
            // The reader ends here, and the parts have their own.
            _ => {}
        }
        Ok(page)
    }

    async fn prove_end(&mut self) -> Result<Proof, CosmosError> {
        self.feed.prove_end().await
    }
}

/// What counts of a page of the latest-version feed that was read at `position`, where what existed is read.
fn page_of_existing(mut page: Page, position: &Position) -> Page {
    let moment = position.changes_after_lsn();
    // Without a number of the moment, all that exists is read: some changes come twice, in their order.
    let had_all = page.caught_up && (moment.is_none() || page.head_lsn >= moment);
    page.caught_up = false;
    if page.head_lsn.is_some() && page.head_lsn < moment {
        let positions = vec![position.clone()];
        return Page { positions, charge: page.charge, head_lsn: page.head_lsn, ..Page::default() };
    }
    let is_before = |lsn: Option<i64>| lsn.is_none() || moment.is_none() || lsn <= moment;
    let left_out = page.changes.iter().map(|change| change.origin.lsn);
    let left_out = left_out.chain(page.unreadable.iter().map(|unreadable| unreadable.origin.lsn));
    page.items = page.items.saturating_sub(left_out.filter(|lsn| !is_before(*lsn)).count());
    page.changes.retain(|change| is_before(change.origin.lsn));
    page.unreadable.retain(|unreadable| is_before(unreadable.origin.lsn));
    page.bytes = page.changes.iter().map(SourceChange::bytes).sum();
    for unreadable in &mut page.unreadable {
        unreadable.origin.is_snapshot = true;
    }
    for change in &mut page.changes {
        if let Some(origin) = Arc::get_mut(&mut change.origin) {
            origin.is_snapshot = true;
        }
    }
    for after in &mut page.positions {
        if had_all || moment.is_some() && after.lsn() >= moment {
            after.etag.clone_from(&position.stream_from);
        } else {
            after.stream_from.clone_from(&position.stream_from);
        }
    }
    page
}

#[cfg(test)]
mod tests;
