//! The id of an event, by which consumers recognize repetitions, and the trace of the event.

use cosmos_bridge_sink::{Change, ContainerName, KeyValue, Operation, Origin, PartitionKey};
use sha2::{Digest, Sha256};

/// The format of identities: the first part of what is hashed. Consumers keep ids, so another version of
/// the bridge must not give a change another id; if what is hashed has to change, this does as well, and
/// the changelog says so. Version 1 had neither this part nor the service's id of the container.
const FORMAT: &[u8] = b"cosmos-bridge change 2";

/// A hash of everything that distinguishes changes, in the format `FORMAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity([u8; 32]);

/// The operation on a change, and the name of the pipeline or sink. Span ids are made from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanKey([u8; 32]);

/// The id and trace of one event.
pub(crate) struct Label<'c> {
    change: &'c Change,
    identity: Identity,
    sink: SpanKey,
}

impl Identity {
    /// The identity of a change as its sink gets it. It is the id of the event.
    pub fn of(change: &Change) -> Self {
        let operation = change.operation.name();
        let mut hash = begin(&change.origin, &change.id, &change.partition_key, operation);
        if let (None, Operation::Upsert { document }) = (change.origin.lsn, &change.operation) {
            // Without a sequence number, the content distinguishes versions.
            part(&mut hash, &document.sorted_text());
        }
        Self(hash.finalize().into())
    }

    /// The identity of a change as it was read, before any route. It equals that of its event unless a
    /// route changes the id or key. The first half is the trace id.
    pub fn as_read(origin: &Origin, operation: &str) -> Self {
        let hash = begin(origin, &origin.id, &origin.partition_key, operation);
        Self(hash.finalize().into())
    }

    /// The first 16 bytes.
    pub fn bytes(self) -> [u8; 16] {
        std::array::from_fn(|at| self.0[at])
    }

    /// The first 128 bits in hexadecimal.
    pub fn id(self) -> String {
        hex(&self.0[..16])
    }

    /// The id of the span of an operation on the change. It is the same in each repetition.
    pub fn span(self, key: SpanKey) -> [u8; 8] {
        let hash = Sha256::new().chain_update(self.0).chain_update(key.0).finalize();
        std::array::from_fn(|at| hash[at])
    }
}

impl SpanKey {
    /// The key of a pipeline that reads for all its sinks, or for one of them.
    pub fn reading(pipeline: &str, sink: Option<&str>) -> Self {
        Self::new(&["read", pipeline, sink.unwrap_or_default()])
    }

    /// The key of a sink.
    pub fn writing(sink: &str) -> Self {
        Self::new(&["write", sink])
    }

    fn new(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for text in parts {
            part(&mut hash, text.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

impl<'c> Label<'c> {
    /// `sink` is the key of the sink that sends the event.
    pub(crate) fn of(change: &'c Change, sink: SpanKey) -> Self {
        Self { change, identity: Identity::of(change), sink }
    }

    pub(crate) fn id(&self) -> String {
        self.identity.id()
    }

    /// The `traceparent`. The trace id is the same in all sinks and in each repetition. If the change is
    /// traced, the parent is the span of the sink; otherwise no such span exists.
    ///
    /// <https://www.w3.org/TR/trace-context/#traceparent-header>
    pub(crate) fn trace_parent(&self) -> String {
        let Self { change, identity, sink } = self;
        let origin = &change.origin;
        if let Some(trace) = origin.trace {
            return trace_parent(trace.id, identity.span(*sink), "-01");
        }
        let as_read = || Identity::as_read(origin, change.operation.name());
        let read = if change.is_as_read() { *identity } else { as_read() };
        trace_parent(read.bytes(), std::array::from_fn(|at| identity.0[16 + at]), "-00")
    }
}

fn trace_parent(trace: [u8; 16], parent: [u8; 8], flags: &str) -> String {
    let mut text = String::with_capacity(55);
    text.push_str("00-");
    push_hex(&mut text, &trace, LOWER);
    text.push('-');
    push_hex(&mut text, &parent, LOWER);
    text.push_str(flags);
    text
}

fn begin(origin: &Origin, id: &str, key: &PartitionKey, operation: &str) -> Sha256 {
    let mut hash = Sha256::new();
    part(&mut hash, FORMAT);
    let ContainerName { account, database, container, rid } = &*origin.container;
    // A container that was created again counts its changes from 1 again.
    for text in [account, database, container, rid, &origin.id, id] {
        part(&mut hash, text.as_bytes());
    }
    part(&mut hash, origin.partition_key.text().as_bytes());
    part(&mut hash, key.text().as_bytes());
    part(&mut hash, operation.as_bytes());
    let at = origin.lsn.unwrap_or_else(|| origin.committed_at.unwrap_or_default());
    part(&mut hash, &at.to_be_bytes());
    if origin.nth > 0 {
        part(&mut hash, &origin.nth.to_be_bytes());
    }
    hash
}

/// Adds a part with its length, so that different parts never give the same bytes.
fn part(hash: &mut Sha256, text: &[u8]) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text);
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
    let ContainerName { account, database, container, .. } = name;
    let mut uri = String::from("cosmosdb://");
    push_encoded(&mut uri, account);
    for name in [database, container] {
        uri.push('/');
        push_encoded(&mut uri, name);
    }
    uri
}

/// The reference to a document: its container, its partition key as a JSON array, its id.
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

/// Appends a byte as `%` and two hexadecimal digits.
pub(crate) fn push_percent(text: &mut String, byte: u8) {
    text.push('%');
    push_hex(text, &[byte], UPPER);
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn push_encoded(uri: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            uri.push(char::from(byte));
        } else {
            push_percent(uri, byte);
        }
    }
}
