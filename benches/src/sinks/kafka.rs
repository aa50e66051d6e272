//! Apache Kafka: the sink, and rdkafka's producer with the sink's own options.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_brokers::Kafka;
use cosmos_bridge_event::ContentMode;
use cosmos_bridge_kafka::{KafkaSink, Settings};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{Change, Sink};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::Failure;
use crate::contest::{Clock, Contest, Made, Took, encoder, event};

/// The largest number of messages that the sink has in flight: eight writes of a thousand.
const WINDOW: u32 = 8000;
const PARTITIONS: u32 = 4;
const WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct KafkaContest {
    broker: Kafka,
    topics: u32,
}

impl KafkaContest {
    pub(crate) async fn start() -> Result<Self, Failure> {
        Ok(Self { broker: Kafka::start().await?, topics: 0 })
    }

    fn topic(&self) -> String {
        format!("orders-{}", self.topics)
    }
}

#[async_trait]
impl Contest for KafkaContest {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn changes(&self) -> u64 {
        150_000
    }

    async fn renew(&mut self) -> Result<(), Failure> {
        if self.topics > 0 {
            self.broker.delete_topic(&self.topic()).await?;
        }
        self.topics += 1;
        self.broker.create_topic(&self.topic(), PARTITIONS, &[]).await?;
        Ok(())
    }

    fn sink(&self) -> Result<Arc<dyn Sink>, Failure> {
        let (servers, topic) = (self.broker.bootstrap(), self.topic());
        let options = from_toml(&format!("servers = [{servers:?}]\ntopic = {topic:?}"))?;
        let settings = Settings { options, encoder: encoder(ContentMode::Binary), sasl: None };
        Ok(Arc::new(KafkaSink::new("bench", settings)?))
    }

    async fn bare(&self, changes: &Arc<[Change]>, made: Made) -> Result<Took, Failure> {
        let topic = self.topic();
        let acknowledged = Acknowledged {
            window: Arc::new(Semaphore::new(WINDOW as usize)),
            failed: Arc::new(AtomicBool::new(false)),
        };
        let (window, failed) = (Arc::clone(&acknowledged.window), Arc::clone(&acknowledged.failed));
        let producer: ThreadedProducer<Acknowledged> =
            config(&self.broker.bootstrap()).create_with_context(acknowledged)?;
        producer.client().fetch_metadata(Some(&topic), WITHIN)?;
        let messages = made.of(changes, 1, |changes| message(&changes[0]));
        let clock = Clock::start();
        for Message { key, headers, body } in messages {
            window.acquire().await?.forget();
            let mut own = OwnedHeaders::new_with_capacity(headers.len());
            for (key, value) in &headers {
                own = own.insert(Header { key, value: Some(value) });
            }
            let record = BaseRecord::to(&topic).key(&key).headers(own).payload(&body);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        drop(window.acquire_many(WINDOW).await?);
        let took = clock.stop();
        if failed.load(Ordering::Acquire) {
            return Err("a message was not delivered".into());
        }
        Ok(took)
    }

    async fn arrived(&self, count: usize) -> Result<Vec<String>, Failure> {
        let read = self.broker.read(&self.topic(), Some(count)).await?;
        let normalised = |mut message: Value| {
            // Removes what the broker adds, except for the partition.
            for name in ["topic", "offset", "timestamp"] {
                message.as_object_mut().map(|message| message.remove(name));
            }
            message.to_string()
        };
        Ok(read.into_iter().map(normalised).collect())
    }
}

/// Makes room for another message.
struct Acknowledged {
    window: Arc<Semaphore>,
    failed: Arc<AtomicBool>,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        self.window.add_permits(1);
    }
}

struct Message {
    key: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn message(change: &Change) -> Message {
    let event = event(ContentMode::Binary, change);
    let mut headers = Vec::with_capacity(event.attributes.len() + 2);
    for (name, value) in event.attributes {
        let own = (name == "traceparent").then(|| (name.to_owned(), value.clone()));
        headers.push((format!("ce_{name}"), value));
        headers.extend(own);
    }
    headers.push(("content-type".to_owned(), event.content_type.to_owned()));
    let key = format!("{}/{}", change.partition_key.text(), change.id);
    Message { key, headers, body: event.body.unwrap_or_default() }
}

/// The same as in `sinks/kafka/src/options.rs`.
fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    let options = [
        ("bootstrap.servers", servers),
        ("client.id", "bare"),
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("enable.gapless.guarantee", "true"),
        ("message.timeout.ms", "0"),
        ("compression.type", "zstd"),
        ("linger.ms", "2"),
        ("message.max.bytes", "1000000"),
        ("batch.size", "1000000"),
        ("partitioner", "murmur2_random"),
        ("queue.buffering.max.messages", "1000000"),
        ("socket.nagle.disable", "true"),
    ];
    for (name, value) in options {
        config.set(name, value);
    }
    config
}
