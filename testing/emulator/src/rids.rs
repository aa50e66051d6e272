//! Paths that name resources by their `_rid` instead of their names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::account::{Account, container_path, encode};

/// The bytes of the ids of a database, a container and a document.
const DATABASE: usize = 4;
const CONTAINER: usize = 8;
const DOCUMENT: usize = 16;

fn bytes_of(rid: &str, length: usize) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(rid.replace('-', "/")).ok()?;
    Some(bytes).filter(|bytes| bytes.len() == length)
}

/// The `_rid` of the database of a container.
pub fn database_of(container: &str) -> String {
    let bytes = bytes_of(container, CONTAINER).unwrap_or_default();
    STANDARD.encode(bytes.get(..DATABASE).unwrap_or_default()).replace('/', "-")
}

/// Whether a path, decoded or not, names its database by `_rid`.
pub fn is_by_rid(path: &str) -> bool {
    let mut segments = path.trim_matches('/').split('/');
    let (kind, database) = (segments.next(), segments.next().unwrap_or_default());
    let database = percent_decode_str(database).decode_utf8_lossy();
    kind == Some("dbs") && bytes_of(&database, DATABASE).is_some()
}

/// The same path by names, percent-encoded; none where it is by names, or names nothing that exists.
pub async fn to_names(account: &Account, path: &str) -> Option<String> {
    if !is_by_rid(path) {
        return None;
    }
    let segments: Vec<String> = path
        .trim_matches('/')
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let database = database(account, segments.get(1)?).await?;
    let Some(container) = segments.get(3) else {
        let rest: Vec<String> = segments.iter().skip(2).map(|segment| encode(segment)).collect();
        return Some([vec![format!("/dbs/{}", encode(&database))], rest].concat().join("/"));
    };
    let container = account.container(&database, container).ok()?;
    let mut path = container_path(&database, &container.id);
    for (at, segment) in segments.iter().enumerate().skip(4) {
        let number = if at == 5 { document_number(segment) } else { None };
        let id = number.and_then(|number| {
            let store = container.store(account.clock.now());
            store.id_of(number).map(str::to_owned)
        });
        path = format!("{path}/{}", encode(id.as_deref().unwrap_or(segment)));
    }
    Some(path)
}

fn document_number(rid: &str) -> Option<u64> {
    let bytes = bytes_of(rid, DOCUMENT)?;
    Some(u64::from_le_bytes(bytes.get(CONTAINER..)?.try_into().ok()?))
}

/// The name of a database; none when it is its name already.
async fn database(account: &Account, rid: &str) -> Option<String> {
    let wanted = bytes_of(rid, DATABASE)?;
    let containers = account.containers();
    if containers.iter().any(|container| container.database == rid) {
        return None;
    }
    let within =
        |container: &str| bytes_of(container, CONTAINER).map(|rid| rid.starts_with(&wanted));
    let known = containers.iter().find(|container| within(&container.rid) == Some(true));
    if let Some(container) = known {
        return Some(container.database.clone());
    }
    // A database without containers is known to the vendor alone.
    let answer = account.backend.send("GET", "/dbs", &[], Bytes::new()).await.ok()?;
    let listed: Value = serde_json::from_slice(&answer.body).ok()?;
    let databases = listed["Databases"].as_array()?;
    if databases.iter().any(|database| database["id"] == *rid) {
        return None;
    }
    let found = databases.iter().find(|database| database["_rid"] == *rid)?;
    found["id"].as_str().map(str::to_owned)
}
