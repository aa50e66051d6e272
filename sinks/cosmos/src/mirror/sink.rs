//! A container that is mirrored.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use cosmos_bridge_sink::{
    Answers, Cause, Change, Grouping, Limits, Mutex, Sink, SinkError, Wait, Written,
};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use super::conflict::ConflictLog;
use super::policy::Policy;
use super::record::Place;
use crate::document_hash::by_document;
use crate::history::History;
use crate::result::{PointResult, settle};
use crate::{Container, CosmosOptions};

/// How a container is mirrored.
pub struct Mirror {
    /// The field of the bridge's record.
    pub field: String,
    pub role: Role,
    pub log: Arc<dyn ConflictLog>,
}

/// What a side does about conflicts.
#[derive(Clone, Debug, PartialEq)]
pub enum Role {
    Decides(Policy),
    Follows,
}

/// Writes the changes of one side to the other one.
pub struct MirrorSink {
    pub(super) name: String,
    pub(super) mirror: Mirror,
    pub(super) container: Arc<dyn Container>,
    /// What the service may execute late.
    pub(super) history: History,
    /// Seconds since the Unix epoch.
    now: fn() -> i64,
    /// The latest time of the service in what was read.
    latest: AtomicI64,
    options: CosmosOptions,
    /// Documents that are under way, over all writes.
    under_way: Semaphore,
}

impl MirrorSink {
    /// `now` is the time in seconds since the Unix epoch.
    pub fn new(
        name: impl Into<String>,
        options: CosmosOptions,
        mirror: Mirror,
        container: Arc<dyn Container>,
        now: fn() -> i64,
    ) -> Self {
        // Every document is read before it is written, so no write is remembered.
        let history = History::new(&CosmosOptions { remembered_documents: 1, ..options.clone() });
        let under_way = Semaphore::new(options.concurrency);
        let latest = AtomicI64::new(i64::MIN);
        Self { name: name.into(), mirror, container, history, now, latest, options, under_way }
    }

    /// Where the document of a change is.
    pub(super) fn place<'a>(&'a self, change: &'a Change) -> Place<'a> {
        let Change { partition_key, id, .. } = change;
        Place { partition_key, id, field: &self.mirror.field }
    }

    /// Notes a time of the service, in seconds since the Unix epoch.
    pub(super) fn note_time(&self, committed_at: i64) {
        self.latest.fetch_max(committed_at, Relaxed);
    }

    /// The time in seconds since the Unix epoch. A clock that is behind that of the service would let the bridge
    /// take its own writes for those of users.
    pub(super) fn time(&self) -> i64 {
        (self.now)().max(self.latest.load(Relaxed))
    }

    /// Writes the changes of one document one after the other, until one is not durable.
    async fn write_in_order(
        &self,
        indexes: Vec<usize>,
        changes: &[Change],
        pressure: &Pressure,
    ) -> (Vec<(usize, PointResult)>, Answers<'static>) {
        let mut counted = Answers::new(&[]);
        let mut results = Vec::with_capacity(indexes.len());
        for index in indexes {
            let turn = self.under_way.acquire().await;
            let result = match pressure.wait() {
                Some((reason, wait)) => PointResult::Failed(reason, wait),
                None => self.cross(&changes[index], &mut counted).await,
            };
            drop(turn);
            pressure.note(&result);
            let goes_on = result.is_final();
            results.push((index, result));
            if !goes_on {
                break;
            }
        }
        (results, counted)
    }
}

/// Why the other documents of a write need not be tried: the target has told that it takes nothing more now.
#[derive(Default)]
struct Pressure(Mutex<Option<(String, Wait)>>);

impl Pressure {
    fn wait(&self) -> Option<(String, Wait)> {
        self.0.lock().clone()
    }

    fn note(&self, result: &PointResult) {
        if let PointResult::Failed(reason, wait) = result
            && !matches!(wait.cause, Cause::Fault | Cause::HotKey)
        {
            *self.0.lock() = Some((reason.clone(), *wait));
        }
    }
}

#[async_trait]
impl Sink for MirrorSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        let CosmosOptions { concurrency, batch_changes, batch_bytes, .. } = self.options;
        let grouping = if self.options.bulk { Grouping::Partition } else { Grouping::Key };
        Limits { grouping, changes: batch_changes, bytes: batch_bytes, concurrency }
    }

    async fn check(&self) -> Result<(), SinkError> {
        self.container.check().await?;
        self.mirror.log.check().await
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut answers = Answers::new(changes);
        let pressure = Pressure::default();
        let documents = by_document(changes).into_iter();
        let mut documents: FuturesUnordered<_> =
            documents.map(|indexes| self.write_in_order(indexes, changes, &pressure)).collect();
        while let Some((results, counted)) = documents.next().await {
            answers.add_counts(&counted);
            for (index, result) in results {
                settle(&mut answers, index, result);
            }
        }
        answers.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(()) // Every write has been answered; nothing is buffered here.
    }
}

#[cfg(test)]
mod tests;
