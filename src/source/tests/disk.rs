//! Where the scripted bridge keeps its positions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::Sink;
use tokio::time::sleep;

use super::shop::{ScriptedSink, Source, holds, lsn_of};
use crate::model::{DeadLetter, FeedRange, SourceIdentity, StoredPosition};
use crate::state::{StateError, StateStore};

/// Positions that survive a crash of the scripted bridge.
#[derive(Default)]
pub(super) struct MemoryState {
    stored: Mutex<Vec<StoredPosition>>,
    sinks: Mutex<Vec<(Arc<ScriptedSink>, Arc<Source>)>>,
    /// Positions are stored while this is not held.
    disk: tokio::sync::Mutex<()>,
}

impl MemoryState {
    /// Nothing may be stored for these sinks that they have not.
    pub(super) fn watch(&self, sink: &Arc<ScriptedSink>, source: &Arc<Source>) {
        self.sinks.lock().unwrap().push((Arc::clone(sink), Arc::clone(source)));
    }

    /// A disk that does not answer, until this is dropped.
    pub(super) async fn hang(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.disk.lock().await
    }

    pub(super) fn positions(&self) -> BTreeMap<(String, FeedRange), i64> {
        let stored = self.stored();
        let row =
            |s: &StoredPosition| ((s.sink.clone(), s.position.range.clone()), lsn_of(&s.position));
        stored.iter().map(row).collect()
    }

    pub(super) fn rows(&self) -> Vec<StoredPosition> {
        self.stored().clone()
    }

    fn stored(&self) -> MutexGuard<'_, Vec<StoredPosition>> {
        self.stored.lock().unwrap()
    }

    fn must_have(&self, stored: &StoredPosition) {
        let sinks = self.sinks.lock().unwrap();
        let Some((sink, source)) = sinks.iter().find(|(sink, _)| sink.name() == stored.sink) else {
            return;
        };
        let mut lacks = sink.lacks(source, lsn_of(&stored.position));
        lacks.retain(|entry| holds(&stored.position.range, entry.document));
        assert!(lacks.is_empty(), "{lacks:?} are before {stored:?}");
    }
}

#[async_trait]
impl StateStore for MemoryState {
    async fn open(&self, _: &str, _: &SourceIdentity) -> Result<Vec<StoredPosition>, StateError> {
        Ok(self.rows())
    }

    async fn replace(
        &self,
        _: &str,
        range: &FeedRange,
        slices: &[StoredPosition],
    ) -> Result<(), StateError> {
        sleep(Duration::from_millis(1)).await;
        for stored in slices {
            self.must_have(stored);
        }
        let within = |s: &StoredPosition| {
            let (here, sink) = (&s.position.range, &s.sink);
            range.min <= here.min
                && here.max <= range.max
                && slices.iter().any(|new| new.sink == *sink)
        };
        let mut stored = self.stored();
        stored.retain(|s| !within(s));
        stored.extend(slices.iter().cloned());
        Ok(())
    }

    async fn checkpoint(&self, _: &str, new: &StoredPosition) -> Result<(), StateError> {
        let _answers = self.disk.lock().await;
        sleep(Duration::from_millis(1)).await;
        self.must_have(new);
        let mut stored = self.stored();
        stored.retain(|s| s.sink != new.sink || s.position.range != new.position.range);
        stored.push(new.clone());
        Ok(())
    }

    async fn bury(&self, _: Vec<DeadLetter>) -> Result<(), StateError> {
        Ok(())
    }

    async fn dead_letters(&self, _: &str) -> Result<u64, StateError> {
        Ok(0)
    }
}
