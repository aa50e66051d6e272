//! Makes script calls of changes. Pure, except that the time to live of a change without a commit time
//! counts from now.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use cosmos_bridge_event::Event;
use cosmos_bridge_sink::{Answers, Change, Document, Operation, json_text};
use redis::{Cmd, Script};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::slot::{companion, slot};
use crate::{Expiry, Mode, Settings, Stream, Ttl};

/// The keys of versions and of writers begin with these; the user needs access to them.
const VERSION_PREFIX: &str = "cosmos-bridge:version:";
const WRITER_PREFIX: &str = "cosmos-bridge:writer:";

/// The beginning of the keys that the sink has for itself.
pub(crate) fn own_prefix(mode: Mode) -> &'static str {
    match mode {
        Mode::Stream(_) => WRITER_PREFIX,
        Mode::Set(_) | Mode::Json(_) | Mode::Hash(_) => VERSION_PREFIX,
    }
}

/// Above this size a call is not extended by another key, so that no call blocks the server for long.
const CALL_CHANGES: usize = 64;
const CALL_BYTES: usize = 1024 * 1024;

static DOCUMENTS: LazyLock<Code> = LazyLock::new(|| Code::new(include_str!("documents.lua")));
static EVENTS: LazyLock<Code> = LazyLock::new(|| Code::new(include_str!("events.lua")));

/// A script with its hash.
#[derive(Debug)]
pub(crate) struct Code {
    text: &'static str,
    script: Script,
}

impl Code {
    fn new(text: &'static str) -> Self {
        Self { text, script: Script::new(text) }
    }

    /// The script that writes in this mode.
    pub(crate) fn of(mode: Mode) -> &'static Self {
        match mode {
            Mode::Stream(_) => &EVENTS,
            Mode::Set(_) | Mode::Json(_) | Mode::Hash(_) => &DOCUMENTS,
        }
    }
}

/// One call of a script, whose keys are in one slot.
#[derive(Debug, PartialEq)]
pub(crate) struct Call {
    /// The indexes of the changes in the write, in their order.
    pub(crate) changes: Vec<usize>,
    keys: Vec<String>,
    /// The first argument is the number of the connection that the call is sent on.
    names_connection: bool,
    arguments: Vec<Vec<u8>>,
    bytes: usize,
}

impl Call {
    /// `EVALSHA`: the server knows the script unless it was restarted.
    pub(crate) fn by_hash(&self, code: &Code, connection: u64) -> Cmd {
        self.command("EVALSHA", code.script.get_hash(), connection)
    }

    /// `EVAL`, after which the server knows the script.
    pub(crate) fn with_code(&self, code: &Code, connection: u64) -> Cmd {
        self.command("EVAL", code.text, connection)
    }

    fn command(&self, name: &str, code: &str, connection: u64) -> Cmd {
        let mut command = Cmd::with_capacity(
            self.keys.len() + self.arguments.len() + 4,
            self.bytes + code.len() + 32 * self.arguments.len(),
        );
        command.arg(name).arg(code).arg(self.keys.len()).arg(&self.keys);
        if self.names_connection {
            command.arg(connection);
        }
        command.arg(&self.arguments);
        command
    }
}

/// Makes calls of changes. Changes of one key are in one call, in their order.
pub(crate) struct Plan<'s> {
    settings: &'s Settings,
    /// Names the writer of streams, so that its late calls are recognized.
    writer: &'s str,
    calls: Vec<Call>,
    /// The call of each key.
    of_key: HashMap<String, usize>,
    /// The latest call of each slot, for further keys.
    of_slot: HashMap<u16, usize>,
}

impl<'s> Plan<'s> {
    /// The calls of one write. Rejects changes that have no key or are too large.
    pub(crate) fn calls(
        settings: &'s Settings,
        writer: &'s str,
        changes: &[Change],
        answers: &mut Answers<'_>,
    ) -> Vec<Call> {
        let mut plan = Self {
            settings,
            writer,
            calls: Vec::new(),
            of_key: HashMap::new(),
            of_slot: HashMap::new(),
        };
        for (index, change) in changes.iter().enumerate() {
            if let Err(reason) = plan.add(index, change) {
                answers.reject(index, reason);
            }
        }
        plan.calls
    }

    fn add(&mut self, index: usize, change: &Change) -> Result<(), String> {
        let key = self.settings.key.render(change).map_err(|error| format!("no key: {error}"))?;
        let arguments = match self.settings.mode {
            Mode::Stream(stream) => event_arguments(stream, change)?,
            mode => document_arguments(mode, change),
        };
        let bytes: usize = arguments.iter().map(Vec::len).sum();
        let call = match self.settings.mode {
            Mode::Stream(stream) => self.call_of_stream(&key, stream),
            _ => self.call_of_document(&key),
        };
        call.changes.push(index);
        call.bytes += bytes;
        call.arguments.extend(arguments);
        Ok(())
    }

    /// The call that the events of a stream are in.
    fn call_of_stream(&mut self, key: &str, stream: Stream) -> &mut Call {
        let next = self.calls.len();
        let at = *self.of_key.entry(key.to_owned()).or_insert(next);
        if at == next {
            let writer = companion(&format!("{WRITER_PREFIX}{}:", self.writer), key);
            let length = stream.max_length.map(|length| length.to_string()).unwrap_or_default();
            self.calls.push(Call {
                changes: Vec::new(),
                keys: vec![key.to_owned(), writer],
                names_connection: true,
                arguments: vec![length.into_bytes()],
                bytes: 0,
            });
        }
        &mut self.calls[at]
    }

    /// The call that holds this key, or one for its slot. Its keys are extended.
    fn call_of_document(&mut self, key: &str) -> &mut Call {
        let slot = if self.settings.server.cluster { slot(key) } else { 0 };
        let version_key = companion(VERSION_PREFIX, key);
        let has_room = |call: &Call| call.changes.len() < CALL_CHANGES && call.bytes < CALL_BYTES;
        let open = self.of_slot.get(&slot).copied().filter(|at| has_room(&self.calls[*at]));
        let at = self.of_key.get(key).copied().or(open).unwrap_or(self.calls.len());
        if at == self.calls.len() {
            self.calls.push(Call {
                changes: Vec::new(),
                keys: Vec::new(),
                names_connection: false,
                arguments: Vec::new(),
                bytes: 0,
            });
            self.of_slot.insert(slot, at);
        }
        self.of_key.insert(key.to_owned(), at);
        let call = &mut self.calls[at];
        call.bytes += key.len() + version_key.len();
        call.keys.extend([key.to_owned(), version_key]);
        call
    }
}

/// The arguments of `documents.lua` for one change.
fn document_arguments(mode: Mode, change: &Change) -> Vec<Vec<u8>> {
    let version = version(change).into_bytes();
    let (Mode::Set(expiry) | Mode::Json(expiry) | Mode::Hash(expiry)) = mode else {
        return Vec::new();
    };
    let kept = expiry.tombstone_ttl.as_secs().max(1);
    let Operation::Upsert { document } = &change.operation else {
        let nothing = || b"0".to_vec();
        return vec![b"delete".to_vec(), version, Vec::new(), number(kept), nothing()];
    };
    let values = match mode {
        Mode::Hash(_) => fields(document),
        _ => vec![document.text()],
    };
    let operation = match mode {
        Mode::Set(_) => "set",
        Mode::Json(_) => "json",
        Mode::Hash(_) | Mode::Stream(_) => "hash",
    };
    let expires = expires(expiry, change, document);
    let text = |seconds: Option<u64>| seconds.map(number).unwrap_or_default();
    let mut arguments = Vec::with_capacity(5 + values.len());
    arguments.extend([operation.as_bytes().to_vec(), version, text(expires)]);
    arguments.extend([text(expires.map(|seconds| seconds + kept)), number(values.len() as u64)]);
    arguments.extend(values);
    arguments
}

fn number(value: u64) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Source, LSN, number within the transaction and commit time: what the script compares.
///
/// The source is a hash of the container and of the document there: LSNs of other sources say nothing.
fn version(change: &Change) -> String {
    let origin = &change.origin;
    let mut hash = Sha256::new();
    let container = &origin.container;
    let key = origin.partition_key.text();
    for part in [&container.account, &container.database, &container.container, &key, &origin.id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let source = u64::from_be_bytes(std::array::from_fn({
        let hash = hash.finalize();
        move |at| hash[at]
    }));
    let committed = origin.committed_at.unwrap_or_default().max(0);
    let lsn = origin.lsn.unwrap_or(committed).max(0);
    format!("{source:016x} {lsn} {} {committed}", origin.nth)
}

/// When the document expires, in seconds of Unix time.
///
/// As in Azure Cosmos DB, a `ttl` of -1 means never, and the time counts from the commit.
fn expires(expiry: Expiry, change: &Change, document: &Document) -> Option<u64> {
    let default = || expiry.default_ttl.map(|ttl| ttl.as_secs());
    let ttl = match (expiry.ttl, document.get("ttl").and_then(|ttl| ttl.as_i64())) {
        (Ttl::Document, Some(-1)) => None,
        // The service allows no larger one.
        (Ttl::Document, Some(seconds @ 1..=0x7fff_ffff)) => Some(seconds.unsigned_abs()),
        _ => default(),
    }?;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let committed = change.origin.committed_at.and_then(|at| u64::try_from(at).ok());
    Some(committed.unwrap_or_else(now).saturating_add(ttl))
}

/// Names and values in turn: strings as they are, everything else as JSON.
fn fields(document: &Document) -> Vec<Vec<u8>> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => json_text(&other),
    };
    let parsed = document.fields().into_iter().flat_map(|(name, value)| [name, text(value)]);
    let unparsed =
        document.unparsed_members().flat_map(|(name, text)| [name.into_owned(), text.to_vec()]);
    parsed.map(String::into_bytes).chain(unparsed).collect()
}

/// The arguments of `events.lua` for one change.
fn event_arguments(stream: Stream, change: &Change) -> Result<Vec<Vec<u8>>, String> {
    let Stream { encoder, max_message, .. } = stream;
    let event = encoder.encode(change, max_message).map_err(|problem| problem.to_string())?;
    let Event { id, content_type, body, attributes, .. } = event;
    let is_binary = encoder.format().is_binary_cloud_event();
    let names_id = attributes.iter().any(|(name, _)| matches!(*name, "id" | "event-id"));
    let mut texts: Vec<Vec<u8>> = Vec::with_capacity(2 * attributes.len() + 6);
    let mut add = |name: &str, value: Vec<u8>| texts.extend([name.as_bytes().to_vec(), value]);
    if !names_id {
        add("event-id", id.into_bytes());
    }
    for (name, value) in attributes {
        add(name, value.into_bytes());
    }
    if let Some(body) = body {
        let type_name = if is_binary { "datacontenttype" } else { "content-type" };
        add(type_name, content_type.as_bytes().to_vec());
        add("data", body);
    }
    let mut arguments = vec![number(texts.len() as u64)];
    arguments.extend(texts);
    Ok(arguments)
}

#[cfg(test)]
mod tests;
