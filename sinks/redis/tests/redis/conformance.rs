//! The shared suite, against Redis, read back by an independent client.

use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_brokers::Redis;
use cosmos_bridge_conformance::{Harness, Outage, Received, SOURCE, conforms};
use cosmos_bridge_event::{ContentMode, Data, Format};
use cosmos_bridge_redis::Mode;
use cosmos_bridge_sink::Sink;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, RwLock};
use tokio::task::block_in_place;

use crate::support::{EXPIRY, settings, sink, stream};

const LARGEST: usize = 100_000;

/// A server, and how far its stream was read.
struct Target {
    redis: RwLock<Redis>,
    port: u16,
    mode: Mode,
    read: Mutex<String>,
}

impl Target {
    async fn new(mode: Mode) -> Self {
        let redis = Redis::start().await.unwrap();
        let read = Mutex::new("-".to_owned());
        Self { port: redis.port(), redis: RwLock::new(redis), mode, read }
    }

    fn is_stream(&self) -> bool {
        matches!(self.mode, Mode::Stream(_))
    }

    async fn entries(&self) -> Vec<Received> {
        let mut read = self.read.lock().await;
        let (_, database, container) = SOURCE;
        let stream = format!("{database}.{container}");
        let entries = self.redis.read().await.entries(&stream, &read).await.unwrap();
        if let Some(last) = entries.last() {
            read.clone_from(&last.id);
        }
        let received = |fields: &serde_json::Map<String, Value>| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            Received {
                document: text(&fields["subject"]),
                body: fields.get("data").map(|data| text(data).into_bytes()),
                attributes: fields
                    .iter()
                    .map(|(name, value)| (name.clone(), text(value)))
                    .collect(),
            }
        };
        entries.iter().map(|entry| received(&entry.fields)).collect()
    }

    /// Values are taken out, so that what is there later was written later.
    async fn documents(&self) -> Vec<Received> {
        let taken = self.redis.read().await.take("suite:*").await.unwrap();
        let received = |value: &str| {
            let document: Value = serde_json::from_str(value).unwrap();
            Received {
                document: document["id"].as_str().unwrap().to_owned(),
                body: Some(value.as_bytes().to_vec()),
                attributes: Vec::new(),
            }
        };
        taken.iter().map(|stored| received(stored.value.as_str().unwrap())).collect()
    }
}

#[async_trait]
impl Harness for Target {
    async fn open(&self) -> Arc<dyn Sink> {
        let mut mode = self.mode;
        if let Mode::Stream(stream) = &mut mode {
            stream.max_message = LARGEST;
        }
        let key = match mode {
            Mode::Stream(_) => "{database}.{container}",
            _ => "{database}:{partition_key}:{id}",
        };
        Arc::new(sink(settings(self.port, key, mode)))
    }

    async fn received(&self, _at_least: usize) -> Vec<Received> {
        // What is acknowledged is there.
        if self.is_stream() { self.entries().await } else { self.documents().await }
    }

    fn format(&self) -> Option<Format> {
        let cloud_events = Some(ContentMode::Binary);
        self.is_stream().then_some(Format { data: Data::Document, cloud_events })
    }

    fn keeps_history(&self) -> bool {
        self.is_stream()
    }

    fn too_large(&self) -> Option<usize> {
        self.is_stream().then_some(LARGEST)
    }

    fn outage(&self) -> Option<&dyn Outage> {
        Some(self)
    }
}

#[async_trait]
impl Outage for Target {
    async fn begin(&self) {
        self.redis.write().await.kill().await;
    }

    async fn end(&self) {
        let mut redis = self.redis.write().await;
        // Its future cannot move between threads.
        block_in_place(|| Handle::current().block_on(redis.restart())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_conforms_with_events_in_a_stream() {
    conforms(&Target::new(stream()).await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_conforms_with_documents_in_strings() {
    conforms(&Target::new(Mode::Set(EXPIRY)).await).await.unwrap();
}
