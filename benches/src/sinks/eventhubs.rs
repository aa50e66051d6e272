//! Event Hubs, replaced by the local stand-in: the sink, and fe2o3-amqp with the same batches.

use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_event::ContentMode;
use cosmos_bridge_eventhubs::{Access, ConnectionString, EventHubsSink, Settings, partition_of};
use cosmos_bridge_eventhubs_local::python;
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{Change, Sink};
use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::link::delivery::Sendable;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Connection, Sender, Session};
use fe2o3_amqp_cbs::client::CbsClient;
use fe2o3_amqp_cbs::token::CbsToken;
use fe2o3_amqp_types::messaging::message::__private::Serializable;
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Batch, Data, Message, MessageAnnotations, Properties,
};
use fe2o3_amqp_types::primitives::{Binary, SimpleValue, Symbol};
use futures::future::try_join_all;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::Failure;
use crate::contest::{Contest, Made, Shared, Took, encoder, event, measure};
use crate::stand_ins::{HUB, PARTITIONS, StandIn};

/// Changes per write, and concurrent writes.
const WRITE: usize = 1000;
const WRITES: usize = 8;
/// The message format of a batch.
const BATCH: u32 = 0x8001_3700;

pub(crate) struct HubContest {
    hub: StandIn,
    renewed: u32,
}

impl HubContest {
    pub(crate) async fn start() -> Result<Self, Failure> {
        Ok(Self { hub: StandIn::start("hub").await?, renewed: 0 })
    }
}

#[async_trait]
impl Contest for HubContest {
    fn name(&self) -> &'static str {
        "eventhubs"
    }

    fn changes(&self) -> u64 {
        150_000
    }

    /// Twice a hub that can be read; then one that does not keep events, which are not read.
    async fn renew(&mut self) -> Result<(), Failure> {
        self.renewed += 1;
        let serve = if self.renewed <= 2 { "hub" } else { "forgetful-hub" };
        self.hub = StandIn::start(serve).await?;
        Ok(())
    }

    fn sink(&self) -> Result<Arc<dyn Sink>, Failure> {
        let connection = ConnectionString::read(&self.hub.address)?;
        let settings = Settings {
            options: from_toml("connection = { env = \"CONNECTION\" }")?,
            access: Access::ConnectionString(connection),
            hub: HUB.to_owned(),
            encoder: encoder(ContentMode::Binary),
        };
        Ok(Arc::new(EventHubsSink::new("bench", settings)))
    }

    async fn bare(&self, changes: &Arc<[Change]>, made: Made) -> Result<Took, Failure> {
        let client = Arc::new(Client::connect(&self.hub.address).await?);
        let writes = Shared::new(made.of(changes, WRITE, write));
        let took = measure((0..WRITES).map(|_| {
            let (client, writes) = (Arc::clone(&client), writes.clone());
            async move {
                while let Some(write) = writes.next() {
                    let batches = write.into_iter().enumerate();
                    let batches = batches.filter(|(_, events)| !events.is_empty());
                    try_join_all(batches.map(|(at, events)| client.send(at, events))).await?;
                }
                Ok(())
            }
        }))
        .await?;
        client.connection.lock().await.close().await?;
        Ok(took)
    }

    async fn arrived(&self, count: usize) -> Result<Vec<String>, Failure> {
        let count = format!("--count={count}");
        let read = python::read(&self.hub.address, HUB, &[&count]).await?;
        let normalised = |mut event: Value| {
            for name in ["offset", "sequence_number", "enqueued_time"] {
                event.as_object_mut().map(|event| event.remove(name));
            }
            event.to_string()
        };
        Ok(read.into_iter().map(normalised).collect())
    }
}

/// A link to each partition.
struct Client {
    senders: Vec<Mutex<Sender>>,
    _sessions: Vec<SessionHandle<()>>,
    connection: Mutex<ConnectionHandle<()>>,
}

impl Client {
    async fn connect(text: &str) -> Result<Self, Failure> {
        let endpoint = text.strip_prefix("Endpoint=sb://").and_then(|rest| rest.split(';').next());
        let address = endpoint.ok_or("no endpoint")?;
        let token = ConnectionString::read(text)?.token("amqp://127.0.0.1/");
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Connection::builder()
            .container_id("bare")
            .hostname("127.0.0.1")
            .scheme("amqp")
            .sasl_profile(SaslProfile::Anonymous)
            .open_with_stream(stream)
            .await?;
        let mut session = Session::begin(&mut connection).await?;
        let mut cbs = CbsClient::attach(&mut session).await?;
        let put = CbsToken::new(token, "servicebus.windows.net:sastoken", None);
        cbs.put_token("hub", put).await?;
        let mut sessions = vec![session];
        let mut senders = Vec::new();
        for partition in 0..PARTITIONS {
            let mut session = Session::begin(&mut connection).await?;
            let address = format!("{HUB}/Partitions/{partition}");
            let name = format!("bare-{partition}");
            senders.push(Mutex::new(Sender::attach(&mut session, name, address).await?));
            sessions.push(session);
        }
        Ok(Self { senders, _sessions: sessions, connection: Mutex::new(connection) })
    }

    async fn send(&self, partition: usize, events: Vec<Data>) -> Result<(), Failure> {
        let message = Message {
            header: None,
            delivery_annotations: None,
            message_annotations: None,
            properties: None,
            application_properties: None,
            body: Batch::new(events),
            footer: None,
        };
        let batch = Sendable { message, message_format: BATCH, settled: Some(false) };
        let delivery = self.senders[partition].lock().await.send_batchable(batch).await?;
        if delivery.await?.is_accepted() { Ok(()) } else { Err("a batch was not taken".into()) }
    }
}

/// The events of a write, by partition.
fn write(changes: &[Change]) -> Vec<Vec<Data>> {
    let mut partitions = vec![Vec::new(); PARTITIONS];
    for change in changes {
        let key = change.partition_key.text();
        partitions[partition_of(&key, PARTITIONS)].push(message(change, &key));
    }
    partitions
}

fn message(change: &Change, key: &str) -> Data {
    let event = event(ContentMode::Binary, change);
    let mut properties = ApplicationProperties::builder();
    for (name, value) in event.attributes {
        properties = properties.insert(format!("cloudEvents_{name}"), SimpleValue::String(value));
    }
    let annotation = Symbol::from("x-opt-partition-key");
    let annotations =
        MessageAnnotations::builder().insert(annotation, serde_amqp::Value::from(key));
    let message = Message {
        header: None,
        delivery_annotations: None,
        message_annotations: Some(annotations.build()),
        properties: Some(
            Properties::builder()
                .message_id(event.id)
                .content_type(Symbol::from(event.content_type))
                .build(),
        ),
        application_properties: Some(properties.build()),
        body: Data(Binary::from(event.body.unwrap_or_default())),
        footer: None,
    };
    let bytes = serde_amqp::to_vec(&Serializable(message));
    Data(Binary::from(bytes.unwrap_or_else(|_| unreachable!("an event has a form in AMQP"))))
}
