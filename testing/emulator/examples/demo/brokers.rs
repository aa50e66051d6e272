//! The brokers that the bridge publishes to, if asked for: the real ones that the tests start, on free
//! loopback ports, with their data in a temporary folder.

use std::path::Path;

use cosmos_bridge_brokers::{Kafka, Rabbit};
use serde_json::Value;
use tokio::time::Instant;

use crate::arrived::{Event, Tally};
use crate::configuration::with_event_sink;
use crate::report::say;
use crate::{Arguments, Failure};

/// What the example's topic template makes of the source container.
const TOPIC: &str = "shop.orders";
const PARTITIONS: u32 = 3;
const EXCHANGE: &str = "changes";
const QUEUE: &str = "orders";
/// The file with `RabbitMQ`'s address, which holds a password.
const URI_FILE: &str = "rabbitmq.uri";
/// Events that are shown when they arrive.
const SHOWN: usize = 3;
/// Characters of a document that are shown.
const SHOWN_OF_BODY: usize = 100;

/// A broker, and the events that were already taken from it.
pub(crate) struct Broker {
    server: Server,
    taken: Vec<Event>,
}

enum Server {
    Kafka(Box<Kafka>),
    Rabbit(Box<Rabbit>),
}

impl Broker {
    /// Those that the arguments ask for, with the topic or queue for the orders.
    pub(crate) async fn start_all(arguments: &Arguments) -> Result<Vec<Self>, Failure> {
        let mut brokers = Vec::new();
        if arguments.kafka {
            say("starting Apache Kafka ..");
            let began = Instant::now();
            let kafka = Kafka::start().await?;
            kafka.create_topic(TOPIC, PARTITIONS, &[]).await?;
            brokers.push(Self::new(Server::Kafka(Box::new(kafka)), began));
        }
        if arguments.rabbitmq {
            say("starting RabbitMQ ..");
            let began = Instant::now();
            let rabbit = Rabbit::start().await?;
            rabbit.create_exchange(EXCHANGE, "topic").await?;
            rabbit.create_queue(QUEUE, Some((EXCHANGE, "#"))).await?;
            brokers.push(Self::new(Server::Rabbit(Box::new(rabbit)), began));
        }
        Ok(brokers)
    }

    fn new(server: Server, began: Instant) -> Self {
        let broker = Self { server, taken: Vec::new() };
        let seconds = began.elapsed().as_secs_f64();
        say(&format!("{} is ready at {}, after {seconds:.1} s", broker.name(), broker.address()));
        broker
    }

    /// With the topic or queue.
    pub(crate) fn name(&self) -> &'static str {
        match &self.server {
            Server::Kafka(_) => "Kafka, topic shop.orders",
            Server::Rabbit(_) => "RabbitMQ, queue orders",
        }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        match &self.server {
            Server::Kafka(kafka) => kafka.bootstrap(),
            Server::Rabbit(rabbit) => format!("127.0.0.1:{}", rabbit.port()),
        }
    }

    /// The configuration with a sink and a route for this broker; its secret is put into `folder`.
    pub(crate) fn configure(&self, config: &str, folder: &Path) -> Result<String, Failure> {
        Ok(match &self.server {
            Server::Kafka(kafka) => {
                let servers = kafka.bootstrap();
                let options =
                    format!("servers = [\"{servers}\"]\ntopic = \"{{database}}.{{container}}\"\n");
                with_event_sink(config, "kafka", "events", &options)
            }
            Server::Rabbit(rabbit) => {
                std::fs::write(folder.join(URI_FILE), rabbit.url())?;
                let options =
                    format!("uri = {{ file = \"{URI_FILE}\" }}\nexchange = \"{EXCHANGE}\"\n");
                with_event_sink(config, "amqp", "changes", &options)
            }
        })
    }

    /// Shows the first events, when they arrive.
    pub(crate) async fn show_first(&mut self) -> Result<(), Failure> {
        let first = self.read(Some(SHOWN)).await?;
        for event in &first {
            let Event { place, key, id, kind, body } = event;
            let document: String = body.chars().take(SHOWN_OF_BODY).collect();
            say(&format!("arrived    in {}, {place}, with the key {key}", self.name()));
            say(&format!("           type {kind}, event id {id}"));
            say(&format!("           {document} .."));
        }
        // A queue has them no longer; a topic keeps them.
        if matches!(self.server, Server::Rabbit(_)) {
            self.taken = first;
        }
        Ok(())
    }

    /// Reads every event and compares them with the documents of the source.
    pub(crate) async fn tally(&mut self, documents: &[String]) -> Result<Tally, Failure> {
        let mut events = std::mem::take(&mut self.taken);
        events.append(&mut self.read(None).await?);
        Tally::of(&events, documents)
    }

    /// Asks the broker's process, by its id, to stop.
    pub(crate) async fn stop(self) {
        match self.server {
            Server::Kafka(mut kafka) => kafka.stop().await,
            Server::Rabbit(mut rabbit) => rabbit.stop().await,
        }
    }

    /// By the independent clients of the tests.
    async fn read(&self, count: Option<usize>) -> Result<Vec<Event>, Failure> {
        let (messages, event): (_, fn(&Value) -> Event) = match &self.server {
            Server::Kafka(kafka) => (kafka.read(TOPIC, count).await, of_kafka),
            Server::Rabbit(rabbit) => (rabbit.read(QUEUE, count).await, of_rabbit),
        };
        Ok(messages?.iter().map(event).collect())
    }
}

fn of_kafka(message: &Value) -> Event {
    Event {
        place: format!("partition {}, offset {}", message["partition"], message["offset"]),
        key: text(&message["key"]),
        id: text(&message["headers"]["ce_id"]),
        kind: text(&message["headers"]["ce_type"]),
        body: text(&message["value"]),
    }
}

fn of_rabbit(message: &Value) -> Event {
    Event {
        place: format!("from exchange {}", text(&message["exchange"])),
        key: text(&message["routing_key"]),
        id: text(&message["properties"]["message_id"]),
        kind: text(&message["properties"]["type"]),
        body: text(&message["body"]),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
