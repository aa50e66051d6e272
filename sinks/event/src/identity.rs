//! Who an event is, for consumers that drop what they have seen.

use cosmos_bridge_sink::{Change, ContainerName, KeyValue, Operation};
use sha2::{Digest, Sha256};

/// A hash of everything that tells a change from another. It must never change between versions.
pub(crate) struct Identity([u8; 32]);

impl Identity {
    pub(crate) fn of(change: &Change) -> Self {
        let mut hash = Sha256::new();
        let mut part = |text: &[u8]| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        let origin = &change.origin;
        let ContainerName { account, database, container } = &*origin.container;
        for text in [account, database, container, &origin.id, &change.id] {
            part(text.as_bytes());
        }
        part(origin.partition_key.text().as_bytes());
        part(change.partition_key.text().as_bytes());
        part(change.operation.name().as_bytes());
        match (origin.lsn, &change.operation) {
            (Some(lsn), _) => part(&lsn.to_be_bytes()),
            // Without a number, the content tells versions apart.
            (None, Operation::Upsert { document }) => {
                part(&origin.committed_at.unwrap_or_default().to_be_bytes());
                part(&serde_json::to_vec(&**document).unwrap_or_default());
            }
            (None, Operation::Delete { .. }) => {
                part(&origin.committed_at.unwrap_or_default().to_be_bytes());
            }
        }
        Self(hash.finalize().into())
    }

    /// 128 bits in hexadecimal.
    pub(crate) fn id(&self) -> String {
        hex(&self.0[..16])
    }

    /// A trace that is the same whenever the change is delivered again, and not sampled.
    ///
    /// <https://www.w3.org/TR/trace-context/#traceparent-header>
    pub(crate) fn trace_parent(&self) -> String {
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        push_hex(&mut text, &self.0[..16], LOWER);
        text.push('-');
        push_hex(&mut text, &self.0[16..24], LOWER);
        text.push_str("-00");
        text
    }
}

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes, LOWER);
    text
}

fn push_hex(text: &mut String, bytes: &[u8], digits: &[u8; 16]) {
    for byte in bytes {
        for four in [byte >> 4, byte & 15] {
            text.push(char::from(digits[usize::from(four)]));
        }
    }
}

/// `cosmosdb://account/database/container`.
pub(crate) fn source(name: &ContainerName) -> String {
    let ContainerName { account, database, container } = name;
    let mut uri = String::from("cosmosdb://");
    push_encoded(&mut uri, account);
    for name in [database, container] {
        uri.push('/');
        push_encoded(&mut uri, name);
    }
    uri
}

/// The document itself: its container, its partition key as a JSON array, its id.
pub(crate) fn reference(change: &Change) -> String {
    let origin = &change.origin;
    let key = origin.partition_key.0.iter().map(KeyValue::to_json).collect();
    let mut uri = source(&origin.container);
    for name in [&serde_json::Value::Array(key).to_string(), &origin.id] {
        uri.push('/');
        push_encoded(&mut uri, name);
    }
    uri
}

/// All but the unreserved characters of RFC 3986 are percent-encoded.
fn push_encoded(uri: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            uri.push(char::from(byte));
        } else {
            uri.push('%');
            push_hex(uri, &[byte], UPPER);
        }
    }
}
