//! Versions of a document on one of two sides, and what the bridge records in those that it writes.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Seconds after the time in its record from which a version that looks like one of the bridge is not: a request
/// may be executed late. A user who writes it back does so after that time, if the clocks agree.
const WRITTEN_WITHIN: i64 = 60;

/// Hash of what a document holds: without the bridge's field and the properties of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentHash(pub(super) u128);

impl ContentHash {
    /// Of a text that is the same for equal documents, as `Document::sorted_text` is.
    pub fn of(sorted_text: &[u8]) -> Self {
        let bytes = Sha256::digest(sorted_text);
        Self(bytes.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }
}

/// An `ETag`: the service gives each version of a document one that no other version has.
pub type Etag = String;

/// The place of a version among those of its document on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Log sequence number.
    pub lsn: i64,
    /// Place among the changes of one transaction.
    pub nth: u32,
    /// Seconds since the Unix epoch.
    pub committed_at: i64,
}

impl Order {
    /// True only if number and time agree: numbers can start again after a merge or a restore.
    fn is_before(self, other: Self) -> bool {
        (self.lsn, self.nth) < (other.lsn, other.nth) && self.committed_at <= other.committed_at
    }

    pub(super) fn is_not_after(self, other: Self) -> bool {
        self == other || self.is_before(other)
    }
}

/// What the bridge wrote a version for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The content of the other side's version, which had seen what it replaced.
    Copy,
    /// The same, after a conflict: what it replaced had not been seen.
    Won,
    /// The content of this side's own version, which stays, also against the other side's version.
    Kept,
    /// The same, and the other side's version is one of which it is not known whether this one has seen it.
    Open,
    /// Nothing: the document is deleted in the same transaction.
    Gone,
}

/// What the bridge records in a version that it writes. It belongs to this document: a record that was
/// copied into another document is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub kind: Kind,
    /// The [name](Version::name) of the other side's version that this one is made of, or has met.
    pub other: Etag,
    pub order: Order,
    /// The version that this one replaced; `None` if the document was created.
    pub over: Option<Etag>,
    /// This side's version that was written again.
    pub own: Option<Own>,
    pub content: ContentHash,
    /// By the clock of the bridge, or by that of the service if it is ahead. In seconds since the Unix epoch.
    pub written_at: i64,
}

/// A version that the bridge wrote again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// Its [name](Version::name).
    pub name: Etag,
    /// When it was [changed](Version::changed_at).
    pub changed_at: i64,
}

/// A version of a document on one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub etag: Etag,
    /// Seconds since the Unix epoch.
    pub committed_at: i64,
    pub content: ContentHash,
    /// Also in a version that a user made of the bridge's, if he kept the field.
    pub stamp: Option<Stamp>,
}

impl Version {
    /// The record, if it is the bridge that wrote this version; a user who writes it back does so later.
    pub(super) fn intact(&self) -> Option<&Stamp> {
        let is_on_time = |stamp: &Stamp| self.committed_at - stamp.written_at <= WRITTEN_WITHIN;
        self.stamp.as_ref().filter(|stamp| stamp.content == self.content && is_on_time(stamp))
    }

    /// The record, if the content is that of a version of the other side.
    pub(super) fn copied(&self) -> Option<&Stamp> {
        self.intact().filter(|stamp| matches!(stamp.kind, Kind::Copy | Kind::Won))
    }

    /// The version of the other side that this one has surely seen.
    pub(super) fn seen(&self) -> Option<&str> {
        let stamp = self.stamp.as_ref().filter(|stamp| stamp.kind != Kind::Open)?;
        Some(&stamp.other)
    }

    /// The `ETag` by which the other side knows this version: that of the user's version, if the bridge only
    /// wrote it again.
    pub fn name(&self) -> &str {
        self.own().map_or(&self.etag, |own| &own.name)
    }

    /// When a user committed this content, if the bridge only wrote it again. In seconds since the Unix epoch.
    pub fn changed_at(&self) -> i64 {
        self.own().map_or(self.committed_at, |own| own.changed_at)
    }

    fn own(&self) -> Option<&Own> {
        self.intact()?.own.as_ref()
    }
}

/// A change in the feed of one side. A service that keeps previous images sends both versions.
#[derive(Clone, Debug)]
pub struct Change {
    /// `None` if the document was created, or if it is not known.
    pub before: Option<Version>,
    /// False if nothing tells what the change replaced: of a document that existed before the pipeline first
    /// started, or one that is written again from a dead letter.
    pub knows_before: bool,
    /// `None` if it was deleted, or has expired.
    pub after: Option<Version>,
    pub order: Order,
    /// The time to live ended: that of `after`, or of `before` if there is no `after`.
    pub expired: bool,
}
