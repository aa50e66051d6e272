//! Changes that could not be written.

use sha2::{Digest, Sha256};

use super::label::Label;

/// The stage of the pipeline at which a change failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It could not be parsed.
    Read,
    /// The route could not map it.
    Route,
    /// The sink rejected it.
    Sink,
}

impl Label for Stage {
    const ALL: &'static [Self] = &[Self::Read, Self::Route, Self::Sink];

    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Route => "route",
            Self::Sink => "sink",
        }
    }
}

/// A change that its target will never accept, stored in full.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    pub pipeline: String,
    pub sink: String,
    pub stage: Stage,
    pub cause: String,
    /// The source, as `account/database/container`.
    pub source: String,
    pub source_id: String,
    /// The source's key values, as a JSON array.
    pub source_key: String,
    /// The start of the feed range, where id and key do not name the document; else empty, so that a
    /// change that is read again in a part of its range is the same letter.
    pub range_min: String,
    pub lsn: Option<i64>,
    /// See [`Origin::nth`](cosmos_bridge_sink::Origin::nth).
    pub nth: u32,
    /// Distinguishes letters of one change: the number of the route, from 1, at the stage of routes;
    /// key and id in the target, as a JSON array, at the stage of sinks.
    pub target: String,
    pub committed_at: Option<i64>,
    /// `upsert`, `delete` or `expire`.
    pub operation: &'static str,
    /// The document at the stage that rejected it, as JSON; `None` for deletes without a previous
    /// image.
    pub document: Option<String>,
    /// The document before an upsert, as JSON, where the feed contains it.
    pub previous: Option<String>,
    /// In place of a document that cannot be parsed: its bytes. At the stage `read` as the service sent
    /// them.
    pub unparsed: Option<Vec<u8>>,
}

/// Hexadecimal digits of the hash of a document.
pub const HASH_DIGITS: usize = 12;

/// Names a source document in logs, where its id and key may say who it is about: the beginning of the
/// SHA-256 of its container, key and id. `dlq show` finds the letters of a hash.
pub fn document_hash(source: &str, source_key: &str, source_id: &str) -> String {
    let hash = Sha256::new().chain_update(source.len().to_be_bytes()).chain_update(source);
    let hash = hash.chain_update(source_key.len().to_be_bytes()).chain_update(source_key);
    let hash = hash.chain_update(source_id).finalize();
    let bytes = hash.iter().take(HASH_DIGITS / 2);
    let number = bytes.fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{number:0HASH_DIGITS$x}")
}

impl DeadLetter {
    /// See [`document_hash`].
    pub fn document_hash(&self) -> String {
        document_hash(&self.source, &self.source_key, &self.source_id)
    }

    /// Bytes of its documents as text.
    pub fn bytes(&self) -> usize {
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        of(&self.document) + of(&self.previous) + self.unparsed.as_ref().map_or(0, Vec::len)
    }
}
