//! Writes into one container with the SDK.

use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use azure_data_cosmos::diagnostics::DiagnosticsContext;
use azure_data_cosmos::feed::FeedScope;
use azure_data_cosmos::models::{PartitionKey as SdkKey, ResponseHeaders};
use azure_data_cosmos::options::{ItemWriteOptions, Precondition};
use azure_data_cosmos::{CosmosError as SdkError, CosmosStatus};
use cosmos_bridge_cosmos::{
    Answer, BatchAnswer, BulkAnswer, Class, Container, Found, FoundDocument, Operation,
    SourceDocument, Write, classify,
};
use cosmos_bridge_sink::{PartitionKey, SinkError};

use super::batch::batch_body;
use super::bulk::results;
use super::container_clients::Clients;
use super::driver::{TextWrite, WriteKind};
use super::error::answer_of;
use super::key::sdk_key;
use super::key_partitions::KeyPartitions;
use super::path_segment::is_path_segment;
use super::{ContainerHandle, CosmosError};
use crate::deliver::Partitions;
use crate::model::PartitionId;

mod answers;
mod bulk;
mod document;
mod lookup;
mod swept;

pub use swept::{SweptSource, SweptTarget};

use answers::{answer_to, broken_off, hides_attempts, is_unanswered};

/// The attempt named in an error when clients cannot be rebuilt for a write.
const WRITING: &str = "opening the target again";

/// A container that is written to.
pub struct Target {
    container: ContainerHandle,
    keys: KeyPartitions,
    /// An answer has told that a partition was divided, merged or moved, so the partitions are read again
    /// before the next request names one.
    has_moved: AtomicBool,
}

impl Target {
    pub fn new(container: ContainerHandle) -> Self {
        Self { container, keys: KeyPartitions::default(), has_moved: AtomicBool::new(false) }
    }

    /// The answer of the service, with the charge of all attempts.
    fn done(
        &self,
        status: CosmosStatus,
        headers: &ResponseHeaders,
        attempts: &DiagnosticsContext,
    ) -> Answer {
        self.note(attempts);
        Answer {
            status: u16::from(status.status_code()),
            sub_status: headers.substatus().map_or(0, |sub| u32::from(sub.value())),
            charge: attempts.total_request_charge().value(),
            retry_after: headers.retry_after(),
            message: String::new(),
            etag: headers.etag().map(ToString::to_string),
            is_unanswered: is_unanswered(attempts),
        }
    }

    /// Sends a write whose id no path can name: a batch holds the id in its body.
    async fn write_in_batch(&self, key: &PartitionKey, id: &str, write: Write<'_>) -> Answer {
        let BatchAnswer { whole, parts } = self.batch(key, &[(id, write)]).await;
        match parts.into_iter().next() {
            Some(part) => Answer {
                charge: whole.charge,
                is_unanswered: whole.is_unanswered,
                retry_after: part.retry_after.or(whole.retry_after),
                ..part
            },
            None => whole,
        }
    }

    /// Writes a document that cannot be parsed, by its text.
    async fn write_text(
        &self,
        clients: &Clients,
        (key, id): (SdkKey, &str),
        write: &Write<'_>,
        text: Vec<u8>,
    ) -> Answer {
        let kind = match write {
            Write::Create(_) => WriteKind::Create,
            Write::Upsert(_) => WriteKind::Upsert,
            Write::Replace { .. } if !is_path_segment(id) => WriteKind::Upsert,
            Write::Replace { .. } | Write::Delete { .. } => WriteKind::Replace,
        };
        let if_match = write.if_match().map(str::to_owned);
        let write = TextWrite { kind, key, id: id.to_owned(), text, if_match };
        let written = match self.container.clients.write_text(WRITING, write).await {
            Ok(written) => written,
            Err(error) => return error.answer,
        };
        let response = match written {
            Ok(response) => response,
            Err(error) => return self.failed(clients, &error).await,
        };
        self.note(&response.diagnostics());
        answer_to(&response)
    }

    async fn failed(&self, clients: &Clients, error: &SdkError) -> Answer {
        self.container.clients.check_credential(clients, error).await;
        let mut answer = answer_of(error);
        let is_unanswered = match error.diagnostics() {
            Some(attempts) => {
                self.note(&attempts);
                is_unanswered(&attempts)
            }
            // Nothing is known of the attempts.
            None => answer.status == 408 || answer.status >= 500,
        };
        answer.is_unanswered = is_unanswered || hides_attempts(&answer);
        answer
    }

    /// Logs a slow operation, and looks for a split or moved range. The SDK retries those by
    /// itself, so they only show in its diagnostics.
    fn note(&self, attempts: &DiagnosticsContext) {
        self.container.slow.note("writing", &self.container.name, attempts);
        let moved = attempts.requests().iter().any(|attempt| {
            let status = attempt.status();
            let sub_status = status.sub_status().map_or(0, |sub| u32::from(sub.value()));
            classify(u16::from(status.status_code()), sub_status) == Class::RangeMoved
        });
        if moved {
            self.keys.moved();
        }
    }
}

#[async_trait]
impl Partitions for Target {
    /// Nearly always from the cache; now and then one caller reads the partition key ranges again.
    async fn partition(&self, key: &PartitionKey) -> PartitionId {
        self.keys.of(&self.container, key).await
    }
}

#[async_trait]
impl Container for Target {
    async fn write(&self, key: &PartitionKey, id: &str, write: Write<'_>) -> Answer {
        if matches!(write, Write::Replace { .. } | Write::Delete { .. }) && !is_path_segment(id) {
            match (unparsed_text(&write), write.if_match()) {
                (None, _) => return self.write_in_batch(key, id, write).await,
                (Some(_), None) => {
                    let message = "a document that cannot be parsed cannot be replaced under an id \
                                   that no path can name";
                    return Answer {
                        status: 400,
                        message: message.to_owned(),
                        ..Answer::default()
                    };
                }
                // Below: an upsert has no id in its path, and obeys the condition, too.
                (Some(_), Some(_)) => {}
            }
        }
        let key = match sdk_key(key) {
            Ok(key) => key,
            Err(error) => return answer_of(&error),
        };
        let clients = match self.container.clients.clients(WRITING).await {
            Ok(clients) => clients,
            Err(error) => return error.answer,
        };
        let client = &clients.container;
        if let Some(text) = unparsed_text(&write) {
            return self.write_text(&clients, (key, id), &write, text).await;
        }
        let result = match write {
            Write::Upsert(content) => client.upsert_item(key, id, &content, None).await,
            Write::Create(content) => client.create_item(key, id, &content, None).await,
            Write::Replace { content, if_match } => {
                client.replace_item(key, id, &content, options(if_match)).await
            }
            Write::Delete { if_match } => client.delete_item(key, id, options(if_match)).await,
        };
        match result {
            Ok(response) => {
                self.done(response.status(), response.headers(), &response.diagnostics())
            }
            Err(error) => self.failed(&clients, &error).await,
        }
    }

    fn default_ttl(&self) -> Option<i64> {
        self.container.default_ttl()
    }

    async fn read(&self, key: &PartitionKey, ids: &[&str], field: Option<&str>) -> Found {
        self.read_ids(key, ids, field, None).await
    }

    async fn read_latest(&self, key: &PartitionKey, id: &str) -> Found {
        self.read_from_quorum(key, id).await
    }

    async fn document(&self, key: &PartitionKey, id: &str) -> FoundDocument {
        self.read_document(key, id).await
    }

    async fn copies(&self, field: &str, of: &[SourceDocument]) -> Found {
        self.query_copies(field, of).await
    }

    async fn batch(&self, key: &PartitionKey, writes: &[(&str, Write<'_>)]) -> BatchAnswer {
        let refused = |whole| BatchAnswer { whole, parts: vec![] };
        let key = match sdk_key(key) {
            Ok(key) => key,
            Err(error) => return refused(answer_of(&error)),
        };
        let clients = match self.container.clients.clients(WRITING).await {
            Ok(clients) => clients,
            Err(error) => return refused(error.answer),
        };
        let body = batch_body(writes);
        let response = match self.container.clients.write_batch(WRITING, key, body).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return refused(self.failed(&clients, &error).await),
            Err(error) => return refused(error.answer),
        };
        self.note(&response.diagnostics());
        let whole = answer_to(&response);
        let body = response.into_body().single();
        match body.ok().and_then(|body| results(&body, writes.len())) {
            Some(parts) => BatchAnswer { whole, parts },
            None => refused(broken_off(Answer { is_unanswered: true, ..whole })),
        }
    }

    async fn bulk(&self, operations: Vec<Operation<'_>>) -> BulkAnswer {
        self.write_operations(&operations).await
    }

    async fn check(&self) -> Result<(), SinkError> {
        let attempt = format!("reading container `{}`", self.container.name);
        if !self.container.is_unchanged().await? {
            let message = "it was deleted and created again since the start";
            return Err(CosmosError::invalid(attempt, message).into());
        }
        // A query without results proves the right to read data, not only metadata.
        let clients = self.container.clients.clients(&attempt).await?;
        let mut pages = clients
            .container
            .query_items::<serde_json::Value>(
                "SELECT TOP 1 c.id FROM c WHERE false",
                FeedScope::full_container(),
                None,
            )
            .await
            .map_err(|error| CosmosError::new(&attempt, &error))?;
        if let Some(Err(error)) = futures::StreamExt::next(&mut pages).await {
            return Err(CosmosError::new(&attempt, &error).into());
        }
        Ok(())
    }
}

/// The text of a document that cannot be parsed.
fn unparsed_text(write: &Write<'_>) -> Option<Vec<u8>> {
    match write {
        Write::Upsert(content) | Write::Create(content) | Write::Replace { content, .. } => {
            content.unparsed_text()
        }
        Write::Delete { .. } => None,
    }
}

fn options(if_match: Option<&str>) -> Option<ItemWriteOptions> {
    let condition = Precondition::if_match(if_match?.to_owned());
    Some(ItemWriteOptions::default().with_precondition(condition))
}

#[cfg(test)]
mod tests;
