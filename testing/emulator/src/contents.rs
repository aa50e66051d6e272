//! Whole containers from outside: seeding, listing, and the checksum.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::answer::Refusal;
use crate::container::Container;
use crate::document::{Naming, Version};
use crate::key::{KeyValue, hex, integral};
use crate::store::KeyRange;
use crate::write::{Action, Conditions, Draft};

/// What a container holds, independent of order, keys and system properties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checksum {
    pub documents: usize,
    /// Hexadecimal.
    pub sha256: String,
}

/// Upserts JSON Lines without cost; gives how many documents were written.
pub fn seed(container: &Container, lines: &[u8], now: u32) -> Result<usize, Refusal> {
    let mut written = 0;
    for line in lines.split(|byte| *byte == b'\n') {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let body = bytes::Bytes::copy_from_slice(line);
        let mut store = container.store(now);
        let mut draft = Draft::new(container, &mut store, now);
        draft.perform(Action::Upsert { body }, &Conditions::default(), None).map_err(
            |refusal| Refusal::bad_request(format!("document {}: {refusal}", written + 1)),
        )?;
        draft.commit();
        written += 1;
    }
    Ok(written)
}

/// Holds a text as a document, byte for byte, also if it is not JSON.
pub fn hold(
    container: &Container,
    key: &[KeyValue],
    id: &str,
    text: &[u8],
    now: u32,
) -> Result<(), Refusal> {
    let address = container.address(key, id)?;
    let mut store = container.store(now);
    let mut draft = Draft::new(container, &mut store, now);
    draft.hold(address, text);
    draft.commit();
    Ok(())
}

/// JSON Lines of the latest documents, from a place in the stable order.
pub fn list(container: &Container, after: usize, limit: usize, system: bool, now: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for version in versions(container, after, limit, now) {
        if system {
            container.naming.render(&version, &mut out);
        } else {
            Naming::render_plain(&version, &mut out);
        }
        out.push(b'\n');
    }
    out
}

/// The latest versions in their stable order; the store is locked only while they are gathered.
fn versions(container: &Container, after: usize, limit: usize, now: u32) -> Vec<Arc<Version>> {
    let store = container.store(now);
    let everything = KeyRange::all();
    let all = store.between(&everything, None);
    all.skip(after).take(limit).map(|(_, version)| Arc::clone(version)).collect()
}

/// The checksum: the hash of the sorted hashes of all documents, each with sorted properties and
/// numbers in their shortest form.
pub fn checksum(container: &Container, now: u32) -> Checksum {
    let mut digests: Vec<[u8; 32]> = versions(container, 0, usize::MAX, now)
        .iter()
        .map(|version| {
            let mut document = crate::write::parse(&version.text);
            if document.is_null() {
                // What cannot be read is compared byte by byte.
                return Sha256::digest(&version.text).into();
            }
            settle_numbers(&mut document);
            Sha256::digest(document.to_string()).into()
        })
        .collect();
    digests.sort_unstable();
    let mut total = Sha256::new();
    for digest in &digests {
        total.update(digest);
    }
    Checksum { documents: digests.len(), sha256: hex(&total.finalize()) }
}

/// 1.0 and 1 are the same number.
fn settle_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(whole) = number.as_f64().and_then(integral) {
                *value = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(settle_numbers),
        Value::Object(object) => object.values_mut().for_each(settle_numbers),
        _ => {}
    }
}
