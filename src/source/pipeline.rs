//! What all feed ranges of one pipeline share.

use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::{Change, KeyValue, Operation, Origin, PartitionKey};
use serde_json::json;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tracing::warn;

use super::hold::Spool;
use crate::backoff::Backoff;
use crate::config::{Deletes, Path, SlowSinks, Start};
use crate::cosmos::Feeds;
use crate::deliver::{Delivery, Rejected, Unit, WriteStop};
use crate::governor::Governor;
use crate::model::{DeadLetter, Event, FeedRange, SourceChange, Stage, StoredPosition};
use crate::observe::{PipelineMeter, Throttling};
use crate::route::{Rejection, Router};
use crate::state::{StateError, StateStore};
use crate::traces::ReadTracer;
use tokio_util::sync::CancellationToken;

/// Bytes per permit of the read-ahead, so that any sensible limit fits the semaphore.
pub const READ_AHEAD_UNIT: usize = 1024;

/// A disk that is well stores a position in milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const NO_ANSWER: &str = "a write to the state file has not ended for 10 s or longer";

/// One pipeline, ready to run.
pub struct Pipeline {
    pub name: String,
    pub feeds: Arc<dyn Feeds>,
    pub start: Start,
    pub source_key_paths: Vec<Path>,
    pub router: Router,
    /// In the order of the router's sink numbers.
    pub deliveries: Vec<Arc<Delivery>>,
    /// What each of them may hold in memory.
    pub spools: Vec<Arc<Spool>>,
    pub slow_sinks: SlowSinks,
    pub store: Arc<dyn StateStore>,
    pub governor: Arc<Governor>,
    pub deletes: Deletes,
    /// Changes of one feed range that may be delivered and not checkpointed.
    pub window: usize,
    pub checkpoint_interval: Duration,
    pub poll_interval: Duration,
    /// Permits of [`READ_AHEAD_UNIT`] bytes, over all feed ranges.
    pub read_ahead: Arc<Semaphore>,
    pub read_ahead_permits: u32,
    pub meter: Arc<PipelineMeter>,
    /// Woken whenever a feed range has caught up.
    pub caught_up: Arc<Notify>,
    pub throttling: Throttling,
    /// `None` where nothing is traced.
    pub traces: Option<ReadTracer>,
    pub stop: CancellationToken,
}

impl Pipeline {
    /// In the order of the deliveries.
    pub(super) fn sink_names(&self) -> Vec<&str> {
        self.deliveries.iter().map(|delivery| delivery.sink.name()).collect()
    }

    /// What a page that all sinks share is to have at most, in bytes, so that it fits the read-ahead
    /// and what each of them may hold.
    pub(super) fn shared_page(&self) -> usize {
        let spools = self.spools.iter().map(|spool| spool.shared_page());
        let read_ahead = self.read_ahead_permits as usize * READ_AHEAD_UNIT / 2;
        spools.fold(read_ahead, usize::min)
    }

    /// Whether the configuration wants this change at all.
    pub(super) fn wants(&self, change: &SourceChange) -> bool {
        match (&change.event, self.deletes) {
            (Event::Upsert { .. }, _) | (Event::Delete { .. }, Deletes::All) => true,
            (Event::Delete { expired, .. }, Deletes::Explicit) => !expired,
            (Event::Delete { .. }, Deletes::Ignore) => false,
        }
    }

    /// Delivers the changes of one unit, or buries what its sink will never take. `None` when
    /// stopped first.
    pub(super) async fn deliver(&self, sink: usize, unit: &Unit, stop: &WriteStop) -> Option<()> {
        let rejected = self.deliveries[sink].until_done(unit, stop).await?;
        let delivered = unit.changes.len() - rejected.len();
        if !rejected.is_empty() {
            let letters = rejected.into_iter().map(|rejected| self.refused(sink, rejected));
            self.bury(letters.collect()).await?;
        }
        self.spools[sink].meter().delivered.inc_by(delivered as u64);
        Some(())
    }

    /// Keeps dead letters, however often it takes. `None` when stopped first.
    pub(super) async fn bury(&self, letters: Vec<DeadLetter>) -> Option<()> {
        self.persist(|| self.store.bury(letters.clone())).await?;
        for DeadLetter { sink, stage, cause, source_id: id, .. } in &letters {
            self.meter.count_dead_letter(sink, *stage);
            warn!(pipeline = self.name, sink, id, cause, "kept a dead letter");
        }
        Some(())
    }

    /// Stores a position, however often it takes. `None` when stopped first.
    pub(super) async fn checkpoint(&self, stored: &StoredPosition) -> Option<()> {
        self.persist(|| self.store.checkpoint(&self.name, stored)).await
    }

    /// Stores the parts of a range in its place, however often it takes. `None` when stopped first.
    pub(super) async fn divide(&self, range: &FeedRange, parts: &[StoredPosition]) -> Option<()> {
        self.persist(|| self.store.replace(&self.name, range, parts)).await
    }

    /// Tries until the state has it: a full disk holds the pipeline up, and loses nothing. So does
    /// one that does not answer, which nothing can be done about but to tell it.
    async fn persist<F>(&self, mut attempt: impl FnMut() -> F) -> Option<()>
    where
        F: Future<Output = Result<(), StateError>>,
    {
        let mut backoff = Backoff::for_requests();
        while let Err(error) = self.answer_to(attempt()).await {
            self.meter.store_failures.failed(&error.to_string());
            self.stop.run_until_cancelled(tokio::time::sleep(backoff.next_wait(None))).await?;
        }
        self.meter.store_failures.recovered();
        Some(())
    }

    /// A write to the state that is under way is never given up: it may be on the disk already.
    async fn answer_to<T>(&self, attempt: impl Future<Output = T>) -> T {
        let mut attempt = std::pin::pin!(attempt);
        loop {
            match timeout(ANSWER_WITHIN, &mut attempt).await {
                Ok(answer) => return answer,
                Err(_) => self.meter.store_failures.failed(NO_ANSWER),
            }
        }
    }

    /// A change that the route could not map, as it was read.
    pub(super) fn unroutable(&self, rejection: Rejection) -> DeadLetter {
        let operation = rejection.change.event.name();
        let image = match rejection.change.event {
            Event::Upsert { current, .. } => Some(current),
            Event::Delete { previous, .. } => previous,
        };
        DeadLetter {
            operation,
            document: image.map(|image| serde_json::Value::Object(image).to_string()),
            target: (rejection.route + 1).to_string(),
            ..self
                .letter(rejection.sink, Stage::Route, rejection.reason)
                .of(&rejection.change.origin)
        }
    }

    /// A change that nobody could read: all that is known is where it stood.
    pub(super) fn unreadable(&self, cause: &str, lsn: Option<i64>) -> Vec<(usize, DeadLetter)> {
        let letter = |sink| DeadLetter { lsn, ..self.letter(sink, Stage::Read, cause.to_owned()) };
        (0..self.deliveries.len()).map(|sink| (sink, letter(sink))).collect()
    }

    /// A change that a sink will never take, as it was given to the sink.
    fn refused(&self, sink: usize, rejected: Rejected) -> DeadLetter {
        let Change { id, partition_key, operation, previous, origin } = rejected.change;
        let name = operation.name();
        let document = match operation {
            Operation::Upsert { document } => Some(document),
            Operation::Delete { .. } => previous,
        };
        DeadLetter {
            operation: name,
            document: document.and_then(|document| serde_json::to_string(&*document).ok()),
            target: format!("[{},{}]", key_text(&partition_key), json!(id)),
            ..self.letter(sink, Stage::Sink, rejected.reason).of(&origin)
        }
    }

    /// A letter of which only the address is written.
    fn letter(&self, sink: usize, stage: Stage, cause: String) -> DeadLetter {
        DeadLetter {
            pipeline: self.name.clone(),
            sink: self.deliveries[sink].sink.name().to_owned(),
            stage,
            cause,
            source: self.feeds.identity().container,
            source_id: String::new(),
            source_key: "[]".to_owned(),
            lsn: None,
            nth: 0,
            target: String::new(),
            committed_at: None,
            operation: "upsert",
            document: None,
        }
    }
}

fn key_text(key: &PartitionKey) -> String {
    serde_json::Value::Array(key.0.iter().map(KeyValue::to_json).collect()).to_string()
}

impl DeadLetter {
    /// Whose change it is, and when it was made.
    fn of(self, origin: &Origin) -> Self {
        Self {
            source_id: origin.id.clone(),
            source_key: key_text(&origin.partition_key),
            lsn: origin.lsn,
            nth: origin.nth,
            committed_at: origin.committed_at,
            ..self
        }
    }
}
