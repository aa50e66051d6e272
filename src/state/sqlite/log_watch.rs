//! Watches the size of the write-ahead log. SQLite writes it from its start again once everything in it is in
//! the file itself and no reader needs it. A reader whose transaction stays open prevents that, and the log
//! grows with every commit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cosmos_bridge_sink::LogThrottle;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::time::Instant;
use tracing::{info, warn};

/// The size of the log, in bytes, that it keeps on disk while it is not held. A checkpoint is made each 4 MiB
/// (SQLite's default), so only a large commit exceeds that, and the log is cut to this size after it.
pub(super) const LIMIT: u64 = 16 * 1024 * 1024;

/// The bytes of the write-ahead log on disk, after the last commit.
#[derive(Debug, Default)]
pub struct LogSize(AtomicU64);

impl LogSize {
    pub fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The log after one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) bytes: u64,
    /// It is larger than [`LIMIT`], and a reader needs what is in it.
    pub(super) is_held: bool,
}

/// The log of one state file.
#[derive(Debug)]
pub(super) struct LogWatch {
    log: PathBuf,
    size: Arc<LogSize>,
    /// The log is held.
    throttle: Mutex<LogThrottle>,
}

impl LogWatch {
    /// Of the state file with this path. The log is next to the file itself, not to a link to it.
    pub(super) fn new(file: &Path) -> Self {
        let mut log = file.canonicalize().unwrap_or_else(|_| file.to_owned()).into_os_string();
        log.push("-wal");
        Self { log: log.into(), size: Arc::default(), throttle: Mutex::default() }
    }

    pub(super) fn size(&self) -> Arc<LogSize> {
        Arc::clone(&self.size)
    }

    /// Measures the log after a commit, on a thread that may wait for the disk.
    pub(super) fn measure(&self, connection: &Connection) -> Measured {
        let bytes = self.log.metadata().map_or(0, |log| log.len());
        self.size.0.store(bytes, Relaxed);
        Measured { bytes, is_held: bytes > LIMIT && has_reader(connection) }
    }

    /// Logs that the log is held, at growing intervals, and that it is free again.
    pub(super) fn report(&self, measured: Measured) {
        let Measured { bytes, is_held } = measured;
        let mut throttle = self.throttle.lock();
        let log = self.log.display();
        if is_held {
            let now = Instant::now();
            let Some(episode) = throttle.on_occurrence(now) else { return };
            let for_seconds = episode.is_logged.then(|| (now - episode.since).as_secs());
            let hint = "End the reader: a program with an open transaction or an unfinished query on the \
                        state file. `fuser` shows the processes that have it open.";
            warn!(
                %log,
                bytes,
                for_seconds,
                hint,
                "the write-ahead log of the state file grows: a reader keeps it from being reused"
            );
        } else if let Some(episode) = throttle.end().filter(|episode| episode.is_logged) {
            let after_seconds = episode.since.elapsed().as_secs();
            info!(%log, bytes, after_seconds, "the write-ahead log of the state file is reused again");
        }
    }
}

/// Copies what can be copied from the log into the file. True if a reader keeps a part of it from that.
fn has_reader(connection: &Connection) -> bool {
    let checkpoint = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let (pages, copied): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(copied < pages)
    });
    // A checkpoint that fails is tried again by the next commit, which reports a disk that is full.
    checkpoint.unwrap_or(false)
}

#[cfg(test)]
mod tests;
