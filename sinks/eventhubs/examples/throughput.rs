//! How fast the sink publishes from memory, beside the bare client with the same messages.
//!
//! Both send the same events in writes of 1,000 over four partitions, a batch for each, eight writes
//! at once, each batch waiting for its outcome, to the local stand-in in this process. The bare
//! client is given finished events; the sink makes them of changes.
//!
//! `cargo run --release -p cosmos-bridge-eventhubs --example throughput`
#![expect(clippy::unwrap_used, reason = "what cannot be measured ends here")]
#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_event::{Event, Oversize};
use cosmos_bridge_eventhubs::{ConnectionString, EventHubsSink};
use cosmos_bridge_eventhubs_local::{LocalHubs, Options};
use cosmos_bridge_sink::{Change, Outcome, Sink};
use fe2o3_amqp::link::delivery::Sendable;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::{Connection, Sender, Session};
use fe2o3_amqp_cbs::client::CbsClient;
use fe2o3_amqp_cbs::token::CbsToken;
use fe2o3_amqp_types::messaging::message::__private::Serializable;
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Batch, Data, Message, MessageAnnotations, Properties,
};
use fe2o3_amqp_types::primitives::{Binary, SimpleValue, Symbol};
use futures::future::join_all;
use futures::stream::{self, StreamExt as _};
use support::{HUB, change_of, encoder, settings};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;

const EVENTS: usize = 100_000;
const WRITE: usize = 1000;
const AT_ONCE: usize = 8;
const PAIRS: usize = 5;
/// A key for each of four partitions, in their order.
const KEYS: [&str; 4] = ["a", "FWfAT", "131", "7"];

async fn by_sink(connection: &str, writes: &[Vec<Change>]) -> Duration {
    let sink = EventHubsSink::new("hub", settings(connection));
    sink.check().await.unwrap();
    assert!(sink.write(&writes[0]).await.outcomes.iter().all(|o| *o == Outcome::Delivered));
    let started = Instant::now();
    stream::iter(writes)
        .for_each_concurrent(AT_ONCE, async |changes| {
            let written = sink.write(changes).await;
            assert!(written.outcomes.iter().all(|o| *o == Outcome::Delivered));
        })
        .await;
    let took = started.elapsed();
    sink.close().await.unwrap();
    took
}

/// The message that the sink makes of an event.
fn message(event: &Event, key: &str) -> Data {
    let mut properties = ApplicationProperties::builder();
    for (name, value) in &event.attributes {
        let value = SimpleValue::String(value.clone());
        properties = properties.insert(format!("cloudEvents_{name}"), value);
    }
    let annotations = MessageAnnotations::builder();
    let message = Message {
        header: None,
        delivery_annotations: None,
        message_annotations: Some(
            annotations
                .insert(Symbol::from("x-opt-partition-key"), serde_amqp::Value::from(key))
                .build(),
        ),
        properties: Some(
            Properties::builder()
                .message_id(event.id.clone())
                .content_type(Symbol::from(event.content_type))
                .build(),
        ),
        application_properties: Some(properties.build()),
        body: Data(Binary::from(event.body.clone().unwrap_or_default())),
        footer: None,
    };
    Data(Binary::from(serde_amqp::to_vec(&Serializable(message)).unwrap()))
}

async fn by_client(hubs: &LocalHubs, token: &str, writes: &[Vec<Vec<Event>>]) -> Duration {
    let stream = TcpStream::connect(hubs.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut connection = Connection::builder()
        .container_id("bare")
        .hostname("127.0.0.1")
        .scheme("amqp")
        .sasl_profile(SaslProfile::Anonymous)
        .open_with_stream(stream)
        .await
        .unwrap();
    let mut session = Session::begin(&mut connection).await.unwrap();
    let mut cbs = CbsClient::attach(&mut session).await.unwrap();
    let put = CbsToken::new(token, "servicebus.windows.net:sastoken", None);
    cbs.put_token("hub", put).await.unwrap();
    let mut sessions = Vec::new();
    let mut senders = Vec::new();
    for partition in 0..KEYS.len() {
        let mut session = Session::begin(&mut connection).await.unwrap();
        let address = format!("{HUB}/Partitions/{partition}");
        let name = format!("bare-{partition}");
        let sender = Sender::attach(&mut session, name, address).await.unwrap();
        sessions.push(session);
        senders.push(Arc::new(Mutex::new(sender)));
    }
    let senders = &senders;
    let send = async |partition: usize, events: &Vec<Event>| {
        let batch: Vec<Data> = events.iter().map(|e| message(e, KEYS[partition])).collect();
        let message = Message {
            header: None,
            delivery_annotations: None,
            message_annotations: None,
            properties: None,
            application_properties: None,
            body: Batch::new(batch),
            footer: None,
        };
        let batch = Sendable { message, message_format: 0x8001_3700, settled: Some(false) };
        let delivery = senders[partition].lock().await.send_batchable(batch).await.unwrap();
        assert!(delivery.await.unwrap().is_accepted());
    };
    let send = &send;
    let started = Instant::now();
    stream::iter(writes)
        .for_each_concurrent(AT_ONCE, async |write| {
            let batches = write.iter().enumerate();
            join_all(batches.map(|(partition, events)| send(partition, events))).await;
        })
        .await;
    let took = started.elapsed();
    connection.close().await.ok();
    took
}

#[tokio::main]
async fn main() {
    let writes: Vec<Vec<Change>> = (0..EVENTS / WRITE)
        .map(|write| {
            let change = |n| {
                let id = format!("d-{}", write * WRITE + n);
                change_of(KEYS[n % KEYS.len()], &id, 1, 700)
            };
            (0..WRITE).map(change).collect()
        })
        .collect();
    let encoder = encoder(Oversize::DeadLetter);
    let events: Vec<Vec<Vec<Event>>> = writes
        .iter()
        .map(|write| {
            let of = |key: usize| write.iter().skip(key).step_by(KEYS.len());
            let event = |change: &Change| encoder.encode(change, usize::MAX).unwrap();
            (0..KEYS.len()).map(|key| of(key).map(event).collect()).collect()
        })
        .collect();
    let bytes = events[0][0][0].bytes();
    let mut ratios = Vec::new();
    for latency in [2, 10] {
        for _ in 0..PAIRS {
            let options = Options {
                latency: Duration::from_millis(latency),
                retained: 1,
                ..Options::with_hub(HUB, KEYS.len())
            };
            let hubs = LocalHubs::start(options).await.unwrap();
            let connection = hubs.connection_string(None);
            let token = ConnectionString::read(&connection).unwrap().token("amqp://127.0.0.1/");
            let bare = by_client(&hubs, &token, &events).await;
            let sink = by_sink(&connection, &writes).await;
            let rate = |took: Duration| 100_000.0 / took.as_secs_f64();
            let ratio = bare.as_secs_f64() / sink.as_secs_f64();
            let line = format!(
                "{bytes} bytes, {latency} ms: bare {:.0}/s, sink {:.0}/s, ratio {ratio:.2}",
                rate(bare),
                rate(sink)
            );
            println!("{line}");
            ratios.push(ratio);
            hubs.stop().await;
        }
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!("median ratio {median:.2}");
}
