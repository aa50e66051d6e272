//! Requests that hold writes of many partition keys, as the vendor's bulk clients send them.
//!
//! The SDK has only batches of one key whose writes are all made or none. What the service needs for the
//! other kind is here: the headers, the body, its limits, and how to read the results. `driver.rs` sends
//! it. When the SDK supports bulk, this file and its two callers go.

use azure_data_cosmos::feed::FeedRange;
use azure_data_cosmos_driver::models::partition_key_range::PartitionKeyRange;
use cosmos_bridge_cosmos::{Answer, Operation, OperationKind};
use cosmos_bridge_sink::json_text;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use std::time::Duration;

/// The most operations that the service accepts in one request.
pub(super) const OPERATIONS_MAX: usize = 100;

/// The most bytes that the service accepts in the body of one request.
pub(super) const BYTES_MAX: usize = 2 * 1024 * 1024;

/// The header that names the physical partition of all operations.
pub(super) const RANGE_HEADER: &str = "x-ms-documentdb-partitionkeyrangeid";

/// What makes a request one whose operations each have their own result.
pub(super) const HEADERS: [(&str, &str); 3] = [
    ("x-ms-cosmos-is-batch-request", "True"),
    ("x-ms-cosmos-batch-atomic", "False"),
    ("x-ms-cosmos-batch-continue-on-error", "True"),
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    operation_type: &'static str,
    /// JSON as text.
    partition_key: String,
    /// A document that is created tells its id itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    if_match: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_body: Option<&'a RawValue>,
}

/// One operation as part of a body; `None` if it cannot be text.
pub(super) fn encode(operation: &Operation) -> Option<Vec<u8>> {
    let Operation { kind, partition_key, id, document, if_match } = operation;
    let (operation_type, names_id) = match kind {
        OperationKind::Create => ("Create", false),
        OperationKind::Upsert => ("Upsert", false),
        OperationKind::Replace => ("Replace", true),
        OperationKind::Delete => ("Delete", true),
    };
    let values = partition_key.0.iter().map(cosmos_bridge_sink::KeyValue::to_json);
    let entry = Entry {
        operation_type,
        partition_key: json_text(&serde_json::Value::Array(values.collect())),
        id: names_id.then_some(id),
        if_match: if_match.as_deref(),
        resource_body: document.as_deref(),
    };
    serde_json::to_vec(&entry).ok()
}

/// The body of a request with these operations.
pub(super) fn body<'a>(operations: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut body = vec![b'['];
    for operation in operations {
        if body.len() > 1 {
            body.push(b',');
        }
        body.extend_from_slice(operation);
    }
    body.push(b']');
    body
}

/// Divides operations into requests, in order: by the bytes of each, the positions in each request. An
/// operation that is too large for a request is in none.
pub(super) fn requests(bytes: &[usize]) -> Vec<Vec<usize>> {
    let mut requests: Vec<Vec<usize>> = Vec::new();
    // Of the last body, with its brackets and commas.
    let mut used = BYTES_MAX;
    for (position, bytes) in bytes.iter().enumerate().filter(|(_, bytes)| **bytes + 2 <= BYTES_MAX)
    {
        match requests.last_mut() {
            Some(last) if last.len() < OPERATIONS_MAX && used + bytes < BYTES_MAX => {
                last.push(position);
                used += bytes + 1;
            }
            _ => {
                requests.push(vec![position]);
                used = bytes + 2;
            }
        }
    }
    requests
}

/// The id of the physical partition of a key; `ranges` are those of the container, in order. `None` if
/// the key is not in exactly one of them.
pub(super) fn range_of<'r>(ranges: &'r [PartitionKeyRange], key: &FeedRange) -> Option<&'r str> {
    let key = (key.min_inclusive() == key.max_exclusive()).then(|| key.min_inclusive())?;
    let after = ranges.partition_point(|range| range.min_inclusive <= *key);
    let range = ranges.get(after.checked_sub(1)?)?;
    (*key < range.max_exclusive).then_some(&range.id)
}

/// The result of one operation, as the service states it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OperationResult {
    status_code: u16,
    #[serde(default)]
    sub_status_code: Option<u32>,
    #[serde(default)]
    request_charge: Option<f64>,
    #[serde(rename = "eTag", default)]
    etag: Option<String>,
    #[serde(default)]
    retry_after_milliseconds: Option<u64>,
}

/// The results in the body of an answer; `None` if it does not have one for each of `count` operations.
pub(super) fn results(body: &[u8], count: usize) -> Option<Vec<Answer>> {
    let results: Vec<OperationResult> = serde_json::from_slice(body).ok()?;
    let answer = |result: OperationResult| Answer {
        status: result.status_code,
        sub_status: result.sub_status_code.unwrap_or_default(),
        charge: result.request_charge.unwrap_or_default(),
        retry_after: result.retry_after_milliseconds.map(Duration::from_millis),
        etag: result.etag,
        ..Answer::default()
    };
    (results.len() == count).then(|| results.into_iter().map(answer).collect())
}

#[cfg(test)]
mod tests;
