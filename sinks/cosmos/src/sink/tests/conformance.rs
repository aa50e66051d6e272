//! The suite that every sink runs, against a container in memory; `tests/replication` has the real requests.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_conformance::{Harness, Outage, Received, conforms};
use cosmos_bridge_event::Format;
use cosmos_bridge_sink::{Mutex, Sink};

use super::super::CosmosSink;
use super::super::service::Service;
use crate::CosmosOptions;
use crate::fixtures::options;

struct Target {
    service: Arc<Service>,
    options: CosmosOptions,
    read: Mutex<Read>,
}

/// What was read of the target so far.
#[derive(Default)]
struct Read {
    /// Writes that were executed.
    executed: usize,
    /// The documents of the last reading.
    documents: BTreeSet<String>,
}

#[async_trait]
impl Harness for Target {
    async fn open(&self) -> Arc<dyn Sink> {
        let service = Arc::clone(&self.service);
        Arc::new(CosmosSink::new("target", self.options.clone(), service, || 0))
    }

    async fn received(&self, _at_least: usize) -> Vec<Received> {
        let documents = self.service.stored().await;
        let executed = self.service.executed();
        let mut read = self.read.lock();
        let new = executed.iter().skip(read.executed).map(|(id, _)| id.clone());
        let new: BTreeSet<_> = new.collect();
        // A repeated version is not written again: what the target has is what it had.
        if !new.is_empty() {
            *read = Read { executed: executed.len(), documents: new };
        }
        let found = read.documents.iter().filter_map(|id| documents.get_key_value(id));
        let received = found.map(|(id, document)| {
            let mut document = document.clone();
            if let Some(field) = &self.options.source_field {
                assert!(document.remove(field).is_some(), "{id} does not tell its source");
            }
            let body = Some(document.text());
            Received { document: id.clone(), body, attributes: Vec::new() }
        });
        received.collect()
    }

    fn format(&self) -> Option<Format> {
        None
    }

    fn keeps_history(&self) -> bool {
        false
    }

    fn outage(&self) -> Option<&dyn Outage> {
        Some(self)
    }
}

#[async_trait]
impl Outage for Target {
    async fn begin(&self) {
        self.service.is_away.store(true, Ordering::Relaxed);
    }

    async fn end(&self) {
        self.service.is_away.store(false, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn the_sink_keeps_the_contract() {
    for bulk in [false, true] {
        for source_field in [None, Some("_source")] {
            let source_field = source_field.map(str::to_owned);
            let options = CosmosOptions { bulk, source_field, concurrency: 4, ..options() };
            let service = Arc::new(Service::new(1, Duration::ZERO));
            let target = Target { service, options, read: Mutex::default() };
            let conforms = conforms(&target).await;
            assert!(conforms.is_ok(), "bulk = {bulk}: {conforms:?}");
            assert!(target.service.executed().len() > 300, "the suite has written little");
        }
    }
}
