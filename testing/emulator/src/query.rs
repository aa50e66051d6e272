//! Queries: the vendor's engine runs them on its copies of our documents.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::account::{Account, container_path, encode};
use crate::admission::{admit, scope, settle};
use crate::answer::{Answer, Refusal};
use crate::charge;
use crate::container::Container;
use crate::document::Address;
use crate::forward::{internal, is_forwarded, pass_on};
use crate::key::{EffectiveKey, KeyValue};
use crate::listing;
use crate::query_equal::{Equal, Rows};
use crate::query_plan::{complete, needs_merging};
use crate::query_shape::Parts;
use crate::query_text::{from_copy, is_plain, rewrite};
use crate::request::Request;
use crate::scan::scan;
use crate::store::{Dirty, Store};

/// Items in a page when the request does not say.
const PAGE_ITEMS_DEFAULT: &str = "1000";

/// Marks a copied document with its effective key.
const KEY_MARK: &str = "_x_key";

/// Serves a query, or a request for a query plan.
pub async fn serve(
    account: &Account,
    container: &Container,
    request: &Request,
) -> Result<Answer, Refusal> {
    let mut body: Value = serde_json::from_slice(&request.body)
        .map_err(|_| Refusal::bad_request("the body is not JSON"))?;
    let text = body["query"].as_str().unwrap_or_default().to_owned();
    if request.flag("x-ms-cosmos-is-query-plan-request") {
        return plan(account, container, request, body, &text).await;
    }
    let (keys, range) = scope(container, request)?;
    if let Some(refused) = range.as_deref().and_then(|range| admit(container, range)) {
        return Ok(refused);
    }
    let range = range.unwrap_or_default();
    let continued = request.text_header("x-ms-continuation");
    let rows = Rows::read(&text);
    if (is_plain(&text) || rows.is_some())
        && continued.as_ref().is_none_or(|text| listing::is_continuation(text))
    {
        let store = container.store(account.clock.now());
        let mut answer =
            listing::page(container, &store, &keys, request, |version, out| match &rows {
                Some(rows) => rows.render(container, version, out),
                None => container.naming.render(version, out),
            })?;
        answer.charge = charge::query(answer.body.len());
        return Ok(settle(container, answer, range, store.lsn()));
    }
    let equal = Equal::read(&text, &body["parameters"]).filter(|_| continued.is_none());
    if let Some(equal) = equal {
        let mut store = container.store(account.clock.now());
        if let Some(answer) = equal.answer(container, &mut store, &keys, request.items_max()) {
            return Ok(settle(container, answer, range, store.lsn()));
        }
    }
    if is_for_several_ranges(container, request)? {
        let planned = plan(account, container, request, body.clone(), &text).await?;
        let planned: Value = serde_json::from_slice(&planned.body).unwrap_or_default();
        if needs_merging(&planned) {
            return Ok(to_be_merged(&planned));
        }
    }
    let parts = Parts::of(&text);
    body["query"] = rewrite(parts.as_ref().map_or(&text, |parts| &parts.query)).into();
    let _refresh = container.refresh.lock().await;
    refresh(account, container).await?;
    let mut answer = send(account, container, request, &body, false).await?;
    let store = container.store(account.clock.now());
    if answer.status == 200 {
        let mut results: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if let Some(parts) = &parts {
            parts.join(&mut results);
        }
        answer.documents = results["Documents"].as_array().map_or(0, Vec::len);
        let mut out = Vec::with_capacity(answer.body.len());
        write(container, &store, &results, &mut out);
        answer.body = Bytes::from(out);
        answer.charge = charge::query(answer.body.len());
    }
    Ok(settle(container, answer, range, store.lsn()))
}

/// Whether a request leaves it to the gateway to ask all ranges, which it does for queries whose
/// answers need no merging.
fn is_for_several_ranges(container: &Container, request: &Request) -> Result<bool, Refusal> {
    let named = request.header("x-ms-documentdb-partitionkeyrangeid").is_some()
        || request.partition_key(container)?.is_some()
        || request.keys_named()?.is_some();
    Ok(!named && container.ranges().len() > 1)
}

/// The refusal of a query that the client has to merge, with the plan for clients that take it from
/// here. The JavaScript SDK asks for a plan only if there is one in the refusal.
fn to_be_merged(plan: &Value) -> Answer {
    let message = "The provided cross partition query can not be directly served by the gateway. \
        This is a first chance (internal) exception that all newer clients will know how to handle \
        gracefully.";
    let mut answer = Answer::from(Refusal::bad_request(message).with_substatus(1004));
    answer.body = Bytes::from(
        json!({"code": "BadRequest", "message": message, "additionalErrorInfo": plan.to_string()})
            .to_string(),
    );
    answer
}

async fn plan(
    account: &Account,
    container: &Container,
    request: &Request,
    mut body: Value,
    text: &str,
) -> Result<Answer, Refusal> {
    let repaired = without_double_quotes(text);
    body["query"] = repaired.as_str().into();
    let mut answer = send(account, container, request, &body, true).await?;
    let mut plan: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    complete(&mut plan, &repaired);
    answer.body = Bytes::from(plan.to_string());
    Ok(answer)
}

/// A plan repeats the query's own names, so only its literals are repaired.
fn without_double_quotes(text: &str) -> String {
    let mut repaired = rewrite(text);
    for name in ["_rid", "_self", "_etag", "_attachments", "_ts"] {
        repaired = repaired.replace(&format!("_x{name}"), name);
    }
    repaired
}

async fn send(
    account: &Account,
    container: &Container,
    request: &Request,
    body: &Value,
    plan: bool,
) -> Result<Answer, Refusal> {
    const PLAN: &str = "x-ms-cosmos-is-query-plan-request";
    const ITEMS: &str = "x-ms-max-item-count";
    let mut headers: Vec<(String, String)> = request
        .headers
        .keys()
        .filter(|name| is_forwarded(name.as_str()))
        .filter(|name| ![ITEMS, PLAN, KEY].contains(&name.as_str()))
        .filter_map(|name| {
            let value = request.text_header(name.as_str())?;
            Some((name.as_str().to_owned(), value))
        })
        .collect();
    let items = request.items_max().map_or(PAGE_ITEMS_DEFAULT.to_owned(), |max| max.to_string());
    headers.push((ITEMS.to_owned(), items));
    headers.extend(key_headers(container, request)?);
    if plan {
        headers.push((PLAN.to_owned(), "true".to_owned()));
    }
    let path = format!("{}/docs", container_path(&container.database, &container.id));
    let body = Bytes::from(body.to_string());
    let answer = account.backend.send("POST", &path, &headers, body).await.map_err(internal)?;
    if answer.status == 400 {
        return Err(bad_query(&answer.body));
    }
    let mut answer = pass_on(&answer);
    for (name, value) in &mut answer.headers {
        if *name == "x-ms-continuation" {
            // The vendor writes ids into continuations, which must be visible ASCII.
            *value = ascii_json(value);
        }
    }
    Ok(answer)
}

/// The refusal of a query that the vendor refuses.
fn bad_query(body: &[u8]) -> Refusal {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = body["message"].as_str().unwrap_or("the query is not valid");
    if !message.contains("parse") {
        return Refusal::bad_request(message);
    }
    let error = json!({"severity": "Error", "code": "SC1001",
        "message": format!("Syntax error, {message}")});
    Refusal::bad_request(format!("Message: {}", json!({"errors": [error]})))
}

const KEY: &str = "x-ms-documentdb-partitionkey";

/// The key of a query for the vendor, which knows the beginning of a key only as a window of effective
/// keys.
fn key_headers(container: &Container, request: &Request) -> Result<Vec<(String, String)>, Refusal> {
    let Some(key) = request.partition_key(container)? else { return Ok(Vec::new()) };
    let headers = if key.len() < container.paths.len() {
        let keys = container.key_range(&key)?;
        vec![
            ("x-ms-start-epk", keys.min.to_hex()),
            ("x-ms-end-epk", keys.max.to_hex()),
            ("x-ms-read-key-type", "EffectivePartitionKeyRange".to_owned()),
        ]
    } else {
        let key: Value = key.iter().map(KeyValue::to_json).collect();
        vec![(KEY, ascii_json(&key.to_string()))]
    };
    Ok(headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// JSON with everything outside ASCII escaped.
fn ascii_json(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                write!(out, "\\u{unit:04x}").unwrap_or_default();
            }
        }
        out
    })
}

/// Brings the vendor's copies up to date.
async fn refresh(account: &Account, container: &Container) -> Result<(), Refusal> {
    let mut dirty = container.store(account.clock.now()).take_dirty().into_iter();
    while let Some(next) = dirty.next() {
        if let Err(refusal) = copy(account, container, &next).await {
            let rest = std::iter::once(next).chain(dirty);
            container.store(account.clock.now()).give_back(rest);
            return Err(refusal);
        }
    }
    Ok(())
}

async fn copy(account: &Account, container: &Container, dirty: &Dirty) -> Result<(), Refusal> {
    let Dirty { address, version, exists } = dirty;
    let mut text = version.text.to_vec();
    if crate::write::parse(&text).is_null() {
        // The vendor cannot hold it, and its engine could not read it.
        return Ok(());
    }
    let path = format!("{}/docs", container_path(&container.database, &container.id));
    let answer = if *exists {
        let naming = &container.naming;
        let rid = naming.rid(version);
        let system = json!({
            KEY_MARK: address.key.to_hex(),
            "_x_rid": rid,
            "_x_self": format!("{}docs/{rid}/", naming.self_link()),
            "_x_etag": naming.etag(version),
            "_x_attachments": "attachments/",
            "_x_ts": version.written_at,
        });
        text.push(b',');
        text.extend_from_slice(system.to_string().trim_start_matches('{').as_bytes());
        let upsert = ("x-ms-documentdb-is-upsert".to_owned(), "true".to_owned());
        account.backend.send("POST", &path, &[upsert], Bytes::from(text)).await
    } else {
        text.push(b'}');
        let scanned = scan(&text, &container.paths)?;
        let key: Value = scanned.key.iter().map(KeyValue::to_json).collect();
        let key = ("x-ms-documentdb-partitionkey".to_owned(), key.to_string());
        let path = format!("{path}/{}", encode(&address.id));
        account.backend.send("DELETE", &path, &[key], Bytes::new()).await
    };
    let answer = answer.map_err(internal)?;
    match answer.status {
        410 => {
            Err(Refusal::new(410, "the partition is being split or merged").with_substatus(1007))
        }
        status if status < 300 || status == 404 => Ok(()),
        status => Err(Refusal::new(500, format!("the vendor refused a copy with {status}"))),
    }
}

/// Writes a result: whole documents as they are stored, names of system properties as ours.
fn write(container: &Container, store: &Store, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(object) => {
            if let Some(version) = stored(store, value) {
                container.naming.render(version, out);
                return;
            }
            out.push(b'{');
            let mut first = true;
            for (name, value) in object {
                let twin = crate::query_text::to_copy(name);
                if name == KEY_MARK || twin.is_some_and(|twin| object.contains_key(twin)) {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                let name = from_copy(name).unwrap_or(name);
                out.extend_from_slice(Value::from(name).to_string().as_bytes());
                out.push(b':');
                write(container, store, value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(container, store, item, out);
            }
            out.push(b']');
        }
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

/// The stored version of a whole document in a result.
fn stored<'a>(store: &'a Store, document: &Value) -> Option<&'a crate::document::Version> {
    let key = EffectiveKey::from_hex(document.get(KEY_MARK)?.as_str()?).ok()?;
    let id = document.get("id")?.as_str()?;
    store.get(&Address { key, id: id.into() }).map(AsRef::as_ref)
}
