//! Hubs and their partitions.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::hash::partition_of;
use crate::journal::{Journal, Record};
use crate::lock;
use crate::log::{Log, Stored};
use crate::message::Sent;

/// The service refuses longer keys.
const KEY_CHARACTERS_MAX: usize = 128;

/// One hub: a name, and partitions numbered from zero.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) name: String,
    pub(crate) created_ms: i64,
    pub(crate) partitions: Vec<Partition>,
    turn: AtomicUsize,
}

impl Hub {
    /// Opens a hub with the events in `folder`, or an empty one without a folder.
    pub(crate) fn open(
        name: &str,
        partitions: usize,
        retained: usize,
        folder: Option<&Path>,
    ) -> io::Result<Arc<Self>> {
        let folder = folder.map(|folder| folder.join(name));
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder)?;
        }
        let open = |index| {
            let file = folder.as_ref().map(|folder| folder.join(format!("{index}.log")));
            Partition::open(retained, file.as_deref())
        };
        let partitions = (0..partitions).map(open).collect::<io::Result<_>>()?;
        let (name, turn) = (name.to_owned(), AtomicUsize::new(0));
        Ok(Arc::new(Self { name, created_ms: now_ms(), partitions, turn }))
    }

    /// The partition of a delivery that does not name one: by its key, or round robin without a key.
    pub(crate) fn partition_for(&self, events: &[Sent]) -> Result<usize, &'static str> {
        match events.first().and_then(Sent::partition_key) {
            Some(key) if key.chars().count() > KEY_CHARACTERS_MAX => {
                Err("The partition key is longer than 128 characters.")
            }
            Some(key) => Ok(partition_of(key, self.partitions.len())),
            None => Ok(self.turn.fetch_add(1, Ordering::Relaxed) % self.partitions.len()),
        }
    }
}

/// An append-only log of events, in memory and, if asked for, in a file.
#[derive(Debug)]
pub(crate) struct Partition {
    log: Mutex<(Log, Option<Journal>)>,
    /// The sequence number of the next event, for waiting receivers.
    next: watch::Sender<i64>,
}

impl Partition {
    fn open(retained: usize, file: Option<&Path>) -> io::Result<Self> {
        let mut log = Log::new(retained);
        let journal = match file {
            None => None,
            Some(file) => Some(Journal::open(file, |record| {
                let Record { enqueued_ms, sent, bytes } = record;
                log.push(sent, enqueued_ms, bytes);
            })?),
        };
        let next = watch::Sender::new(log.next_sequence());
        Ok(Self { log: Mutex::new((log, journal)), next })
    }

    /// Stores events, first in the file and then in memory, so that receivers never get an event that could be lost.
    pub(crate) fn append(&self, events: Vec<Sent>) -> io::Result<()> {
        let mut guard = lock(&self.log);
        let (log, journal) = &mut *guard;
        let enqueued_ms = now_ms().max(log.last_enqueued_ms());
        let records: Vec<Record> =
            events.into_iter().map(|sent| Record::new(sent, enqueued_ms)).collect();
        if let Some(journal) = journal {
            journal.append(&records)?;
        }
        for record in records {
            log.push(record.sent, enqueued_ms, record.bytes);
        }
        self.next.send_replace(log.next_sequence());
        Ok(())
    }

    /// Up to `count` events from a sequence number on, or from the oldest that is retained.
    pub(crate) fn read(&self, from: i64, count: usize) -> Vec<Stored> {
        lock(&self.log).0.read(from, count)
    }

    /// Runs a function on the current log.
    pub(crate) fn inspect<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&lock(&self.log).0)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<i64> {
        self.next.subscribe()
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
