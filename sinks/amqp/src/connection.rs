//! One connection to the broker, its channels, and the messages in flight on them.
//!
//! The recovery of the client is off: the bridge sends unconfirmed messages again in any case, and
//! the recovery would hide the outage.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_compat::Compat;
use cosmos_bridge_sink::{Class, Mutex};
use futures::StreamExt;
use futures::future::join_all;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::tcp::AsyncTcpStream;
use lapin::uri::AMQPUri;
use lapin::{Channel, Confirmation, Connection, ConnectionProperties, Error, ErrorKind, Event};
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::broker_state::BrokerState;
use crate::classify::{Failure, Stage, classify};
use crate::largest_body::LargestBody;
use crate::message::Message;
use crate::publish::PublishResult;
use crate::socket::Socket;
use crate::{AmqpOptions, Broker, Settings};

/// The longest time for closing a connection.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// An opened connection. Dropping it shuts it down.
pub(crate) struct BrokerConnection {
    broker: Broker,
    hides: Hides,
    connection: Connection,
    /// Channels in confirm mode without messages in flight.
    idle: Mutex<Vec<Channel>>,
    state: watch::Receiver<BrokerState>,
    socket: Socket,
    /// Rounds of messages in flight.
    in_flight: AtomicUsize,
    pub(crate) largest: LargestBody,
    /// When a write gave up waiting for messages that may still arrive. Until they are answered,
    /// nothing else is sent, because it could overtake them.
    gave_up_at: Mutex<Option<Instant>>,
    /// The longest wait for these answers while the broker accepts messages.
    confirm_timeout: Duration,
    _events: JoinSet<()>,
}

/// The names that no message may show, because they hold parts of documents.
#[derive(Clone, Copy, Debug, Default)]
struct Hides {
    exchange: bool,
    key: bool,
}

impl Hides {
    fn of(options: &AmqpOptions) -> Self {
        let AmqpOptions { exchange, routing_key, .. } = options;
        Self { exchange: exchange.shows_the_document(), key: routing_key.shows_the_document() }
    }

    /// The failure without the text of the broker where that may hold a name. A routing key is only in the
    /// refusal of `RabbitMQ` for the lack of a topic permission.
    /// <https://www.rabbitmq.com/docs/access-control#topic-authorisation>
    fn of_failure(self, what: &str, failure: Failure) -> Failure {
        let may_name_the_key = failure.reason.contains("access to topic");
        match failure.code {
            Some(code) if self.exchange || (self.key && may_name_the_key) => {
                let name = if self.exchange { "an exchange" } else { "a routing key" };
                let about = format!("about {name} that is made of fields of the document");
                Failure { reason: format!("{what}: the broker answered {code} {about}"), ..failure }
            }
            _ => failure,
        }
    }
}

type TokioStream = AsyncTcpStream<Compat<tokio::net::TcpStream>>;

impl Drop for BrokerConnection {
    fn drop(&mut self) {
        self.socket.shut_down();
    }
}

impl BrokerConnection {
    pub(crate) async fn open(settings: &Settings, name: &str) -> Result<Self, Failure> {
        let broker = settings.broker.clone();
        let what = format!("connecting to {broker} as user {}", broker.user());
        let socket = Socket::default();
        let connection = connection(settings, name, socket.clone());
        let Ok(connection) = timeout(settings.options.connect_timeout, connection).await else {
            socket.shut_down();
            let limit = settings.options.connect_timeout.as_secs_f64();
            return Err(Failure::busy(format!("{what}: no answer within {limit} s")));
        };
        let connection = connection.map_err(|error| classify(Stage::Connecting, &what, &error))?;
        let (sender, state) = watch::channel(BrokerState::new(None));
        let mut changes = connection.events_listener();
        let mut events = JoinSet::new();
        events.spawn(async move {
            while let Some(event) = changes.next().await {
                let blocked = match event {
                    Event::ConnectionBlocked(reason) => Some(reason),
                    Event::ConnectionUnblocked => None,
                    _ => continue,
                };
                sender.send_replace(BrokerState::new(blocked));
            }
        });
        Ok(Self {
            broker,
            hides: Hides::of(&settings.options),
            connection,
            idle: Mutex::default(),
            state,
            socket,
            in_flight: AtomicUsize::new(0),
            largest: LargestBody::default(),
            gave_up_at: Mutex::default(),
            confirm_timeout: settings.options.confirm_timeout,
            _events: events,
        })
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.connection.status().connected()
    }

    /// The largest frame, in bytes.
    pub(crate) fn frame_max(&self) -> usize {
        match self.connection.configuration().frame_max() {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }

    /// Why nothing may be sent now.
    pub(crate) fn obstacle(&self) -> Option<Failure> {
        let state = self.state.borrow();
        if let Some(reason) = &state.blocked {
            return Some(self.is_blocked(reason));
        }
        let mut gave_up_at = self.gave_up_at.lock();
        let since = (*gave_up_at)?;
        if self.in_flight.load(Ordering::Acquire) == 0 {
            *gave_up_at = None;
            return None;
        }
        if state.is_overdue(since, self.confirm_timeout) {
            self.shut_down();
        }
        let reason = "earlier messages that were not confirmed in time may still arrive";
        Some(Failure::busy(format!("{}: {reason}", self.broker)))
    }

    /// Returns when the broker blocks the connection, with the reason of the broker.
    pub(crate) async fn blocked(&self) -> Failure {
        let mut state = self.state.clone();
        let is_blocked = |state: &BrokerState| state.blocked.is_some();
        let reason = state.wait_for(is_blocked).await.map(|state| state.blocked.clone());
        match reason {
            Ok(reason) => self.is_blocked(&reason.unwrap_or_default()),
            // The task that receives events has ended, so no event can come.
            Err(_) => std::future::pending().await,
        }
    }

    fn is_blocked(&self, reason: &str) -> Failure {
        Failure::busy(format!("{} accepts no messages: {reason}", self.broker))
    }

    /// Notes that a write does not wait any longer for the results of a round.
    pub(crate) fn give_up_waiting(&self) {
        self.gave_up_at.lock().get_or_insert_with(Instant::now);
    }

    /// Shuts the connection down now. The messages in flight are lost.
    pub(crate) fn shut_down(&self) {
        self.socket.shut_down();
    }

    pub(crate) async fn close(&self) {
        if self.is_alive() && self.state.borrow().blocked.is_none() {
            // Nothing is in flight, so an error changes nothing.
            timeout(CLOSE_WITHIN, self.connection.close(200, "OK".into())).await.ok();
        }
        self.shut_down();
    }

    /// A channel in confirm mode without messages in flight.
    async fn channel(&self) -> Result<Channel, Error> {
        loop {
            let idle = self.idle.lock().pop();
            match idle {
                Some(channel) if channel.status().connected() => return Ok(channel),
                Some(_) => {}
                None => break,
            }
        }
        let channel = self.raw_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }

    /// A new channel.
    pub(crate) async fn raw_channel(&self) -> Result<Channel, Error> {
        self.connection.create_channel().await
    }

    /// Publishes messages of different documents, in no particular order, and waits for the result of
    /// each. Returns when all results are known, or when the connection ends.
    pub(crate) async fn publish(
        self: Arc<Self>,
        messages: Vec<Message>,
        mandatory: bool,
    ) -> Vec<PublishResult> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        let _in_flight = InFlight(&self.in_flight);
        let what = format!("publishing to {}", self.broker);
        let lost = |error: &Error| {
            let failure = classify(Stage::Publishing, &what, error);
            PublishResult::Lost(self.hides.of_failure(&what, failure))
        };
        let channel = match self.channel().await {
            Ok(channel) => channel,
            Err(error) => return vec![lost(&error); messages.len()],
        };
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        let answers = join_all(messages.iter().map(async |message| {
            let Message { exchange, routing_key, body, properties, .. } = message;
            let (exchange, routing_key) = (exchange.clone(), routing_key.clone());
            channel
                .basic_publish(exchange, routing_key, options, body, properties.clone())
                .await?
                .await
        }))
        .await;
        if answers.iter().all(Result::is_ok) {
            self.idle.lock().push(channel);
        }
        // One error ends everything in flight on the channel. An error of the broker says more than
        // the client's error that nothing could be sent afterwards.
        let is_reply = |e: &&Error| matches!(e.kind(), ErrorKind::ProtocolError(_));
        let errors = || answers.iter().filter_map(|answer| answer.as_ref().err());
        let error = errors().find(is_reply).or_else(|| errors().next());
        results(&messages, &answers, error.map(lost).as_ref(), self.hides)
    }
}

/// Counts a round while it is in flight.
struct InFlight<'l>(&'l AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The result of each message.
///
/// If the broker confirms several messages in one frame, the client may attach a returned message to
/// the confirmation of another message of the channel. The number of returned messages is right, and
/// all of them are known when all confirmations are, so they are matched by their ids.
fn results(
    messages: &[Message],
    answers: &[Result<Confirmation, Error>],
    lost: Option<&PublishResult>,
    hides: Hides,
) -> Vec<PublishResult> {
    let mut returned: HashMap<&str, String> = HashMap::new();
    for confirmation in answers.iter().flatten() {
        if let Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message)) = confirmation {
            let id = message.delivery.properties.message_id();
            returned.insert(id.as_ref().map_or("", |id| id.as_str()), unroutable(message, hides));
        }
    }
    let result = |(message, answer): (&Message, &Result<Confirmation, Error>)| {
        let reason = returned.remove(message.id.as_str());
        match (answer, reason) {
            (Err(_), _) => lost.cloned().unwrap_or(PublishResult::Nacked),
            (Ok(_), Some(reason)) => PublishResult::Returned(reason),
            (Ok(Confirmation::Ack(_)), None) => PublishResult::Confirmed,
            (Ok(Confirmation::Nack(_) | Confirmation::NotRequested), None) => PublishResult::Nacked,
        }
    };
    let mut results: Vec<PublishResult> = messages.iter().zip(answers).map(result).collect();
    if !returned.is_empty() {
        // A message was returned without its id, so it may be any of them.
        let reason = "publishing: the broker returned a message without its id";
        let failure = Failure { class: Class::FAULT, ..Failure::busy(reason) };
        results.fill(PublishResult::Lost(failure));
    }
    results
}

/// What is said of a returned message, without a name that holds parts of the document.
fn unroutable(message: &BasicReturnMessage, hides: Hides) -> String {
    let BasicReturnMessage { delivery, reply_code, reply_text, .. } = message;
    let exchange = match delivery.exchange.as_str() {
        _ if hides.exchange => "the exchange of the change".to_owned(),
        "" => "the default exchange".to_owned(),
        name => format!("exchange `{name}`"),
    };
    let key = match delivery.routing_key.as_str() {
        _ if hides.key => " and the routing key of the change".to_owned(),
        key => format!(", routing key `{key}`"),
    };
    format!("no queue is bound for {exchange}{key} ({reply_code} {reply_text})")
}

async fn connection(settings: &Settings, name: &str, socket: Socket) -> Result<Connection, Error> {
    let mut uri = settings.broker.uri.clone();
    let heartbeat = u16::try_from(settings.options.heartbeat.as_secs()).unwrap_or(u16::MAX);
    uri.query.heartbeat = Some(heartbeat.max(1));
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("cosmos-bridge {name}").into());
    let (tls, limit) = (settings.broker.tls.clone(), settings.options.connect_timeout);
    let runtime = lapin::runtime::default_runtime()?;
    // This runs on a thread of the client, which must end when the caller stops waiting.
    let connect = async move |uri: AMQPUri, runtime| {
        let (host, port) = (uri.authority.host, uri.authority.port);
        let stream = async {
            let addresses: Vec<_> = lookup_host((host.as_str(), port)).await?.collect();
            let stream = TokioStream::connect(&runtime, addresses).await?;
            if let AsyncTcpStream::Plain(plain) = &stream {
                plain.get_ref().set_nodelay(true)?;
                socket.keep(plain.get_ref())?;
            }
            match &tls {
                Some(tls) => stream.into_rustls(tls, &host).await,
                None => Ok(stream),
            }
        };
        let stream = timeout(limit, stream).await;
        stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(Error::from)
    };
    Connection::connector(uri, runtime, connect, properties).await
}

#[cfg(test)]
mod tests;
