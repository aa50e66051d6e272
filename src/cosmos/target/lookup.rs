//! Reads of what the target has.

use std::num::NonZeroU32;

use azure_data_cosmos::feed::FeedScope;
use azure_data_cosmos::options::{
    ItemReadOptions, MaxItemCountHint, OperationOptions, OperationOptionsBuilder, QueryOptions,
    ReadConsistencyStrategy,
};
use azure_data_cosmos::{CosmosError as SdkError, Query};
use cosmos_bridge_cosmos::{Answer, Class, Found, SourceDocument, StoredDocument, classify};
use cosmos_bridge_sink::{Document, KeyValue, PartitionKey, Place};
use futures::StreamExt;
use serde::Serialize;
use serde_json::Value;

use super::super::error::answer_of;
use super::super::key::sdk_key;
use super::super::path_segment::is_path_segment;
use super::{Target, WRITING};
use crate::config::Path;

/// Asks for the last write that was answered, which one replica may not have.
pub(super) fn quorum() -> OperationOptions {
    OperationOptionsBuilder::new()
        .with_read_consistency_strategy(ReadConsistencyStrategy::LatestCommitted)
        .build()
}

impl Target {
    /// Reads documents of one partition key by their ids.
    pub(super) async fn read_ids(
        &self,
        key: &PartitionKey,
        ids: &[&str],
        field: Option<&str>,
        options: Option<OperationOptions>,
    ) -> Found {
        match ids {
            [id] if is_path_segment(id) => self.read_item(key, id, field, options).await,
            _ => self.query_ids(key, ids, field, options).await,
        }
    }

    /// Reads one document as a quorum of replicas has it.
    pub(super) async fn read_from_quorum(&self, key: &PartitionKey, id: &str) -> Found {
        self.read_ids(key, &[id], None, Some(quorum())).await
    }

    /// Reads one document, whose id the path of a request can name.
    async fn read_item(
        &self,
        key: &PartitionKey,
        id: &str,
        field: Option<&str>,
        options: Option<OperationOptions>,
    ) -> Found {
        let sdk_key = match sdk_key(key) {
            Ok(key) => key,
            Err(error) => return failed(answer_of(&error)),
        };
        let clients = match self.container.clients.clients(WRITING).await {
            Ok(clients) => clients,
            Err(error) => return failed(error.answer),
        };
        let options =
            options.map(|options| ItemReadOptions::default().with_operation_options(options));
        let response = match clients.container.read_item(sdk_key, id, options).await {
            Ok(response) => response,
            Err(error) => {
                let answer = self.failed(&clients, &error).await;
                let is_missing = classify(answer.status, answer.sub_status) == Class::Missing;
                let status = if is_missing { 200 } else { answer.status };
                return failed(Answer { status, ..answer });
            }
        };
        let answer = self.done(response.status(), response.headers(), &response.diagnostics());
        let version = field.and_then(|field| {
            let text = response.into_body().single().ok()?;
            let mut document = Document::parse(&text).ok()?;
            serde_json::from_value(document.remove(field)?).ok()
        });
        let etag = answer.etag.clone().unwrap_or_default();
        let (id, partition_key) = (id.to_owned(), key.clone());
        let documents = vec![StoredDocument { id, partition_key, etag, version }];
        Found { answer, requests: 1, documents }
    }

    /// Finds documents of one partition key by their ids.
    async fn query_ids(
        &self,
        key: &PartitionKey,
        ids: &[&str],
        field: Option<&str>,
        options: Option<OperationOptions>,
    ) -> Found {
        let sdk_key = match sdk_key(key) {
            Ok(key) => key,
            Err(error) => return failed(answer_of(&error)),
        };
        let text = self.select(field, "c.id", ids.len());
        let query = with_parameters(&text, ids.iter().copied());
        let options =
            options.map(|options| QueryOptions::default().with_operation_options(options));
        self.query(query, FeedScope::partition(sdk_key), options).await
    }

    /// Finds the copies of source documents, wherever they are.
    pub(super) async fn query_copies(&self, field: &str, of: &[SourceDocument]) -> Found {
        let text = self.select(Some(field), &format!("{}.document", member(field)), of.len());
        let query = with_parameters(&text, of.iter().map(SourceDocument::to_string));
        // A replica may not have the write of a moment ago, by a process that has ended: its copy would
        // stay for ever.
        let options = QueryOptions::default().with_operation_options(quorum());
        self.query(query, FeedScope::full_container(), Some(options)).await
    }

    /// Finds the documents with these ids, of all partition keys, as a replica has them; not all of them if they are
    /// more than `most`, but more than that.
    pub(super) async fn query_everywhere(&self, ids: &[&str], most: NonZeroU32) -> Found {
        let text = self.select(None, "c.id", ids.len());
        let query = with_parameters(&text, ids.iter().copied());
        let options = QueryOptions::default().with_max_item_count(MaxItemCountHint::Limit(most));
        let most = usize::try_from(most.get()).unwrap_or(usize::MAX);
        self.query_some(query, FeedScope::full_container(), Some(options), most).await
    }

    /// Finds the documents with these keys and ids, as a replica has them.
    pub(super) async fn query_places(&self, places: &[Place]) -> Found {
        let (condition, values) = places_condition(&self.key_paths(), places);
        let text = format!("{} WHERE {condition}", self.select_from(None));
        let query = with_parameters(&text, values.into_iter());
        self.query(query, FeedScope::full_container(), None).await
    }

    /// Finds one document by a query, for ids that no path can name.
    pub(super) async fn query_key(
        &self,
        key: &PartitionKey,
        id: &str,
        options: OperationOptions,
    ) -> Found {
        self.query_ids(key, &[id], None, Some(options)).await
    }

    /// A query for what identifies a document. Its conditions are the parameters `@p0`, `@p1`, and so on.
    fn select(&self, field: Option<&str>, condition: &str, parameters: usize) -> String {
        let names: Vec<_> = (0..parameters).map(|number| format!("@p{number}")).collect();
        format!("{} WHERE {condition} IN ({})", self.select_from(field), names.join(", "))
    }

    fn select_from(&self, field: Option<&str>) -> String {
        let keys = self
            .key_paths()
            .into_iter()
            .enumerate()
            .map(|(level, path)| format!(", {} AS k{level}", member_at(&path)));
        let keys = keys.collect::<Vec<_>>().concat();
        let version = field.map_or(String::new(), |field| format!(", {} AS v", member(field)));
        format!("SELECT c.id, c._etag AS e{keys}{version} FROM c")
    }

    pub(super) fn key_paths(&self) -> Vec<Path> {
        self.container.key_paths.iter().filter_map(|path| Path::parse(path)).collect()
    }

    async fn query(
        &self,
        query: Result<Query, SdkError>,
        scope: FeedScope,
        options: Option<QueryOptions>,
    ) -> Found {
        self.query_some(query, scope, options, usize::MAX).await
    }

    /// Ends with the page in which there are more than `most`.
    async fn query_some(
        &self,
        query: Result<Query, SdkError>,
        scope: FeedScope,
        options: Option<QueryOptions>,
        most: usize,
    ) -> Found {
        let query = match query {
            Ok(query) => query,
            Err(error) => return failed(answer_of(&error)),
        };
        let clients = match self.container.clients.clients(WRITING).await {
            Ok(clients) => clients,
            Err(error) => return failed(error.answer),
        };
        let mut found = Found::default();
        let rows = match clients.container.query_items::<Document>(query, scope, options).await {
            Ok(rows) => rows,
            Err(error) => return failed(self.failed(&clients, &error).await),
        };
        let mut pages = rows.into_pages();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    let mut answer = self.failed(&clients, &error).await;
                    answer.charge += found.answer.charge;
                    return failed(answer);
                }
            };
            let attempts = page.diagnostics();
            self.note(&attempts);
            found.answer.charge += attempts.total_request_charge().value();
            found.requests += attempts.requests().len();
            let stored = |row| stored(row, self.container.key_paths.len());
            found.documents.extend(page.into_items().into_iter().filter_map(stored));
            if found.documents.len() > most {
                break;
            }
        }
        found.answer.status = 200;
        found
    }
}

fn failed(answer: Answer) -> Found {
    Found { answer, requests: 1, documents: Vec::new() }
}

/// A member of the document, of any name.
pub(super) fn member(name: &str) -> String {
    format!("c{}", quoted(name))
}

/// Names may hold what is a word of the query language.
fn quoted(name: &str) -> String {
    format!("[{}]", Value::from(name))
}

/// A condition for documents with these keys and ids, and the values of its parameters.
fn places_condition(paths: &[Path], places: &[Place]) -> (String, Vec<Value>) {
    let mut values = Vec::new();
    let mut equal = |member: &str, value: Value| {
        values.push(value);
        format!("{member} = @p{}", values.len() - 1)
    };
    let alternatives = places.iter().map(|place| {
        let mut all = vec![equal("c.id", place.id.as_str().into())];
        for (path, value) in paths.iter().zip(&place.partition_key.0) {
            let member = member_at(path);
            all.push(match value {
                KeyValue::Undefined => format!("NOT IS_DEFINED({member})"),
                value => equal(&member, value.to_json()),
            });
        }
        format!("({})", all.join(" AND "))
    });
    let condition = alternatives.collect::<Vec<_>>().join(" OR ");
    (condition, values)
}

/// A field of the document.
pub(super) fn member_at(path: &Path) -> String {
    let names = path.segments().iter().map(|name| quoted(name));
    format!("c{}", names.collect::<Vec<_>>().concat())
}

fn with_parameters<V: Serialize>(
    text: &str,
    values: impl Iterator<Item = V>,
) -> Result<Query, SdkError> {
    let start = Query::from(text);
    let numbered = values.enumerate();
    numbered.into_iter().try_fold(start, |query, (number, value)| {
        query.with_parameter(format!("@p{number}"), value)
    })
}

/// The document of a row; none if the row has no id, which the service does not answer.
pub(super) fn stored(mut row: Document, levels: usize) -> Option<StoredDocument> {
    let (Value::String(id), Value::String(etag)) = (row.remove("id")?, row.remove("e")?) else {
        return None;
    };
    let level = |level| row.get(&format!("k{level}"));
    let key = |at| KeyValue::from_json(level(at).as_ref()).unwrap_or(KeyValue::Undefined);
    let partition_key = PartitionKey((0..levels).map(key).collect());
    let version = row.get("v").and_then(|version| serde_json::from_value(version).ok());
    Some(StoredDocument { id, partition_key, etag, version })
}
