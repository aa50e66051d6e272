//! A document that another client changes all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use async_trait::async_trait;
use cosmos_bridge_sink::{Change, Outcome, PartitionKey, Sink as _, SinkError};

use super::{CosmosSink, delete, options, upsert};
use crate::{
    Answer, BatchAnswer, BulkAnswer, Container, CosmosOptions, Found, FoundDocument, Operation,
    SourceDocument, StoredDocument, Strategy, Write,
};

/// Has another `ETag` with each read, until some writes were refused.
struct Restless {
    refused: u32,
    reads: AtomicU32,
    writes: AtomicU32,
}

#[async_trait]
impl Container for Restless {
    async fn write(&self, _: &PartitionKey, _: &str, write: Write<'_>) -> Answer {
        assert!(write.if_match().is_some(), "{write:?} has no condition");
        let before = self.writes.fetch_add(1, Relaxed);
        let status = if before < self.refused { 412 } else { 200 };
        Answer { status, etag: Some("written".to_owned()), ..Answer::default() }
    }

    fn default_ttl(&self) -> Option<i64> {
        None
    }

    async fn read(&self, key: &PartitionKey, ids: &[&str], _: Option<&str>) -> Found {
        let etag = format!("read {}", self.reads.fetch_add(1, Relaxed));
        let document = StoredDocument {
            id: ids[0].to_owned(),
            partition_key: key.clone(),
            etag,
            version: None,
        };
        let answer = Answer { status: 200, ..Answer::default() };
        Found { answer, requests: 1, documents: vec![document] }
    }

    async fn read_latest(&self, key: &PartitionKey, id: &str) -> Found {
        self.read(key, &[id], None).await
    }

    async fn document(&self, _: &PartitionKey, _: &str) -> FoundDocument {
        panic!("nothing is mirrored")
    }

    async fn copies(&self, _: &str, _: &[SourceDocument]) -> Found {
        Found { answer: Answer { status: 200, ..Answer::default() }, ..Found::default() }
    }

    async fn batch(&self, _: &PartitionKey, _: &[(&str, Write<'_>)]) -> BatchAnswer {
        panic!("one change is no batch")
    }

    async fn bulk(&self, _: Vec<Operation<'_>>) -> BulkAnswer {
        panic!("one change is no batch")
    }

    async fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

async fn write(change: Change, refused: u32) -> (bool, u32) {
    let container = Restless { refused, reads: AtomicU32::new(0), writes: AtomicU32::new(0) };
    let container = Arc::new(container);
    let source_field = Some("_source".to_owned());
    // Always reads what it replaces.
    let options = CosmosOptions { write: Strategy::ReplaceIfPresent, source_field, ..options() };
    let sink = CosmosSink::new("target", options, Arc::clone(&container) as Arc<_>, || 0);
    let written = sink.write(&[change]).await;
    let is_delivered = written.outcomes == [Outcome::Delivered];
    let is_deferred = matches!(written.outcomes[..], [Outcome::Deferred { .. }]);
    assert!(is_delivered || is_deferred, "{:?}", written.outcomes);
    (is_delivered, container.writes.load(Relaxed))
}

/// A sink never repeats without an end: `deliver` does, with growing waits.
#[tokio::test(start_paused = true)]
async fn a_document_that_changes_while_it_is_written_is_deferred_after_three_attempts() {
    for (refused, expected) in
        [(0, (true, 1)), (1, (true, 2)), (2, (true, 3)), (3, (false, 3)), (9, (false, 3))]
    {
        assert_eq!(write(upsert("a", 1), refused).await, expected, "upsert, {refused}");
        assert_eq!(write(delete("a", 1), refused).await, expected, "delete, {refused}");
    }
}
