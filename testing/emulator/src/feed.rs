//! The change feed, answered from the log.

use serde_json::{Value, json};

use crate::answer::{Answer, Refusal};
use crate::charge;
use crate::container::Container;
use crate::document::Version;
use crate::images::Images;
use crate::log::{Change, Operation};
use crate::scan::scan;
use crate::store::{KeyRange, Store};

/// Items in a page when the request does not say.
const PAGE_ITEMS_DEFAULT: usize = 100;

/// Bytes in a page, unless one transaction is larger.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Which changes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    LatestVersion,
    AllVersionsAndDeletes,
}

/// Where reading starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Beginning,
    Now,
    /// Unix seconds.
    Time(u64),
    /// The LSN of a continuation.
    After(u64),
}

/// One request for a page of changes.
#[derive(Debug)]
pub struct FeedRequest {
    pub mode: Mode,
    pub start: Start,
    /// Whether items come as `current`, `previous` and `metadata`.
    pub enveloped: bool,
    pub keys: KeyRange,
    pub items_max: Option<usize>,
}

/// Reads a continuation: a number, usually in quotes.
pub fn read_continuation(text: &str) -> Result<u64, Refusal> {
    let number = text.trim().trim_start_matches("W/").trim_matches('"');
    number.parse().map_err(|_| Refusal::bad_request("the continuation is not one of this feed"))
}

/// Answers with the next page, or 304 when there is nothing new.
pub fn page(
    container: &Container,
    store: &Store,
    request: &FeedRequest,
    now: u32,
) -> Result<Answer, Refusal> {
    let after = position(store, request, now)?;
    let items_max = request.items_max.unwrap_or(PAGE_ITEMS_DEFAULT);
    let images = container.images();
    let mut items = Vec::new();
    let mut body = envelope_start(container);
    let mut continuation = store.lsn();
    let mut transaction = None;
    for change in store.log.after(after) {
        if !visible(change, request) {
            continue;
        }
        let in_transaction = transaction == Some(change.lsn);
        if !in_transaction && (items.len() >= items_max || body.len() >= PAGE_BYTES_MAX) {
            // Everything below this change has been read.
            continuation = change.lsn - 1;
            break;
        }
        let before = body.len();
        if !items.is_empty() {
            body.push(b',');
        }
        render(container, &images, change, request, &mut body);
        if body.len() > PAGE_BYTES_MAX && !items.is_empty() && !in_transaction {
            body.truncate(before);
            continuation = change.lsn - 1;
            break;
        }
        transaction = Some(change.lsn);
        items.push(change.lsn);
    }
    let answer = if items.is_empty() {
        Answer::new(304, charge::feed(0))
    } else {
        body.extend_from_slice(format!("],\"_count\":{}}}", items.len()).as_bytes());
        let mut answer = Answer::new(200, charge::feed(body.len()))
            .header("x-ms-item-count", items.len().to_string());
        answer.documents = items.len();
        answer.bytes(body)
    };
    Ok(answer.header("etag", format!("\"{continuation}\"")).header("lsn", store.lsn().to_string()))
}

fn envelope_start(container: &Container) -> Vec<u8> {
    format!("{{\"_rid\":\"{}\",\"Documents\":[", container.rid).into_bytes()
}

/// The LSN to read above, if that is allowed.
fn position(store: &Store, request: &FeedRequest, now: u32) -> Result<u64, Refusal> {
    if request.mode == Mode::AllVersionsAndDeletes {
        if store.log.retention().is_none() {
            return Err(Refusal::bad_request(
                "the container keeps no history; all versions and deletes cannot be read",
            ));
        }
        if matches!(request.start, Start::Beginning | Start::Time(_)) {
            return Err(Refusal::bad_request(
                "all versions and deletes can be read only from now or from a continuation",
            ));
        }
    }
    let after = match request.start {
        Start::Beginning => 0,
        Start::Now => store.lsn(),
        Start::Time(seconds) => store.log.before_time(seconds).unwrap_or(store.lsn()),
        Start::After(lsn) => lsn,
    };
    if request.mode == Mode::AllVersionsAndDeletes && !store.log.knows_all_after(after, now) {
        return Err(Refusal::bad_request(
            "the continuation is older than the retention of all versions and deletes",
        ));
    }
    Ok(after)
}

fn visible(change: &Change, request: &FeedRequest) -> bool {
    let latest_only = request.mode == Mode::LatestVersion;
    if latest_only && (change.superseded || change.operation == Operation::Delete) {
        return false;
    }
    request.keys.contains(&change.address.key)
}

fn render(
    container: &Container,
    images: &Images,
    change: &Change,
    request: &FeedRequest,
    out: &mut Vec<u8>,
) {
    let naming = &container.naming;
    let full = request.mode == Mode::AllVersionsAndDeletes;
    if !full && !request.enveloped {
        if let Some(version) = &change.current {
            naming.render_with_lsn(version, out);
        }
        return;
    }
    out.push(b'{');
    if let Some(version) = &change.current {
        out.extend_from_slice(b"\"current\":");
        naming.render(version, out);
        out.push(b',');
    } else if let Some(left) = images.current_of_delete(change) {
        out.extend_from_slice(format!("\"current\":{left},").as_bytes());
    }
    let previous = images.previous(change).filter(|_| full);
    if let Some(previous) = previous {
        out.extend_from_slice(b"\"previous\":");
        images.render(naming, previous, out);
        out.push(b',');
    }
    out.extend_from_slice(b"\"metadata\":");
    out.extend_from_slice(metadata(container, change, previous, full).to_string().as_bytes());
    out.push(b'}');
}

fn metadata(
    container: &Container,
    change: &Change,
    previous: Option<&Version>,
    full: bool,
) -> Value {
    let mut metadata = json!({"lsn": change.lsn, "crts": change.at});
    if !full {
        return metadata;
    }
    metadata["operationType"] = match change.operation {
        Operation::Create => "create",
        Operation::Replace => "replace",
        Operation::Delete => "delete",
    }
    .into();
    if let Some(previous) = previous {
        metadata["previousImageLSN"] = previous.lsn.into();
    }
    if change.operation == Operation::Delete {
        metadata["timeToLiveExpired"] = change.expired.into();
        metadata["id"] = change.address.id.as_ref().into();
        metadata["partitionKey"] = partition_key(container, change);
    }
    metadata
}

/// The partition key of a deleted document, one value per path.
fn partition_key(container: &Container, change: &Change) -> Value {
    let Some(previous) = &change.previous else { return Value::Null };
    let mut text = previous.text.to_vec();
    text.push(b'}');
    let scanned = scan(&text, &container.paths);
    scanned.map_or(Value::Null, |scanned| {
        scanned.key.iter().map(crate::key::KeyValue::to_json).collect()
    })
}
