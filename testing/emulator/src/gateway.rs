//! The order in which a request is treated: key, faults, throughput, the operation, its cost.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use percent_encoding::{AsciiSet, CONTROLS};
use tokio::sync::watch;

use crate::account::Account;
use crate::answer::{Answer, Refusal};
use crate::documents;
use crate::fault::{AnsweredBy, DropWhen, Effect, Target};
use crate::metadata;
use crate::request::{Place, Request};
use crate::rids;
use crate::serve::{Handler, Outcome};
use crate::stats::Moment;
use crate::usage::client_of;

/// What is percent-encoded in the name of a container in a header, besides all that is not ASCII.
const UNSAFE_IN_OWNER: AsciiSet = CONTROLS.add(b'%').add(b'+').add(b'/');

/// Serves one request.
pub async fn serve(account: &Account, mut request: Request) -> Outcome {
    if let Some(path) = rids::to_names(account, &request.path).await {
        request.path = path;
    }
    let place = request.place();
    let kind = kind(&request, &place);
    account.recorder.note(kind, &request);
    let (database, container) = match &place {
        Place::Container(database, id)
        | Place::Ranges(database, id)
        | Place::Documents(database, id)
        | Place::Partition(database, id)
        | Place::Document(database, id, _) => (Some(database.as_str()), Some(id.as_str())),
        Place::Database(database) | Place::Listing(Some(database)) => {
            (Some(database.as_str()), None)
        }
        _ => (None, None),
    };
    let is_offer = matches!(place, Place::Offers | Place::Offer(_));
    let range = touched_range(account, &request, database.zip(container));
    let target = Target {
        account: &account.name,
        database,
        container,
        operation: if is_offer { "offers" } else { kind },
        range: range.as_deref(),
        client: client_of(&request.headers),
    };
    let effect = account.faults.meet(target).unwrap_or_default();
    let is_answered = account.regions.answers(request.region.as_deref());
    if !is_answered || effect.offline || effect.drop == Some(DropWhen::Before) {
        return Outcome::Closed;
    }
    if let Some(delay) = effect.delay_ms {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let stale =
        || effect.stale.then(|| stale(account, &request, &place, database.zip(container)))?;
    let mut answer = match refuse(&effect, range.as_deref()).or_else(stale) {
        Some(answer) => answer,
        None => answer(account, &request, &place, kind).await,
    };
    if let Some((database, id)) = database.zip(container).filter(|_| !answer.intermediary) {
        answer = with_owner(account, answer, &place, (database, id));
    }
    if effect.miscount {
        answer.body = miscounted(&answer.body).unwrap_or(answer.body);
    }
    count(account, container.zip(database), kind, &request, &answer);
    if effect.drop == Some(DropWhen::After) {
        return Outcome::Closed;
    }
    if effect.truncate { Outcome::Truncated(answer) } else { Outcome::Answered(answer) }
}

/// A page that states one change more than it has.
fn miscounted(page: &[u8]) -> Option<Bytes> {
    let page = std::str::from_utf8(page).ok()?;
    let (changes, count) = page.rsplit_once("\"_count\":")?;
    let count: usize = count.strip_suffix('}')?.parse().ok()?;
    Some(format!("{changes}\"_count\":{}}}", count + 1).into())
}

/// Says whose resource an answer is about, as clients need it that keep sessions or a change feed's
/// place by container. The owner of a container is its database.
fn with_owner(
    account: &Account,
    answer: Answer,
    place: &Place,
    (database, id): (&str, &str),
) -> Answer {
    let Ok(container) = account.container(database, id) else { return answer };
    let name = |name| percent_encoding::utf8_percent_encode(name, &UNSAFE_IN_OWNER);
    let owner = format!("dbs/{}", name(database));
    if matches!(place, Place::Container(..)) {
        return answer
            .header("x-ms-alt-content-path", owner)
            .header("x-ms-content-path", rids::database_of(&container.rid));
    }
    let path = format!("{owner}/colls/{}", name(&container.id));
    answer.header("x-ms-alt-content-path", path).header("x-ms-content-path", container.rid.clone())
}

/// The physical range a request names, or the first that its partition key or keys belong to.
fn touched_range(
    account: &Account,
    request: &Request,
    container: Option<(&str, &str)>,
) -> Option<String> {
    if account.faults.is_empty() {
        return None;
    }
    if let Some(id) = request.header("x-ms-documentdb-partitionkeyrangeid") {
        // Older clients write the container's rid before the id.
        return id.rsplit(',').next().map(str::to_owned);
    }
    let (database, id) = container?;
    let container = account.container(database, id).ok()?;
    let keys = match request.partition_key(&container).ok()? {
        Some(key) => container.key_range(&key).ok()?,
        None => request.keys_named().ok()??,
    };
    container.ranges().into_iter().find(|range| range.keys.overlaps(&keys)).map(|range| range.id)
}

async fn answer(account: &Account, request: &Request, place: &Place, kind: &'static str) -> Answer {
    let date = request.header("x-ms-date").or_else(|| request.header("date"));
    let checked = account.credentials.check(
        request.header("authorization"),
        request.method.as_str(),
        &request.signed_path,
        date.unwrap_or_default(),
    );
    let admitted = || account.regions.admit(request.region.as_deref(), writes(request, kind));
    if let Err(refusal) = checked.and_then(|()| admitted()) {
        return refusal.into();
    }
    let outcome = match place {
        Place::Documents(..) | Place::Document(..) | Place::Partition(..) => {
            documents::serve(account, request, place, kind).await
        }
        _ => metadata::serve(account, request, place).await,
    };
    outcome.unwrap_or_else(Into::into)
}

/// The answer that a fault puts in place of the real one. It has the charge of a real refusal, so
/// that a client can settle its budget with it; no bucket is charged.
fn refuse(effect: &Effect, range: Option<&str>) -> Option<Answer> {
    let status = effect.status?;
    if effect.by == AnsweredBy::Intermediary {
        let page = "<html><head><title>Access denied</title></head><body>Blocked.</body></html>";
        let answer = Answer::new(status, 0.0).header("content-type", "text/html").bytes(page);
        return Some(Answer { intermediary: true, ..answer });
    }
    let message = effect.message.clone().unwrap_or_else(|| "a scripted fault".to_owned());
    let mut refusal = Refusal::new(status, message);
    refusal.substatus = effect.substatus;
    let mut answer = Answer::from(refusal);
    answer.range = range.map(str::to_owned);
    Some(match effect.retry_after_ms {
        Some(wait) => answer.header("x-ms-retry-after-ms", wait.to_string()),
        None => answer,
    })
}

/// The page or document of a replica that lags behind: none where the request is for something else.
fn stale(
    account: &Account,
    request: &Request,
    place: &Place,
    container: Option<(&str, &str)>,
) -> Option<Answer> {
    let (database, id) = container?;
    let container = account.container(database, id).ok()?;
    match place {
        Place::Document(_, _, id) if request.method == Method::GET => {
            documents::stale_read(&container, request, id, account.clock.now())
        }
        _ => documents::stale_page(&container, request),
    }
}

fn count(
    account: &Account,
    container: Option<(&str, &str)>,
    kind: &'static str,
    request: &Request,
    answer: &Answer,
) {
    let now = account.clock.now();
    let container = container.and_then(|(id, database)| account.container(database, id).ok());
    let (stats, made) = match &container {
        Some(container) => (&container.stats, container.made),
        None => (&account.stats, account.made),
    };
    // The time is taken under the lock, so that slots are counted in order.
    let mut stats = stats.lock().unwrap_or_else(PoisonError::into_inner);
    stats.count(kind, &request.headers, answer, Moment { now, at: made.elapsed() });
}

/// The kind of a request, as faults and counters name it.
fn kind(request: &Request, place: &Place) -> &'static str {
    match (place, &request.method) {
        (Place::Document(..), &Method::GET) => "read",
        (Place::Document(..), &Method::PUT) => "replace",
        (Place::Document(..), &Method::PATCH) => "patch",
        (Place::Document(..), &Method::DELETE) | (Place::Partition(..), &Method::POST) => "delete",
        (Place::Documents(..), &Method::GET) => "feed",
        (Place::Documents(..), &Method::POST) => {
            let query =
                request.flag("x-ms-documentdb-isquery") || request.flag("x-ms-documentdb-query");
            if query || request.flag("x-ms-cosmos-is-query-plan-request") {
                "query"
            } else if request.flag("x-ms-cosmos-is-batch-request") {
                "batch"
            } else if request.flag("x-ms-documentdb-is-upsert") {
                "upsert"
            } else {
                "create"
            }
        }
        _ => "metadata",
    }
}

/// Whether a request is for a region that writes.
fn writes(request: &Request, kind: &str) -> bool {
    match kind {
        "read" | "feed" | "query" => false,
        "metadata" => request.method != Method::GET && !metadata::is_query(request),
        _ => true,
    }
}

impl Handler for Account {
    /// Above every limit of the service, so that those are what clients meet.
    const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

    fn open(&self) -> watch::Receiver<bool> {
        self.regions.open(None)
    }

    async fn handle(&self, request: Request, _: Option<String>) -> Outcome {
        serve(self, request).await
    }
}
