//! One version of one document, and how it looks when it is read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::key::EffectiveKey;

/// Where a document lives: its effective partition key, then its id. This is also the stable order
/// in which documents are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub key: EffectiveKey,
    pub id: Box<str>,
}

/// One version of a document.
#[derive(Debug)]
pub struct Version {
    /// The text without system properties and without the closing brace.
    pub text: Box<[u8]>,
    pub lsn: u64,
    /// The place within its transaction; with the LSN it makes the etag.
    pub index: u16,
    /// Unix seconds.
    pub written_at: u32,
    /// The document's number within its container, kept through replacements.
    pub number: u64,
    pub ttl: Option<i32>,
}

/// What all documents of one container share in their system properties.
#[derive(Clone, Debug)]
pub struct Naming {
    rid: [u8; 8],
    self_link: String,
    /// Distinguishes the etags of a recreated container from the old ones.
    nonce: u32,
}

impl Naming {
    /// Takes a container's `_rid` and `_self`.
    pub fn new(rid: &str, self_link: &str, nonce: u32) -> Self {
        let bytes = STANDARD.decode(rid.replace('-', "/")).unwrap_or_default();
        let rid = bytes.try_into().unwrap_or_default();
        Self { rid, self_link: self_link.to_owned(), nonce }
    }

    /// The container's `_self`.
    pub fn self_link(&self) -> &str {
        &self.self_link
    }

    pub fn etag(&self, version: &Version) -> String {
        let Version { lsn, index, .. } = version;
        format!("\"{:08x}-{index:04x}-0000-0000-{lsn:012x}\"", self.nonce)
    }

    /// The document's `_rid`: the container's, then the number with the low byte first, as the SDK
    /// reads it.
    pub fn rid(&self, version: &Version) -> String {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.rid);
        bytes[8..].copy_from_slice(&version.number.to_le_bytes());
        STANDARD.encode(bytes).replace('/', "-")
    }

    /// Appends the document as the service returns it.
    pub fn render(&self, version: &Version, out: &mut Vec<u8>) {
        self.render_open(version, out);
        out.push(b'}');
    }

    /// Appends the document with its `_lsn`, as flat change feed items carry it.
    pub fn render_with_lsn(&self, version: &Version, out: &mut Vec<u8>) {
        self.render_open(version, out);
        out.extend_from_slice(format!(",\"_lsn\":{}}}", version.lsn).as_bytes());
    }

    /// Appends the document without system properties.
    pub fn render_plain(version: &Version, out: &mut Vec<u8>) {
        out.extend_from_slice(&version.text);
        out.push(b'}');
    }

    fn render_open(&self, version: &Version, out: &mut Vec<u8>) {
        let (rid, etag) = (self.rid(version), self.etag(version));
        let (link, at) = (&self.self_link, version.written_at);
        out.extend_from_slice(&version.text);
        out.extend_from_slice(
            format!(
                ",\"_rid\":\"{rid}\",\"_self\":\"{link}docs/{rid}/\",\"_etag\":\"\\{}\\\"\",\
                 \"_attachments\":\"attachments/\",\"_ts\":{at}",
                etag.trim_end_matches('"')
            )
            .as_bytes(),
        );
    }

    /// The size of the document as it is returned, closely enough for limits and charges.
    pub fn size(&self, version: &Version) -> usize {
        const SYSTEM_BYTES: usize = 200;
        version.text.len() + SYSTEM_BYTES
    }
}
