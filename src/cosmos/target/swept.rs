//! What a sweep asks, with the SDK.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use azure_data_cosmos::Query;
use azure_data_cosmos::feed::{ContinuationToken, FeedScope, QueryPageIterator};
use azure_data_cosmos::options::{ItemReadOptions, MaxItemCountHint, QueryOptions};
use cosmos_bridge_cosmos::{
    Answer, Class, Container, SourceDocument, StoredDocument, Write, classify,
};
use cosmos_bridge_sink::{ContainerName, Document, KeyValue, PartitionKey, Place};
use futures::StreamExt;

use super::super::container_clients::Clients;
use super::super::error::answer_of;
use super::super::key::sdk_key;
use super::super::path_segment::is_path_segment;
use super::super::sweep::{
    Copies, CopiesPage, Existing, Looked, Search, SweepSource, SweepTarget, SweptCopy,
};
use super::super::{ContainerHandle, CosmosError};
use super::Target;
use super::lookup::{member, member_at, quorum, stored};
use crate::config::Path;

/// Copies that are read together: few requests, and less than a megabyte.
const PAGE: NonZeroU32 = NonZeroU32::new(500).unwrap();

/// Documents with the ids of one page of copies, beyond which they are looked for by their keys, too.
const MOST: NonZeroU32 = NonZeroU32::new(1_000).unwrap();

/// A target of which the copies are read that have a record in `field`.
pub struct SweptTarget {
    target: Arc<Target>,
    field: String,
    source_paths: Arc<[Path]>,
}

impl SweptTarget {
    pub fn new(container: ContainerHandle, field: &str, source_paths: Arc<[Path]>) -> Self {
        Self { target: Arc::new(Target::new(container)), field: field.to_owned(), source_paths }
    }
}

#[async_trait]
impl SweepTarget for SweptTarget {
    fn copies(&self) -> Box<dyn Copies> {
        let levels = self.target.container.key_paths.len();
        let query = self.target.select_copies(&self.field, &self.source_paths);
        let source_levels = self.source_paths.len();
        let target = Arc::clone(&self.target);
        Box::new(CopyPages { target, query, levels, source_levels, after: None, open: None })
    }

    async fn delete(&self, copy: &StoredDocument) -> Answer {
        let write = Write::Delete { if_match: Some(&copy.etag) };
        self.target.write(&copy.partition_key, &copy.id, write).await
    }
}

impl Target {
    /// A query for what identifies each document, its record, and its fields of the source's key.
    fn select_copies(&self, field: &str, source_paths: &[Path]) -> String {
        let keys = self.key_paths().into_iter().enumerate();
        let keys = keys.map(|(level, path)| format!(", {} AS k{level}", member_at(&path)));
        let sources = source_paths.iter().enumerate();
        let sources = sources.map(|(level, path)| format!(", {} AS s{level}", member_at(path)));
        let columns = keys.chain(sources).collect::<Vec<_>>().concat();
        format!("SELECT c.id, c._etag AS e{columns}, {} AS v FROM c", member(field))
    }
}

/// The pages of a query for all documents.
struct CopyPages {
    target: Arc<Target>,
    query: String,
    levels: usize,
    source_levels: usize,
    /// Where the next page begins; `None` before the first one.
    after: Option<ContinuationToken>,
    open: Option<(QueryPageIterator<Document>, Arc<Clients>)>,
}

#[async_trait]
impl Copies for CopyPages {
    async fn next_page(&mut self) -> Result<Option<CopiesPage>, CosmosError> {
        let container = &self.target.container;
        let attempt = format!("reading the copies in `{}`", container.name);
        let (mut pages, clients) = if let Some(open) = self.open.take() {
            open
        } else {
            let clients = container.clients.clients(&attempt).await?;
            let mut options =
                QueryOptions::default().with_max_item_count(MaxItemCountHint::Limit(PAGE));
            if let Some(after) = &self.after {
                options = options.with_continuation_token(after.clone());
            }
            let query = Query::from(self.query.as_str());
            let scope = FeedScope::full_container();
            match clients.container.query_items::<Document>(query, scope, Some(options)).await {
                Ok(items) => (items.into_pages(), clients),
                Err(error) => {
                    return Err(container.clients.failed(&clients, &attempt, &error).await);
                }
            }
        };
        let page = match pages.next().await {
            None => return Ok(None),
            Some(Ok(page)) => page,
            Some(Err(error)) => {
                return Err(container.clients.failed(&clients, &attempt, &error).await);
            }
        };
        let charge = page.diagnostics().total_request_charge().value();
        self.target.note(&page.diagnostics());
        let rows = page.into_items().into_iter();
        let (levels, source_levels) = (self.levels, self.source_levels);
        let copies = rows.filter_map(|row| {
            let level = |level| row.get(&format!("s{level}"));
            let key = |at| KeyValue::from_json(level(at).as_ref()).unwrap_or(KeyValue::Undefined);
            let source_key = PartitionKey((0..source_levels).map(key).collect());
            Some(SweptCopy { stored: stored(row, levels)?, source_key })
        });
        let copies = copies.collect();
        // A token that cannot be taken costs a repetition after an error, no copy.
        if let Ok(after) = pages.to_continuation_token() {
            self.after = Some(after);
        }
        self.open = Some((pages, clients));
        Ok(Some(CopiesPage { copies, charge }))
    }
}

/// The container that was copied.
pub struct SweptSource {
    target: Target,
    name: Arc<ContainerName>,
}

impl SweptSource {
    pub fn new(container: ContainerHandle, name: Arc<ContainerName>) -> Self {
        Self { target: Target::new(container), name }
    }

    fn failed(attempt: String, answer: Answer) -> CosmosError {
        CosmosError { attempt, answer }
    }
}

#[async_trait]
impl SweepSource for SweptSource {
    fn number(&self, place: &Place) -> SourceDocument {
        SourceDocument::named(&self.name, &place.partition_key, &place.id)
    }

    async fn existing(&self, places: &[Place], by: Search) -> Result<Existing, CosmosError> {
        let attempt = format!("looking for documents of `{}`", self.target.container.name);
        let found = match by {
            Search::Ids => {
                let ids: BTreeSet<&str> = places.iter().map(|place| place.id.as_str()).collect();
                let ids: Vec<&str> = ids.into_iter().collect();
                self.target.query_everywhere(&ids, MOST).await
            }
            Search::Keys => self.target.query_places(places).await,
        };
        if !(200..300).contains(&found.answer.status) {
            return Err(Self::failed(attempt, found.answer));
        }
        let number = |stored: StoredDocument| {
            SourceDocument::named(&self.name, &stored.partition_key, &stored.id)
        };
        let documents: Vec<_> = found.documents.into_iter().map(number).collect();
        let is_too_many = by == Search::Ids && documents.len() > MOST.get() as usize;
        Ok(Existing { documents, is_too_many, charge: found.answer.charge })
    }

    async fn look(&self, place: &Place) -> Result<Looked, CosmosError> {
        let container = &self.target.container;
        let attempt = format!("looking for a document of `{}`", container.name);
        let Place { id, partition_key } = place;
        if !is_path_segment(id) {
            // No path of a request can name it.
            let found = self.target.query_key(partition_key, id, quorum()).await;
            if !(200..300).contains(&found.answer.status) {
                return Err(Self::failed(attempt, found.answer));
            }
            let exists = !found.documents.is_empty();
            return Ok(Looked { exists, lsn: None, charge: found.answer.charge });
        }
        let key = sdk_key(partition_key)
            .map_err(|error| Self::failed(attempt.clone(), answer_of(&error)))?;
        let clients = container.clients.clients(&attempt).await?;
        let options = ItemReadOptions::default().with_operation_options(quorum());
        match clients.container.read_item(key, id, Some(options)).await {
            Ok(response) => {
                let charge = response.diagnostics().total_request_charge().value();
                Ok(Looked { exists: true, lsn: None, charge })
            }
            Err(error) => {
                let answer = answer_of(&error);
                if classify(answer.status, answer.sub_status) != Class::Missing {
                    return Err(container.clients.failed(&clients, &attempt, &error).await);
                }
                let lsn = error.response().and_then(|response| response.headers().lsn);
                let lsn = lsn.and_then(|lsn| i64::try_from(lsn).ok());
                Ok(Looked { exists: false, lsn, charge: answer.charge })
            }
        }
    }
}
