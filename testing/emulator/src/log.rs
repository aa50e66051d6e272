//! The change log of a container: every change in the order of one rising LSN.

use std::sync::Arc;

use crate::document::{Address, Version};

/// What happened to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Replace,
    Delete,
}

/// One change.
#[derive(Debug)]
pub struct Change {
    pub lsn: u64,
    /// Unix seconds.
    pub at: u32,
    pub operation: Operation,
    /// Deleted because its time to live was over.
    pub expired: bool,
    /// A later change to the same document exists.
    pub superseded: bool,
    pub address: Arc<Address>,
    pub current: Option<Arc<Version>>,
    /// The image before the change; kept only where history is kept.
    pub previous: Option<Arc<Version>>,
}

/// All changes that can still be read.
///
/// Without history only the latest version of each document stays; with history everything stays
/// for its retention.
#[derive(Debug, Default)]
pub struct Log {
    changes: Vec<Change>,
    superseded: usize,
    /// The retention of history in seconds.
    retention: Option<u32>,
    /// Changes up to this LSN may be incomplete, because history was forgotten.
    forgotten: u64,
}

/// Compaction waits for this many dead changes, so that small logs are left alone.
const DEAD_MIN: usize = 1024;

impl Log {
    pub fn set_retention(&mut self, retention: Option<u32>, lsn: u64) {
        if self.retention.is_none() && retention.is_some() {
            // What happened before is not known in full.
            self.forgotten = lsn;
        }
        self.retention = retention;
    }

    pub fn retention(&self) -> Option<u32> {
        self.retention
    }

    pub fn push(&mut self, change: Change) {
        if let Some(old) = &change.previous {
            self.supersede(old.lsn, &change.address);
        }
        if self.retention.is_some() {
            self.changes.push(change);
        } else if change.operation == Operation::Delete {
            self.compact(change.at);
        } else {
            self.changes.push(Change { previous: None, ..change });
        }
        if self.superseded > DEAD_MIN.max(self.changes.len() / 2) {
            let now = self.changes.last().map_or(0, |change| change.at);
            self.compact(now);
        }
    }

    fn supersede(&mut self, lsn: u64, address: &Address) {
        let start = self.changes.partition_point(|change| change.lsn < lsn);
        let old = self.changes[start..]
            .iter_mut()
            .take_while(|change| change.lsn == lsn)
            .find(|change| *change.address == *address && !change.superseded);
        if let Some(old) = old {
            old.superseded = true;
            self.superseded += 1;
            if self.retention.is_none() {
                old.current = None;
            }
        }
    }

    /// Drops what can no longer be read, when enough of it has gathered.
    fn compact(&mut self, now: u32) {
        if self.superseded <= DEAD_MIN.max(self.changes.len() / 2) {
            return;
        }
        let oldest = self.retention.map_or(u32::MAX, |seconds| now.saturating_sub(seconds));
        let mut forgotten = self.forgotten;
        self.changes.retain(|change| {
            let dead = change.superseded || change.operation == Operation::Delete;
            let keep = !dead || change.at >= oldest;
            if !keep {
                forgotten = forgotten.max(change.lsn);
            }
            keep
        });
        self.forgotten = forgotten;
        // What stays superseded is history within its retention; counting starts again here.
        self.superseded = 0;
    }

    /// The changes above an LSN.
    pub fn after(&self, lsn: u64) -> &[Change] {
        &self.changes[self.changes.partition_point(|change| change.lsn <= lsn)..]
    }

    /// The LSN just below the first change at or after a time.
    pub fn before_time(&self, seconds: u64) -> Option<u64> {
        let first = self.changes.iter().find(|change| u64::from(change.at) >= seconds)?;
        Some(first.lsn.saturating_sub(1))
    }

    /// Whether every change above an LSN is still known in full and within the retention.
    pub fn knows_all_after(&self, lsn: u64, now: u32) -> bool {
        let oldest = self.retention.map_or(0, |seconds| now.saturating_sub(seconds));
        lsn >= self.forgotten && self.after(lsn).first().is_none_or(|change| change.at >= oldest)
    }

    pub fn len(&self) -> usize {
        self.changes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}
