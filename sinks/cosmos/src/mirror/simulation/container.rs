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
    pub(super) order: Order,
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
        let order = self.next(now, 0);
        let doc = Doc { version: version.clone(), content, lineage, order };
        let before = self.doc.replace(doc).map(|doc| doc.version);
        let after = Some(version);
        let change = Change { before, knows_before: true, after, order, expired: false };
        self.feed.push(Event { change, content, lineage });
    }

    /// What a reader that starts finds, as a change: nothing tells what was before.
    pub(super) fn existing(&self, until: i64) -> Option<Event> {
        let doc = self.doc.as_ref().filter(|doc| doc.order.lsn <= until)?;
        let Doc { version, content, lineage, order } = doc.clone();
        let after = Some(version);
        let change = Change { before: None, knows_before: false, after, order, expired: false };
        Some(Event { change, content, lineage })
    }

    pub(super) fn last_lsn(&self) -> i64 {
        self.feed.last().map_or(0, |event| event.change.order.lsn)
    }

    /// `nth` is 1 if this is in one transaction with the write before.
    pub(super) fn remove(&mut self, now: i64, lineage: Lineage, nth: u32, expired: bool) {
        let Some(Doc { version, content, .. }) = self.doc.take() else { return };
        self.absent |= lineage;
        let order = self.next(now, nth);
        let before = Some(version);
        let change = Change { before, knows_before: true, after: None, order, expired };
        self.feed.push(Event { change, content, lineage });
    }

    fn next(&self, now: i64, nth: u32) -> Order {
        let last = self.last_lsn();
        let lsn = if nth == 0 { last + 1 } else { last };
        Order { lsn, nth, committed_at: now + self.skew }
    }
}
