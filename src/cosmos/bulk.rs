//! Requests that hold writes of many partition keys, as the vendor's bulk clients send them.
//!
//! The SDK has only batches of one key whose writes are all made or none. What the service needs for the
//! other kind is here: the headers, the body, its limits, and how to read the results. `driver.rs` sends
//! it. When the SDK supports bulk, this file and its two callers go.

use azure_data_cosmos::feed::FeedRange;
use azure_data_cosmos_driver::models::partition_key_range::PartitionKeyRange;
use cosmos_bridge_cosmos::{Answer, Content, Operation, OperationKind};
use cosmos_bridge_sink::json_text;
use serde::{Deserialize, Serialize};

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

/// An operation without its document.
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
}

impl<'a> Entry<'a> {
    fn of(operation: &'a Operation<'_>) -> Self {
        let Operation { kind, partition_key, id, if_match, .. } = operation;
        let (operation_type, names_id) = match kind {
            OperationKind::Create => ("Create", false),
            OperationKind::Upsert => ("Upsert", false),
            OperationKind::Replace => ("Replace", true),
            OperationKind::Delete => ("Delete", true),
        };
        let values = partition_key.0.iter().map(cosmos_bridge_sink::KeyValue::to_json);
        Self {
            operation_type,
            partition_key: json_text(&serde_json::Value::Array(values.collect())),
            id: names_id.then_some(*id),
            if_match: if_match.as_deref(),
        }
    }
}

/// Appends an operation, with the text of its document, to a body.
pub(super) fn append_operation(
    body: &mut Vec<u8>,
    entry: &impl Serialize,
    content: Option<&Content<'_>>,
) {
    // Texts always have a JSON text, and a vector accepts it.
    drop(serde_json::to_writer(&mut *body, entry));
    if let Some(content) = content {
        // The closing brace.
        body.pop();
        body.extend_from_slice(b",\"resourceBody\":");
        content.append_text(body);
        body.push(b'}');
    }
}

/// The requests to one physical partition. Each operation is written once, into the body of its request.
#[derive(Debug, Default)]
pub(super) struct Requests(Vec<Request>);

#[derive(Debug, Default)]
pub(super) struct Request {
    /// An array of operations; its last bracket comes at the end.
    body: Vec<u8>,
    /// Where its operations are among those of the caller.
    pub(super) positions: Vec<usize>,
}

impl Requests {
    /// Adds the operation at a position, in a request with those before it or in the next one. An operation
    /// that is too large for a request is in none.
    pub(super) fn add(&mut self, position: usize, operation: &Operation<'_>) {
        let is_full = |last: &Request| last.positions.len() == OPERATIONS_MAX;
        let mut request = self.0.pop_if(|last| !is_full(last)).unwrap_or_default();
        let next = request.add(position, operation);
        let all = [Some(request), next].into_iter().flatten();
        self.0.extend(all.filter(|request| !request.positions.is_empty()));
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = Request> {
        self.0.into_iter()
    }
}

impl Request {
    /// Adds an operation. Returns the request that it begins, if it does not fit here.
    fn add(&mut self, position: usize, operation: &Operation<'_>) -> Option<Self> {
        let before = self.body.len();
        self.body.push(if before == 0 { b'[' } else { b',' });
        append_operation(&mut self.body, &Entry::of(operation), operation.content.as_ref());
        // One byte is left for the last bracket.
        if self.body.len() < BYTES_MAX {
            self.positions.push(position);
            return None;
        }
        let mut body = self.body.split_off(before);
        if before == 0 || body.len() >= BYTES_MAX {
            return None;
        }
        if let Some(first) = body.first_mut() {
            *first = b'[';
        }
        Some(Self { body, positions: vec![position] })
    }

    pub(super) fn into_body(mut self) -> Vec<u8> {
        self.body.push(b']');
        self.body
    }
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
