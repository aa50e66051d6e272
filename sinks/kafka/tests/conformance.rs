//! The suite that every sink passes, against Apache Kafka.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_brokers::Kafka;
use cosmos_bridge_conformance::{Harness, Outage, Received, conforms};
use cosmos_bridge_kafka::KafkaSink;
use cosmos_bridge_sink::Sink;
use serde_json::Value;
use tokio::sync::Mutex;

struct Topic {
    kafka: Mutex<Kafka>,
    bootstrap: String,
    /// The next offset of each partition.
    read: Mutex<HashMap<u64, u64>>,
}

#[async_trait]
impl Harness for Topic {
    async fn open(&self) -> Arc<dyn Sink> {
        let mut settings = support::settings(&self.bootstrap, "{container}");
        settings.options.request_timeout = Duration::from_secs(3);
        Arc::new(KafkaSink::new("events", settings).unwrap())
    }

    async fn received(&self, _at_least: usize) -> Vec<Received> {
        // Acknowledged messages can be read immediately.
        let messages = self.kafka.lock().await.read("changes", None).await.unwrap();
        let mut read = self.read.lock().await;
        let mut received = Vec::new();
        for message in messages {
            let number = |name: &str| message[name].as_u64().unwrap();
            let next = read.entry(number("partition")).or_default();
            if number("offset") >= *next {
                *next = number("offset") + 1;
                received.push(parse(&message));
            }
        }
        received
    }

    fn too_large(&self) -> Option<usize> {
        Some(1_000_000)
    }

    fn outage(&self) -> Option<&dyn Outage> {
        Some(self)
    }
}

#[async_trait]
impl Outage for Topic {
    async fn begin(&self) {
        self.kafka.lock().await.kill().await;
    }

    async fn end(&self) {
        self.kafka.lock().await.restart().await.unwrap();
    }
}

fn parse(message: &Value) -> Received {
    let headers = message["headers"].as_object().unwrap();
    let attributes: Vec<(String, String)> = headers
        .iter()
        .filter_map(|(name, value)| {
            Some((name.strip_prefix("ce_")?.to_owned(), value.as_str()?.to_owned()))
        })
        .collect();
    let document = headers["ce_subject"].as_str().unwrap().to_owned();
    let body = message["value"].as_str().map(|text| text.as_bytes().to_vec());
    Received { document, body, attributes }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_keeps_the_contract() {
    let kafka = Kafka::start().await.unwrap();
    kafka.create_topic("changes", 3, &[]).await.unwrap();
    let bootstrap = kafka.bootstrap();
    let topic = Topic { kafka: Mutex::new(kafka), bootstrap, read: Mutex::default() };
    conforms(&topic).await.unwrap();
}
