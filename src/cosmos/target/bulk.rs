//! Writes of different partition keys, in one request for each physical partition.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use azure_data_cosmos::CosmosError as SdkError;
use azure_data_cosmos::feed::FeedRange;
use azure_data_cosmos_driver::models::CosmosResponse;
use cosmos_bridge_cosmos::{Answer, BulkAnswer, Operation, classify};
use futures::future::join_all;

use super::answers::{INCOMPLETE, answer_to, broken_off, is_moved};
use super::{Target, WRITING};
use crate::cosmos::bulk::{Request, Requests, range_of, results};
use crate::cosmos::container_clients::Partitioned;
use crate::cosmos::key::sdk_key;

impl Target {
    /// Operations whose partition is not known, and those of a request that was refused as a whole, have no
    /// answer.
    pub(super) async fn write_operations(&self, operations: &[Operation<'_>]) -> BulkAnswer {
        let mut answer = BulkAnswer { requests: vec![], parts: vec![None; operations.len()] };
        let refresh = self.has_moved.swap(false, Relaxed);
        let partitioned = match self.container.clients.partitions(WRITING, refresh).await {
            Ok(partitioned) => partitioned,
            Err(error) => {
                answer.parts = vec![Some(error.answer.clone()); operations.len()];
                answer.requests = vec![error.answer];
                return answer;
            }
        };
        let partitioned = &partitioned;
        let sent = divide(operations, partitioned).into_iter().map(|(range, mut request)| {
            let indexes = std::mem::take(&mut request.positions);
            async move {
                let body = request.into_body();
                (self.send(partitioned, range, body, indexes.len()).await, indexes)
            }
        });
        for ((request, parts), indexes) in join_all(sent).await {
            for (index, part) in indexes.into_iter().zip(parts) {
                answer.parts[index] = part;
            }
            answer.requests.push(request);
        }
        answer
    }

    /// The answer to one request, and those to its operations.
    async fn send(
        &self,
        partitioned: &Partitioned,
        range: &str,
        body: Vec<u8>,
        count: usize,
    ) -> (Answer, Vec<Option<Answer>>) {
        let sent = self.container.clients.write_bulk(WRITING, partitioned, range, body).await;
        let (whole, parts) = match sent {
            Ok(sent) => self.read(partitioned, sent, count).await,
            Err(error) => (error.answer, None),
        };
        let is_unanswered = whole.is_unanswered;
        let is_transient = classify(whole.status, whole.sub_status).cause().is_some();
        let parts: Vec<_> = match parts {
            Some(parts) => {
                parts.into_iter().map(|part| Some(Answer { is_unanswered, ..part })).collect()
            }
            // One of its operations caused the refusal, or its answer has an unexpected form. Each is sent alone,
            // unless an earlier attempt may still be executed: then all are first answered as lost.
            None if !is_transient && !is_unanswered => vec![None; count],
            None if !is_transient => {
                let (status, sub_status) = INCOMPLETE;
                vec![Some(Answer { status, sub_status, ..whole.clone() }); count]
            }
            None => vec![Some(whole.clone()); count],
        };
        if parts.iter().flatten().chain([&whole]).any(is_moved) {
            self.has_moved.store(true, Relaxed);
            self.keys.moved();
        }
        (whole, parts)
    }

    async fn read(
        &self,
        partitioned: &Partitioned,
        sent: Result<CosmosResponse, SdkError>,
        count: usize,
    ) -> (Answer, Option<Vec<Answer>>) {
        let response = match sent {
            Ok(response) => response,
            Err(error) => return (self.failed(&partitioned.clients, &error).await, None),
        };
        self.note(&response.diagnostics());
        let whole = answer_to(&response);
        if let Ok(body) = response.into_body().single() {
            return (whole, results(&body, count));
        }
        (broken_off(whole), None)
    }
}

/// The requests to send, with the partition of each, in order.
fn divide<'p>(
    operations: &[Operation<'_>],
    partitioned: &'p Partitioned,
) -> Vec<(&'p str, Request)> {
    let definition = partitioned.container.partition_key_definition();
    let mut by_range: BTreeMap<&str, Requests> = BTreeMap::new();
    for (index, operation) in operations.iter().enumerate() {
        let Ok(key) = sdk_key(operation.partition_key) else { continue };
        let key = FeedRange::for_partition(key, definition);
        if let Some(range) = range_of(&partitioned.ranges, &key) {
            by_range.entry(range).or_default().add(index, operation);
        }
    }
    let requests = by_range.into_iter();
    requests.flat_map(|(range, all)| all.into_iter().map(move |one| (range, one))).collect()
}

#[cfg(test)]
mod tests;
