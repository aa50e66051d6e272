//! The shared suite, against `RabbitMQ`, read back by an independent client.

use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_brokers::Rabbit;
use cosmos_bridge_conformance::{Harness, Outage, Received, SOURCE, conforms};
use cosmos_bridge_sink::Sink;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::RwLock;
use tokio::task::block_in_place;

/// A queue that is bound to all events of the suite's container.
struct Queue {
    rabbit: RwLock<Rabbit>,
    url: String,
}

const EXCHANGE: &str = "changes";
const QUEUE: &str = "all";
const LARGEST: usize = 100_000;

impl Queue {
    async fn new() -> Self {
        let rabbit = Rabbit::start().await.unwrap();
        let (_, database, container) = SOURCE;
        rabbit.create_exchange(EXCHANGE, "topic").await.unwrap();
        let key = format!("{database}.{container}.*");
        rabbit.create_queue(QUEUE, Some((EXCHANGE, &key))).await.unwrap();
        Self { url: rabbit.url(), rabbit: RwLock::new(rabbit) }
    }
}

fn received(message: &Value) -> Received {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let headers = message["headers"].as_object().unwrap();
    let attributes = headers
        .iter()
        .map(|(name, value)| (name.strip_prefix("ce-").unwrap().to_owned(), text(value)))
        .collect();
    Received {
        document: text(&headers["ce-subject"]),
        body: Some(text(&message["body"]).into_bytes()),
        attributes,
    }
}

#[async_trait]
impl Harness for Queue {
    async fn open(&self) -> Arc<dyn Sink> {
        let mut settings = crate::support::settings(&self.url, EXCHANGE);
        settings.options.max_message = LARGEST;
        Arc::new(crate::support::sink(settings))
    }

    async fn received(&self, _at_least: usize) -> Vec<Received> {
        // Confirmed messages are in the queue.
        let messages = self.rabbit.read().await.read(QUEUE, None).await.unwrap();
        messages.iter().map(received).collect()
    }

    fn too_large(&self) -> Option<usize> {
        Some(LARGEST)
    }

    fn outage(&self) -> Option<&dyn Outage> {
        Some(self)
    }
}

#[async_trait]
impl Outage for Queue {
    async fn begin(&self) {
        self.rabbit.write().await.kill().await;
    }

    async fn end(&self) {
        let mut rabbit = self.rabbit.write().await;
        // Its future cannot move between threads.
        block_in_place(|| Handle::current().block_on(rabbit.restart())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_conforms() {
    conforms(&Queue::new().await).await.unwrap();
}
