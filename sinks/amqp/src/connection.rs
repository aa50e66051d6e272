//! One connection to the broker, its channels, and the messages under way on them.
//!
//! The client's own recovery is off: what is unconfirmed when a connection ends is the bridge's to
//! send again anyway, and it would hide the outage.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_compat::Compat;
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

use crate::classify::{Meaning, Stage, Trouble, classify};
use crate::message::Message;
use crate::publish::Fate;
use crate::socket::Socket;
use crate::standing::Standing;
use crate::{Broker, Settings};

/// The most that a connection may take to end in good order.
const GOODBYE: Duration = Duration::from_secs(5);

/// A connection that was open once. Dropping it ends it.
pub(crate) struct Link {
    broker: Broker,
    connection: Connection,
    /// Channels in confirm mode on which nothing is under way.
    idle: Mutex<Vec<Channel>>,
    standing: watch::Receiver<Standing>,
    socket: Socket,
    /// Rounds of messages without an answer so far.
    pending: AtomicUsize,
    /// When somebody has given up waiting for messages that may still arrive. Until they have been
    /// answered nothing else is sent: it could overtake them.
    settling: Mutex<Option<Instant>>,
    /// The longest wait for these answers while the broker is well.
    confirm_timeout: Duration,
    _events: JoinSet<()>,
}

type TokioStream = AsyncTcpStream<Compat<tokio::net::TcpStream>>;

impl Drop for Link {
    fn drop(&mut self) {
        self.socket.kill();
    }
}

impl Link {
    pub(crate) async fn open(settings: &Settings, name: &str) -> Result<Self, Trouble> {
        let broker = settings.broker.clone();
        let what = format!("connecting to {broker} as user {}", broker.user());
        let socket = Socket::default();
        let connection = connection(settings, name, socket.clone());
        let Ok(connection) = timeout(settings.connect_timeout, connection).await else {
            socket.kill();
            let limit = settings.connect_timeout.as_secs_f64();
            return Err(Trouble::busy(format!("{what}: no answer in {limit} s")));
        };
        let connection = connection.map_err(|error| classify(Stage::Connecting, &what, &error))?;
        let (sender, standing) = watch::channel(Standing::new(None));
        let mut changes = connection.events_listener();
        let mut events = JoinSet::new();
        events.spawn(async move {
            while let Some(event) = changes.next().await {
                let blocked = match event {
                    Event::ConnectionBlocked(reason) => Some(reason),
                    Event::ConnectionUnblocked => None,
                    _ => continue,
                };
                sender.send_replace(Standing::new(blocked));
            }
        });
        Ok(Self {
            broker,
            connection,
            idle: Mutex::default(),
            standing,
            socket,
            pending: AtomicUsize::new(0),
            settling: Mutex::default(),
            confirm_timeout: settings.confirm_timeout,
            _events: events,
        })
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.connection.status().connected()
    }

    /// The most bytes of a frame.
    pub(crate) fn frame_max(&self) -> usize {
        match self.connection.configuration().frame_max() {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }

    /// Why nothing may be sent now.
    pub(crate) fn obstacle(&self) -> Option<Trouble> {
        let standing = self.standing.borrow();
        if let Some(reason) = &standing.blocked {
            return Some(self.is_blocked(reason));
        }
        let mut settling = lock(&self.settling);
        let since = (*settling)?;
        if self.pending.load(Ordering::Acquire) == 0 {
            *settling = None;
            return None;
        }
        if standing.is_overdue(since, self.confirm_timeout) {
            self.kill();
        }
        let reason = "earlier messages, whose confirmation was awaited in vain, may still arrive";
        Some(Trouble::busy(format!("{}: {reason}", self.broker)))
    }

    /// Returns when the broker takes nothing any more, with the reason it gave.
    pub(crate) async fn blocked(&self) -> Trouble {
        let mut standing = self.standing.clone();
        let is_blocked = |standing: &Standing| standing.blocked.is_some();
        let reason = standing.wait_for(is_blocked).await.map(|standing| standing.blocked.clone());
        match reason {
            Ok(reason) => self.is_blocked(&reason.unwrap_or_default()),
            // Without events there is nobody left to say so.
            Err(_) => std::future::pending().await,
        }
    }

    fn is_blocked(&self, reason: &str) -> Trouble {
        Trouble::busy(format!("{} takes no messages: {reason}", self.broker))
    }

    /// To be called when the answer to a round is not awaited any longer.
    pub(crate) fn settle(&self) {
        lock(&self.settling).get_or_insert_with(Instant::now);
    }

    /// Ends it now: whatever is under way is lost.
    pub(crate) fn kill(&self) {
        self.socket.kill();
    }

    pub(crate) async fn close(&self) {
        if self.is_alive() && self.standing.borrow().blocked.is_none() {
            // What it says does not matter: nothing is under way.
            timeout(GOODBYE, self.connection.close(200, "OK".into())).await.ok();
        }
        self.kill();
    }

    /// A channel on which nothing is under way, in confirm mode.
    async fn channel(&self) -> Result<Channel, Error> {
        loop {
            let idle = lock(&self.idle).pop();
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

    /// Publishes messages of different documents, in no particular order, and waits for what the broker
    /// says of each. Ends with an answer or with the connection.
    pub(crate) async fn publish(
        self: Arc<Self>,
        messages: Vec<Message>,
        mandatory: bool,
    ) -> Vec<Fate> {
        self.pending.fetch_add(1, Ordering::AcqRel);
        let _pending = Pending(&self.pending);
        let what = format!("publishing to {}", self.broker);
        let lost = |error: &Error| Fate::Lost(classify(Stage::Publishing, &what, error));
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
            lock(&self.idle).push(channel);
        }
        // One error ends all that is under way on the channel; what the broker said is more than
        // that nothing could be sent afterwards.
        let said = |e: &&Error| matches!(e.kind(), ErrorKind::ProtocolError(_));
        let errors = || answers.iter().filter_map(|answer| answer.as_ref().err());
        let error = errors().find(said).or_else(|| errors().next());
        fates(&messages, &answers, error.map(lost).as_ref())
    }
}

/// Counts a round for as long as it is under way.
struct Pending<'l>(&'l AtomicUsize);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What became of each message.
///
/// The client can attach a returned message to the confirmation of another one of its channel, where
/// the broker confirms several at once. How many came back is right, and all of them are in when all
/// confirmations are; so whose they are is told by their ids.
fn fates(
    messages: &[Message],
    answers: &[Result<Confirmation, Error>],
    lost: Option<&Fate>,
) -> Vec<Fate> {
    let mut returned: HashMap<&str, String> = HashMap::new();
    for confirmation in answers.iter().flatten() {
        if let Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message)) = confirmation {
            let id = message.delivery.properties.message_id();
            returned.insert(id.as_ref().map_or("", |id| id.as_str()), unroutable(message));
        }
    }
    let fate = |(message, answer): (&Message, &Result<Confirmation, Error>)| {
        let back = returned.remove(message.id.as_str());
        match (answer, back) {
            (Err(_), _) => lost.cloned().unwrap_or(Fate::Nacked),
            (Ok(_), Some(reason)) => Fate::Returned(reason),
            (Ok(Confirmation::Ack(_)), None) => Fate::Confirmed,
            (Ok(Confirmation::Nack(_) | Confirmation::NotRequested), None) => Fate::Nacked,
        }
    };
    let mut fates: Vec<Fate> = messages.iter().zip(answers).map(fate).collect();
    if !returned.is_empty() {
        // Came back without its id: it may have been any of them.
        let reason = "publishing: a message came back that cannot be told from others";
        let trouble = Trouble { meaning: Meaning::Refused, ..Trouble::busy(reason) };
        fates.fill(Fate::Lost(trouble));
    }
    fates
}

fn unroutable(message: &BasicReturnMessage) -> String {
    let BasicReturnMessage { delivery, reply_code, reply_text, .. } = message;
    let exchange = match delivery.exchange.as_str() {
        "" => "the default exchange".to_owned(),
        name => format!("exchange `{name}`"),
    };
    let key = delivery.routing_key.as_str();
    format!("no queue takes it: {exchange}, routing key `{key}` ({reply_code} {reply_text})")
}

async fn connection(settings: &Settings, name: &str, socket: Socket) -> Result<Connection, Error> {
    let mut uri = settings.broker.uri.clone();
    let heartbeat = u16::try_from(settings.heartbeat.as_secs()).unwrap_or(u16::MAX);
    uri.query.heartbeat = Some(heartbeat.max(1));
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("cosmos-bridge {name}").into());
    let (tls, limit) = (settings.broker.tls.clone(), settings.connect_timeout);
    let runtime = lapin::runtime::default_runtime()?;
    // Runs on a thread of the client's, which has to end when nobody waits for it any longer.
    let connect = async move |uri: AMQPUri, runtime| {
        let (host, port) = (uri.authority.host, uri.authority.port);
        let stream = async {
            let addresses: Vec<_> = lookup_host((host.as_str(), port)).await?.collect();
            let stream = TokioStream::connect(&runtime, addresses).await?;
            if let AsyncTcpStream::Plain(plain) = &stream {
                plain.get_ref().set_nodelay(true)?;
                socket.hold(plain.get_ref())?;
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

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use lapin::types::ShortString;

    use super::*;

    fn message(id: &str) -> Message {
        Message {
            exchange: ShortString::default(),
            routing_key: ShortString::default(),
            body: Vec::new(),
            properties: lapin::BasicProperties::default(),
            id: id.to_owned(),
        }
    }

    #[test]
    fn one_error_is_the_fate_of_its_message_and_no_other() {
        let messages = [message("a"), message("b"), message("c")];
        let answers = [
            Ok(Confirmation::Ack(None)),
            Err(Error::from(ErrorKind::MissingHeartbeatError)),
            Ok(Confirmation::Nack(None)),
        ];
        let lost = Fate::Lost(Trouble::busy("gone"));
        let expected = [Fate::Confirmed, lost.clone(), Fate::Nacked];
        assert_eq!(fates(&messages, &answers, Some(&lost)), expected);
    }
}
