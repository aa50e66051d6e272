//! A sink that counts what another one would get.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use cosmos_bridge_sink::{
    Answers, Change, Grouping, Limits, Operation, Sink, SinkError, Written, document_bytes,
};

/// Takes the place of a sink, and counts.
pub struct Tally {
    sink: Arc<dyn Sink>,
    documents: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink, documents: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// Documents, and their bytes as text.
    pub fn counted(&self) -> (u64, u64) {
        (self.documents.load(Relaxed), self.bytes.load(Relaxed))
    }
}

#[async_trait]
impl Sink for Tally {
    fn name(&self) -> &str {
        self.sink.name()
    }

    fn limits(&self) -> Limits {
        Limits { grouping: Grouping::Any, changes: 1000, bytes: 1 << 30, concurrency: 16 }
    }

    async fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut answers = Answers::new(changes);
        for (index, change) in changes.iter().enumerate() {
            if let Some(reason) = self.sink.refusal(change).await {
                answers.reject(index, reason);
                continue;
            }
            let bytes = match &change.operation {
                Operation::Upsert { document } => document_bytes(document),
                Operation::Delete { .. } => 0,
            };
            self.documents.fetch_add(1, Relaxed);
            self.bytes.fetch_add(bytes as u64, Relaxed);
            answers.deliver(index);
        }
        answers.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(())
    }
}
