//! `RabbitMQ`: the sink, and lapin with as many channels and messages in flight.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_amqp::{AmqpSink, Broker, Settings, Tls};
use cosmos_bridge_brokers::Rabbit;
use cosmos_bridge_event::ContentMode;
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{Change, Sink};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm,
};
use serde_json::Value;
use tokio::time::timeout;

use crate::Failure;
use crate::contest::{Contest, Made, Shared, Took, encoder, event, measure};

const EXCHANGE: &str = "changes";
const ROUTING_KEY: &str = "{database}.{container}.{operation}";
/// Messages per write, each on a separate channel, and concurrent writes.
const BATCH: usize = 500;
const CHANNELS: usize = 4;

pub(crate) struct AmqpContest {
    broker: Rabbit,
    queues: u32,
}

impl AmqpContest {
    pub(crate) async fn start() -> Result<Self, Failure> {
        let broker = Rabbit::start().await?;
        broker.create_exchange(EXCHANGE, "topic").await?;
        Ok(Self { broker, queues: 0 })
    }

    fn queue(&self) -> String {
        format!("orders-{}", self.queues)
    }
}

#[async_trait]
impl Contest for AmqpContest {
    fn name(&self) -> &'static str {
        "amqp"
    }

    fn changes(&self) -> u64 {
        30_000
    }

    async fn renew(&mut self) -> Result<(), Failure> {
        if self.queues > 0 {
            self.broker.delete_queue(&self.queue()).await?;
        }
        self.queues += 1;
        self.broker.create_queue(&self.queue(), Some((EXCHANGE, "#"))).await?;
        Ok(())
    }

    fn sink(&self) -> Result<Arc<dyn Sink>, Failure> {
        let text = format!(
            "uri = {{ env = \"URI\" }}\nexchange = {EXCHANGE:?}\nrouting_key = {ROUTING_KEY:?}
            batch = {BATCH}\nconcurrency = {CHANNELS}"
        );
        let settings = Settings {
            options: from_toml(&text)?,
            broker: Broker::new(&self.broker.url(), &Tls::default())?,
            encoder: encoder(ContentMode::Binary),
        };
        Ok(Arc::new(AmqpSink::new("bench", settings)))
    }

    async fn bare(&self, changes: &Arc<[Change]>, made: Made) -> Result<Took, Failure> {
        let connection =
            Connection::connect(&self.broker.url(), ConnectionProperties::default()).await?;
        let messages = made.of(changes, 1, |changes| message(&changes[0]));
        let messages = Shared::new(messages);
        let mut channels = Vec::new();
        for _ in 0..CHANNELS {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            channels.push(publish(channel, messages.clone()));
        }
        let took = measure(channels).await?;
        // Everything is confirmed. Closing channels here would be an error, and lapin may wait for an answer that was
        // lost with the connection.
        timeout(Duration::from_secs(5), connection.close(200, "OK".into())).await.ok();
        Ok(took)
    }

    async fn arrived(&self, count: usize) -> Result<Vec<String>, Failure> {
        let read = self.broker.read(&self.queue(), Some(count)).await?;
        let normalised = |mut message: Value| {
            message.as_object_mut().map(|message| message.remove("queue"));
            message.to_string()
        };
        Ok(read.into_iter().map(normalised).collect())
    }
}

/// Publishes on one channel with a window of unconfirmed messages.
async fn publish(channel: Channel, messages: Shared<Message>) -> Result<(), Failure> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut window = VecDeque::with_capacity(BATCH);
    while let Some(Message { routing_key, body, properties }) = messages.next() {
        if window.len() == BATCH {
            confirmed(window.pop_front()).await?;
        }
        let sent = channel.basic_publish(EXCHANGE.into(), routing_key, options, &body, properties);
        window.push_back(sent.await?);
    }
    while !window.is_empty() {
        confirmed(window.pop_front()).await?;
    }
    Ok(())
}

async fn confirmed(sent: Option<PublisherConfirm>) -> Result<(), Failure> {
    let Some(sent) = sent else { return Ok(()) };
    match sent.await? {
        Confirmation::Ack(None) => Ok(()),
        other => Err(format!("a message was not taken: {other:?}").into()),
    }
}

struct Message {
    routing_key: ShortString,
    body: Vec<u8>,
    properties: BasicProperties,
}

fn message(change: &Change) -> Message {
    let event = event(ContentMode::Binary, change);
    let kind = event.attributes.iter().find(|(name, _)| *name == "type");
    let kind = ShortString::from(kind.map_or("", |(_, value)| value.as_str()));
    let mut headers = FieldTable::default();
    for (name, value) in event.attributes {
        let value = AMQPValue::LongString(LongString::from(value));
        headers.insert(format!("ce-{name}").into(), value);
    }
    let properties = BasicProperties::default()
        .with_message_id(event.id.into())
        .with_type(kind)
        .with_app_id("cosmos-bridge".into())
        .with_delivery_mode(2)
        .with_timestamp(event.time.and_then(|time| u64::try_from(time).ok()).unwrap_or_default())
        .with_content_type(event.content_type.into())
        .with_headers(headers);
    let name = &change.origin.container;
    let operation = change.operation.name();
    let routing_key = format!("{}.{}.{operation}", name.database, name.container);
    Message { routing_key: routing_key.into(), body: event.body.unwrap_or_default(), properties }
}
