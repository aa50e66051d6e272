//! Reads one feed range of one container.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use azure_data_cosmos::feed::ContinuationToken;
use cosmos_bridge_cosmos::Class;
use cosmos_bridge_sink::{ContainerName, Document, Expiry, PartitionKey};

pub use self::item::key_of;
use self::item::{changes_of, expiry_of};
use self::pages::{Asked, Pages};
use self::parts::{PageParts, parts_of};
use super::{
    ChangeFeed, ContainerHandle, CosmosError, Feeds, Page, Proof, ReadDocument, documents, position,
};
use crate::config::{Path, Start};
use crate::model::{
    FeedRange, Mode, PartitionId, Position, SourceChange, SourceIdentity, uncovered,
};

mod item;
mod pages;
mod parts;

/// The change feed of one container.
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

    fn expiry(&self, document: &Document) -> Option<Expiry> {
        expiry_of(document, self.container.default_ttl())
    }

    fn partition(&self, range: &FeedRange) -> PartitionId {
        self.container.partition(range)
    }

    fn feed(&self, position: Position, start: Start) -> Box<dyn ChangeFeed> {
        Box::new(Feed::new(self.clone(), position, start))
    }

    fn existing(&self, position: Position) -> Box<dyn ChangeFeed> {
        let feeds = Self { mode: Mode::LatestVersion, ..self.clone() };
        Box::new(Feed::new(feeds, position, Start::Beginning))
    }

    async fn document(
        &self,
        id: &str,
        key: Option<&PartitionKey>,
    ) -> Result<ReadDocument, CosmosError> {
        documents::read(&self.container, id, key).await
    }

    async fn check(&self) -> Result<(), CosmosError> {
        if let Some(range) = self.ranges().await?.into_iter().next() {
            let mut feed = self.feed(Position::of(range, None), Start::Now);
            feed.next_page(NonZeroU32::MIN).await?;
        }
        Ok(())
    }
}

/// Reads one feed range, a page at a time.
pub struct Feed {
    feeds: ContainerFeeds,
    position: Position,
    /// Where to begin if the position has no `ETag`.
    start: Start,
    /// `None` before the first page and after an error: a reader that returned an error cannot be used
    /// again, and its token may be past a page that was never returned.
    pages: Option<Pages>,
    /// Refusals since the last page.
    refusals: u32,
    asked: Asked,
}

/// Nothing is newer.
const NOT_MODIFIED: u16 = 304;

/// The number of refusals in a row after which the position is examined: a proxy refuses once.
const REFUSALS: u32 = 3;

/// The answer to one request for a page.
struct FeedAnswer {
    parts: PageParts,
    /// After it, as far as the driver tells.
    positions: Vec<Position>,
    head_lsn: Option<u64>,
    status: u16,
}

#[async_trait]
impl ChangeFeed for Feed {
    async fn next_page(&mut self, page_size: NonZeroU32) -> Result<Page, CosmosError> {
        self.feeds.container.renew_default_ttl().await;
        // Includes answers that become no page: the service charges for them too.
        let mut charge = 0.0;
        match self.read(page_size, &mut charge).await {
            Ok(page) => {
                self.refusals = 0;
                Ok(Page { charge, ..page })
            }
            Err(error) => {
                let mut error = self.explained(error, &mut charge).await;
                error.answer.charge += charge;
                Err(error)
            }
        }
    }

    async fn prove_end(&mut self) -> Result<Proof, CosmosError> {
        let mut same = Self::new(self.feeds.clone(), self.position.clone(), self.start.clone());
        same.asked = Asked::AQuorum;
        let page = same.next_page(NonZeroU32::MIN).await?;
        Ok(Proof { is_end: page.caught_up, charge: page.charge })
    }
}

impl Feed {
    fn new(feeds: ContainerFeeds, position: Position, start: Start) -> Self {
        Self { feeds, position, start, pages: None, refusals: 0, asked: Asked::AReplica }
    }

    /// Says what a refusal is about. In all-versions mode it is about the position, or about the mode if
    /// there is no position yet. In latest-version mode it is about the position if the service has
    /// refused it several times and reads the range without it: a refusal alone may have other causes,
    /// such as a proxy.
    async fn explained(&mut self, error: CosmosError, charge: &mut f64) -> CosmosError {
        if error.class() != Class::Refused {
            return error;
        }
        match (self.feeds.mode, &self.position.etag) {
            (Mode::LatestVersion, None) => return error,
            (Mode::AllVersionsAndDeletes, None) => return error.without_history(),
            (Mode::AllVersionsAndDeletes, Some(_)) => return error.lost_position(&self.position),
            (Mode::LatestVersion, Some(_)) => {
                self.refusals += 1;
                if self.refusals < REFUSALS {
                    return error;
                }
                let unread = Position::of(self.position.range.clone(), None);
                let mut without = Self::new(self.feeds.clone(), unread, Start::Now);
                if Box::pin(without.read(NonZeroU32::MIN, charge)).await.is_err() {
                    return error;
                }
            }
        }
        error.refused_position(&self.position)
    }

    /// Adds the charge of all answers to `charge`, except that of a returned error.
    async fn read(&mut self, size: NonZeroU32, charge: &mut f64) -> Result<Page, CosmosError> {
        let mut pages = if let Some(pages) = self.pages.take().filter(|p| p.size == size) {
            pages
        } else {
            let ContainerFeeds { container, name, mode, .. } = &self.feeds;
            let asked = (size, self.asked);
            Pages::open(container, name, *mode, &self.position, &self.start, asked).await?
        };
        let attempt =
            format!("reading feed range {} of `{}`", self.position.range, self.feeds.name);
        let answer = self.feeds.next_answer(&mut pages, &attempt, charge).await?;
        let (page, is_behind) = self.page(answer);
        if let [only] = page.positions.as_slice() {
            self.position.clone_from(only);
        }
        // Of an answer from behind the position, the reader would go on from there.
        self.pages = (!is_behind).then_some(pages);
        Ok(page)
    }

    /// The page, and whether what answered is behind the position: a replica that lags, or a feed that
    /// does not have the position. Then the position stays as it is.
    fn page(&self, answer: FeedAnswer) -> (Page, bool) {
        let FeedAnswer { parts, mut positions, head_lsn, status } = answer;
        let PageParts { items, unreadable, stated } = parts;
        let stated = stated.unwrap_or(items.len() + unreadable.len());
        // After a split, the token lacks the parts that were not read yet.
        let resume = |range: FeedRange| Position::of(range, self.position.etag.clone());
        positions.extend(uncovered(&self.position.range, &positions).into_iter().map(resume));
        positions.sort_by(|a, b| a.range.min.cmp(&b.range.min));
        let head_lsn = head_lsn.and_then(|lsn| i64::try_from(lsn).ok());
        let changes = changes_of(
            items,
            &self.feeds.name,
            &self.feeds.key_paths,
            self.feeds.container.default_ttl(),
        );
        let bytes = changes.iter().map(SourceChange::bytes).sum();
        let caught_up = status == 304 && positions.len() == 1;
        let answered = positions.iter().filter_map(Position::lsn).max();
        let head_lsn = head_lsn.or_else(|| answered.filter(|_| caught_up));
        let is_behind = caught_up && self.position.lsn() > answered;
        if is_behind {
            positions = vec![self.position.clone()];
        }
        let page = Page {
            changes,
            positions,
            head_lsn,
            caught_up,
            bytes,
            unreadable,
            items: stated,
            ..Page::default()
        };
        (page, is_behind)
    }
}

impl ContainerFeeds {
    /// Reads the next page. An answer that broke off counts as an error.
    async fn next_answer(
        &self,
        pages: &mut Pages,
        attempt: &str,
        charge: &mut f64,
    ) -> Result<FeedAnswer, CosmosError> {
        let Self { container, name, key_paths, .. } = self;
        let read = pages.reader.next().await;
        let diagnostics = match &read {
            Ok(page) => page.as_ref().map(|page| Arc::clone(&page.diagnostics)),
            Err(error) => error.diagnostics(),
        };
        if let Some(diagnostics) = diagnostics {
            container.slow.note("reading", &container.name, &diagnostics);
        }
        let page = match read {
            Ok(page) => page.ok_or_else(|| CosmosError::ended(attempt))?,
            Err(error) => {
                return Err(container.clients.failed(&pages.clients, attempt, &error).await);
            }
        };
        *charge += page.diagnostics.total_request_charge().value();
        // Only this answer has no body. The token of another one is already past a page that was lost.
        let parts = if page.status == NOT_MODIFIED && page.body.is_empty() {
            PageParts::default()
        } else {
            parts_of(&page.body, name, key_paths).ok_or_else(|| CosmosError::broken_off(attempt))?
        };
        Ok(FeedAnswer {
            positions: positions_in(&page.token, attempt)?,
            head_lsn: page.head_lsn,
            status: page.status,
            parts,
        })
    }
}

fn positions_in(token: &ContinuationToken, attempt: &str) -> Result<Vec<Position>, CosmosError> {
    position::decode(token)
        .map_err(|reason| CosmosError::internal(attempt, format!("continuation token: {reason}")))
}

#[cfg(test)]
mod tests;
