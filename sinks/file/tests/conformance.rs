//! The conformance suite, with files.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use async_trait::async_trait;
use cosmos_bridge_conformance::{Harness, Received, conforms};
use cosmos_bridge_event::{ContentMode, Data, Format};
use cosmos_bridge_file::{FileOptions, FileSink};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::Sink;
use serde_json::Value;

const FORMAT: Format = Format { data: Data::Document, cloud_events: Some(ContentMode::Structured) };

/// A file, and the number of its lines that were read.
struct File {
    path: PathBuf,
    read: AtomicUsize,
}

fn received(line: &str) -> Received {
    let event: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
    let text = |name: &str| event[name].as_str().unwrap().to_owned();
    Received {
        document: text("subject"),
        body: Some(line.as_bytes().to_vec()),
        attributes: ["traceparent", "percentencoded"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), event.get(name)?.as_str()?.to_owned())))
            .collect(),
    }
}

#[async_trait]
impl Harness for File {
    async fn open(&self) -> Arc<dyn Sink> {
        let options: FileOptions = from_toml(&format!("path = {:?}", self.path)).unwrap();
        Arc::new(FileSink::new("conformance", options))
    }

    async fn received(&self, _at_least: usize) -> Vec<Received> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let read = self.read.swap(text.len(), Relaxed);
        text.get(read..).unwrap().lines().map(received).collect()
    }

    fn format(&self) -> Option<Format> {
        Some(FORMAT)
    }
}

#[tokio::test]
async fn conformance() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    conforms(&File { path, read: AtomicUsize::new(0) }).await.unwrap();
}
