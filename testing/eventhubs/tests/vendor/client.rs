//! The vendor's Rust client, connected to the stand-in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::time::OffsetDateTime;
use azure_messaging_eventhubs::models::{AmqpSimpleValue, MessageId, ReceivedEventData};
use azure_messaging_eventhubs::{
    ConsumerClient, OpenReceiverOptions, ProducerClient, RetryOptions, StartLocation, StartPosition,
};
use cosmos_bridge_eventhubs_local::{Authority, LocalHubs, Options};
use futures::StreamExt as _;
use tokio::time::timeout;

pub(crate) const HUB: &str = "orders";
/// An application that may send and receive.
pub(crate) const APP: &str = "b0000000-0000-0000-0000-00000000000b";
/// The name of the namespace. Where it is comes from the custom endpoint.
const NAMESPACE: &str = "local.servicebus.windows.net";
/// The client renews tokens six minutes before they expire, so none is renewed in a test.
const LIFETIME: Duration = Duration::from_hours(1);
/// The longest wait for an event that exists.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// An identity of Entra ID; this version of the client has no other access.
#[derive(Debug)]
struct Identity {
    app: String,
    authority: Arc<Authority>,
}

#[async_trait]
impl TokenCredential for Identity {
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let audience = scopes[0].trim_end_matches("/.default");
        let expires = SystemTime::now() + LIFETIME;
        let token = self.authority.token(&self.app, audience, expires);
        Ok(AccessToken::new(token, OffsetDateTime::from(expires)))
    }
}

/// The stand-in with one hub, and an authority that it trusts.
pub(crate) struct Hub {
    pub(crate) local: LocalHubs,
    authority: Arc<Authority>,
}

impl Hub {
    pub(crate) async fn start(partitions: usize) -> Self {
        let local = LocalHubs::start(Options::with_hub(HUB, partitions)).await.unwrap();
        let authority = Arc::new(Authority::new("north.example"));
        let mut trust = authority.trust(&[APP]);
        trust.receivers.push(APP.to_owned());
        local.trust(trust);
        Self { local, authority }
    }

    /// For a client that is another application.
    fn identity(&self, app: &str) -> Arc<Identity> {
        Arc::new(Identity { app: app.to_owned(), authority: Arc::clone(&self.authority) })
    }

    pub(crate) async fn consumer(&self) -> ConsumerClient {
        let builder = ConsumerClient::builder()
            .with_custom_endpoint(self.local.namespace_address())
            .with_retry_options(no_retries());
        builder.open(NAMESPACE, HUB.to_owned(), self.identity(APP)).await.unwrap()
    }

    pub(crate) async fn producer(&self) -> ProducerClient {
        self.producer_of(APP, HUB).await
    }

    pub(crate) async fn producer_of(&self, app: &str, hub: &str) -> ProducerClient {
        let builder = ProducerClient::builder()
            .with_custom_endpoint(self.local.namespace_address())
            .with_retry_options(no_retries());
        builder.open(NAMESPACE, hub, self.identity(app)).await.unwrap()
    }

    pub(crate) async fn reader(&self) -> Reader {
        let consumer = self.consumer().await;
        let hub = consumer.get_eventhub_properties().await.unwrap();
        let next = hub.partition_ids.into_iter().map(|id| (id, 0)).collect();
        Reader { consumer, next }
    }

    /// All events, each read once.
    pub(crate) async fn read(&self) -> Vec<Event> {
        let events = self.reader().await.read().await;
        assert_eq!(events.len() as u64, self.local.count(HUB));
        events
    }
}

/// A retry would hide a fault, and repeat events.
fn no_retries() -> RetryOptions {
    RetryOptions { max_retries: 0, ..RetryOptions::default() }
}

/// A consumer that reads on from where it stopped.
pub(crate) struct Reader {
    consumer: ConsumerClient,
    /// The next sequence number of each partition.
    next: BTreeMap<String, i64>,
}

impl Reader {
    /// The events since the last call, partition by partition. No sequence number is missing, and none comes twice.
    pub(crate) async fn read(&mut self) -> Vec<Event> {
        let mut all = Vec::new();
        for (partition, next) in &mut self.next {
            let now = self.consumer.get_partition_properties(partition).await.unwrap();
            let end = now.last_enqueued_sequence_number + 1;
            if *next < end {
                let location = StartLocation::SequenceNumber(*next);
                let start = StartPosition { location, inclusive: true };
                let count = usize::try_from(end - *next).unwrap();
                let events = receive(&self.consumer, partition, start, count).await;
                for (event, expected) in events.iter().zip(*next..) {
                    assert_eq!(event.received.sequence_number(), Some(expected));
                }
                all.extend(events);
                *next = end;
            }
        }
        all
    }
}

/// The next events of a partition from a position on.
pub(crate) async fn receive(
    consumer: &ConsumerClient,
    partition: &str,
    start: StartPosition,
    count: usize,
) -> Vec<Event> {
    let options = OpenReceiverOptions { start_position: Some(start), ..Default::default() };
    let receiver = consumer.open_receiver_on_partition(partition.to_owned(), Some(options)).await;
    let receiver = receiver.unwrap();
    let events = receiver
        .stream_events()
        .take(count)
        .map(|received| Event { partition: partition.to_owned(), received: received.unwrap() });
    let events: Vec<Event> = timeout(PATIENCE, events.collect()).await.unwrap();
    receiver.close().await.unwrap();
    events
}

/// An event as the client delivers it, and the partition that it was read from.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) partition: String,
    pub(crate) received: ReceivedEventData,
}

impl Event {
    pub(crate) fn body(&self) -> &[u8] {
        self.received.event_data().body().unwrap()
    }

    pub(crate) fn message_id(&self) -> &str {
        match self.received.event_data().message_id() {
            Some(MessageId::String(id)) => id,
            other => panic!("the message id is {other:?}"),
        }
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.received.partition_key().as_deref()
    }

    /// An application property with its type.
    pub(crate) fn property(&self, name: &str) -> Option<&AmqpSimpleValue> {
        self.received.event_data().properties()?.get(name)
    }

    /// The application properties, which are all texts.
    pub(crate) fn texts(&self) -> BTreeMap<&str, &str> {
        let properties = self.received.event_data().properties().into_iter().flatten();
        let texts = properties.map(|(name, value)| match value {
            AmqpSimpleValue::String(text) => (name.as_str(), text.as_str()),
            other => panic!("{name} is {other:?}"),
        });
        texts.collect()
    }
}
