//! The container of one side: its document and its feed.

use crate::mirror::{Change, ContentHash, Order, Stamp, Version};

/// A set of changes of users, by their numbers.
pub(super) type Lineage = u128;

#[derive(Clone, Debug)]
pub(super) struct Doc {
    pub(super) version: Version,
    pub(super) content: u32,
    /// The changes of users that the content is made of.
    pub(super) lineage: Lineage,
}

#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) change: Change,
    pub(super) content: u32,
    pub(super) lineage: Lineage,
}

#[derive(Debug, Default)]
pub(super) struct Container {
    pub(super) doc: Option<Doc>,
    /// As that of a document, if there is none.
    pub(super) absent: Lineage,
    pub(super) feed: Vec<Event>,
    /// Seconds that its clock is ahead.
    pub(super) skew: i64,
}

pub(super) fn hash(content: u32) -> ContentHash {
    ContentHash::of(&content.to_be_bytes())
}

impl Container {
    /// The content becomes that of the document.
    pub(super) fn put(
        &mut self,
        now: i64,
        etag: String,
        content: u32,
        stamp: Option<Stamp>,
        lineage: Lineage,
    ) {
        let committed_at = now + self.skew;
        let version = Version { etag, committed_at, content: hash(content), stamp };
        let before = self.doc.replace(Doc { version: version.clone(), content, lineage });
        let before = before.map(|doc| doc.version);
        let order = self.next(now, 0);
        let change = Change { before, after: Some(version), order, expired: false };
        self.feed.push(Event { change, content, lineage });
    }

    /// `nth` is 1 if this is in one transaction with the write before.
    pub(super) fn remove(&mut self, now: i64, lineage: Lineage, nth: u32, expired: bool) {
        let Some(Doc { version, content, .. }) = self.doc.take() else { return };
        self.absent |= lineage;
        let order = self.next(now, nth);
        let change = Change { before: Some(version), after: None, order, expired };
        self.feed.push(Event { change, content, lineage });
    }

    fn next(&self, now: i64, nth: u32) -> Order {
        let last = self.feed.last().map_or(0, |event| event.change.order.lsn);
        let lsn = if nth == 0 { last + 1 } else { last };
        Order { lsn, nth, committed_at: now + self.skew }
    }
}
