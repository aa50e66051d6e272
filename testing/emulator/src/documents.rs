//! Requests about documents: points, batches, feeds, queries.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::account::Account;
use crate::admission::{admit, book, check_rid, scope, settle};
use crate::answer::{Answer, Refusal};
use crate::backend;
use crate::batch::{Batch, BatchOptions};
use crate::charge;
use crate::container::Container;
use crate::feed::{self, FeedRequest, Mode, Start};
use crate::listing;
use crate::patch::Patch;
use crate::query;
use crate::request::{Place, Request};
use crate::scan::scan;
use crate::write::{Action, Done, Draft};

/// Serves one request for documents.
pub async fn serve(
    account: &Account,
    request: &Request,
    place: &Place,
    kind: &str,
) -> Result<Answer, Refusal> {
    let (Place::Documents(database, id)
    | Place::Document(database, id, _)
    | Place::Partition(database, id)) = place
    else {
        return Err(Refusal::new(501, "not a place of documents"));
    };
    let container = account.container(database, id)?;
    check_rid(&container, request)?;
    let now = account.clock.now();
    match kind {
        "delete" if matches!(place, Place::Partition(..)) => {
            delete_partition(&container, request, now)
        }
        "query" => query::serve(account, &container, request).await,
        "feed" => read_many(&container, request, now),
        "batch" => outwait(|| batch(&container, request, now)).await,
        _ => outwait(|| point(&container, request, place, kind, now)).await,
    }
}

/// How long a write or a read of one document waits for a range that is being split or merged.
const MOVE_WAIT: Duration = Duration::from_secs(1);
const MOVE_POLL: Duration = Duration::from_millis(10);

/// Attempts a request until its range is not moving any more. The service's gateway waits in the same
/// way, though not for ever. A reader of a feed is sent away at once.
async fn outwait(attempt: impl Fn() -> Result<Answer, Refusal>) -> Result<Answer, Refusal> {
    let end = Instant::now() + MOVE_WAIT;
    loop {
        match attempt() {
            Err(refusal) if refusal.substatus == Some(1007) && Instant::now() < end => {
                tokio::time::sleep(MOVE_POLL).await;
            }
            outcome => return outcome,
        }
    }
}

fn point(
    container: &Container,
    request: &Request,
    place: &Place,
    kind: &str,
    now: u32,
) -> Result<Answer, Refusal> {
    let key = request.partition_key(container)?;
    let id = match place {
        Place::Document(_, _, id) => id.clone(),
        _ => String::new(),
    };
    let body = || {
        backend::to_text(request.body.clone())
            .map_err(|_| Refusal::bad_request("the body is not JSON"))
    };
    let action = match kind {
        "create" => Action::Create { body: body()? },
        "upsert" => Action::Upsert { body: body()? },
        "replace" => Action::Replace { id, body: body()? },
        "patch" => Action::Patch { id, patch: Patch::read(&body()?)? },
        "delete" => Action::Delete { id },
        _ => Action::Read { id },
    };
    let effective = match (&key, &action) {
        (Some(key), _) => container.effective_key(key)?,
        (
            None,
            Action::Create { body } | Action::Upsert { body } | Action::Replace { body, .. },
        ) => container.effective_key(&scan(body, &container.paths)?.key)?,
        (None, _) => {
            return Err(Refusal::bad_request("the x-ms-documentdb-partitionkey header is missing"));
        }
    };
    let range = container.range_of(&effective)?;
    if let Some(refused) = admit(container, &range) {
        return Ok(refused);
    }
    let reads = matches!(action, Action::Read { .. });
    let conditions = request.conditions();
    let mut store = container.store(now);
    let mut draft = Draft::new(container, &mut store, now);
    let outcome = draft.perform(action, &conditions, key.as_deref());
    let lsn = match &outcome {
        Ok(_) => draft.commit(),
        Err(_) => None,
    };
    let current = store.lsn();
    drop(store);
    let mut answer = match outcome {
        Ok(done) => render(container, &done, reads || request.wants_body()),
        Err(refusal) => refusal.into(),
    };
    answer = answer.header("lsn", lsn.unwrap_or(current).to_string());
    Ok(settle(container, answer, range, current))
}

fn render(container: &Container, done: &Done, with_body: bool) -> Answer {
    let mut answer = Answer::new(done.status, done.charge);
    answer.documents = 1;
    if let Some(version) = &done.version {
        answer = answer
            .header("etag", container.naming.etag(version))
            .header("x-ms-item-lsn", version.lsn.to_string());
        if with_body && done.status != 304 {
            let mut body = Vec::with_capacity(container.naming.size(version) + 64);
            container.naming.render(version, &mut body);
            answer = answer.bytes(body);
        }
    }
    answer
}

fn batch(container: &Container, request: &Request, now: u32) -> Result<Answer, Refusal> {
    let body: Bytes = backend::to_text(request.body.clone())
        .map_err(|_| Refusal::bad_request("the body is not JSON"))?;
    let atomic = request
        .header("x-ms-cosmos-batch-atomic")
        .is_none_or(|value| value.eq_ignore_ascii_case("true"));
    let options = BatchOptions {
        atomic,
        continue_on_error: request.flag("x-ms-cosmos-batch-continue-on-error"),
        with_bodies: request.wants_body(),
    };
    let batch = Batch::read(&body, options)?;
    let key = request.partition_key(container)?;
    let range = match (&key, request.header("x-ms-documentdb-partitionkeyrangeid")) {
        (Some(key), _) => container.range_of(&container.effective_key(key)?)?,
        (None, Some(id)) => {
            let range = container.range(id)?;
            // A bulk client grouped its operations by the ranges it knew.
            for key in batch.keys(container)? {
                if !range.keys.contains(&container.effective_key(&key)?) {
                    return Err(Refusal::new(410, "an operation belongs to another range")
                        .with_substatus(1002));
                }
            }
            range.id
        }
        (None, None) => return Err(Refusal::bad_request("the batch names no partition")),
    };
    if let Some(refused) = admit(container, &range) {
        return Ok(refused);
    }
    let answer = batch.perform(container, key.as_deref(), &range, now);
    let answer = answer.unwrap_or_else(Into::into);
    let lsn = container.store(now).lsn();
    Ok(book(container, answer, range, lsn))
}

/// Deletes every document of a logical partition, and has done so when it answers; the service does it
/// in the background and hides the documents at once.
fn delete_partition(container: &Container, request: &Request, now: u32) -> Result<Answer, Refusal> {
    let key = request.partition_key(container)?.ok_or_else(|| {
        Refusal::bad_request("the x-ms-documentdb-partitionkey header is missing")
    })?;
    let keys = container.key_range(&key)?;
    let range = container.first_range_over(&keys)?.unwrap_or_default();
    if let Some(refused) = admit(container, &range) {
        return Ok(refused);
    }
    let mut store = container.store(now);
    let addresses: Vec<_> =
        store.between(&keys, None).map(|(address, _)| Arc::clone(address)).collect();
    let mut answer = Answer::new(200, 0.0);
    for address in addresses {
        store.begin();
        if let Some(version) = store.remove(&address, false, now) {
            answer.charge += charge::delete(version.text.len());
            answer.documents += 1;
        }
    }
    let lsn = store.lsn();
    drop(store);
    Ok(settle(container, answer, range, lsn))
}

/// A page of changes, or of all documents when no change feed is asked for.
fn read_many(container: &Container, request: &Request, now: u32) -> Result<Answer, Refusal> {
    let (keys, range) = scope(container, request)?;
    if let Some(refused) = range.as_deref().and_then(|range| admit(container, range)) {
        return Ok(refused);
    }
    let Some(a_im) = request.header("a-im") else {
        let store = container.store(now);
        let answer = listing::page(container, &store, &keys, request, |version, out| {
            container.naming.render(version, out);
        })?;
        return Ok(settle(container, answer, range.unwrap_or_default(), store.lsn()));
    };
    let full = a_im.eq_ignore_ascii_case("Full-Fidelity Feed");
    let feed = FeedRequest {
        mode: if full { Mode::AllVersionsAndDeletes } else { Mode::LatestVersion },
        start: start(request)?,
        enveloped: full || request.header("x-ms-cosmos-changefeed-wire-format-version").is_some(),
        keys,
        items_max: request.items_max(),
    };
    let store = container.store(now);
    let answer = feed::page(container, &store, &feed, now).unwrap_or_else(Into::into);
    Ok(settle(container, answer, range.unwrap_or_default(), store.lsn()))
}

/// What a replica answers that has seen nothing beyond the position of a reader of the change feed. A
/// session token that names a later LSN keeps the gateway from asking such a replica, and so does a read
/// of what is committed, which asks a quorum.
pub fn stale_page(container: &Container, request: &Request) -> Option<Answer> {
    request.header("a-im")?;
    if asks_quorum(request) {
        return None;
    }
    let position = match start(request).ok()? {
        Start::After(lsn) => lsn,
        Start::Beginning => 0,
        Start::Now | Start::Time(_) => return None,
    };
    let seen = request.header("x-ms-session-token").and_then(session_lsn);
    if seen.is_some_and(|seen| seen > position) {
        return None;
    }
    let (_, range) = scope(container, request).ok()?;
    let answer = Answer::new(304, charge::feed(0)).header("etag", format!("\"{position}\""));
    Some(settle(container, answer.header("lsn", position.to_string()), range?, position))
}

/// What a replica answers that has not seen the last change of a document; likewise.
pub fn stale_read(container: &Container, request: &Request, id: &str, now: u32) -> Option<Answer> {
    if asks_quorum(request) {
        return None;
    }
    let key = request.partition_key(container).ok()??;
    let address = container.address(&key, id).ok()?;
    let range = container.range_of(&container.effective_key(&key).ok()?).ok()?;
    let store = container.store(now);
    let last = store.log.after(0).iter().rev().find(|change| *change.address == address)?;
    let seen = request.header("x-ms-session-token").and_then(session_lsn);
    if seen.is_some_and(|seen| seen >= last.lsn) {
        return None;
    }
    let answer = match &last.previous {
        Some(version) => {
            let charge = charge::read(container.naming.size(version));
            let version = Some(Arc::clone(version));
            render(container, &Done { status: 200, version, charge }, true)
        }
        None => Refusal::new(404, "the document does not exist").into(),
    };
    let before = last.lsn - 1;
    Some(settle(container, answer.header("lsn", before.to_string()), range, before))
}

/// True if a request is for what is committed, which a quorum of replicas has.
fn asks_quorum(request: &Request) -> bool {
    let strategy = request.header("x-ms-cosmos-read-consistency-strategy").unwrap_or_default();
    ["LatestCommitted", "GlobalStrong"].iter().any(|one| strategy.eq_ignore_ascii_case(one))
}

/// The LSN in a session token, `range:version#lsn#region=lsn`.
fn session_lsn(token: &str) -> Option<u64> {
    token.split('#').nth(1)?.parse().ok()
}

fn start(request: &Request) -> Result<Start, Refusal> {
    if let Some(token) = request.header("if-none-match").or(request.header("x-ms-continuation")) {
        return if token == "*" {
            Ok(Start::Now)
        } else {
            feed::read_continuation(token).map(Start::After)
        };
    }
    let Some(date) = request.header("if-modified-since") else { return Ok(Start::Beginning) };
    let time = httpdate::parse_http_date(date)
        .map_err(|_| Refusal::bad_request("If-Modified-Since is not a date"))?;
    let seconds = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(Start::Time(seconds))
}
