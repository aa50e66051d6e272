//! The client, and another one when it breaks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cosmos_bridge_sink::SinkError;
use rdkafka::admin::AdminClient;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseRecord, Producer, PurgeConfig, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use tokio::task::spawn_blocking;

use crate::bearer::Bearer;
use crate::classify::{hint, is_end, told};
use crate::context::{Context, Trouble};
use crate::delivery::Ticket;
use crate::message::Message;
use crate::options;
use crate::settings::{Sasl, Settings};
use crate::topics::{self, Topics};

/// Where sessions come from. One at a time.
pub(crate) struct Connection {
    name: String,
    settings: Arc<Settings>,
    topics: Arc<Topics>,
    current: Mutex<Current>,
}

struct Current {
    session: Option<Arc<Session>>,
    /// Sessions so far.
    number: u64,
    /// Every message in a batch of its own: a batch was refused and nobody knows for which.
    alone: bool,
    /// What a batch of the session may hold.
    batch_bytes: Option<usize>,
}

/// One client: what was given to it arrives in its order, or not at all.
pub(crate) struct Session {
    pub(crate) number: u64,
    /// Whether every message goes in a batch of its own.
    pub(crate) alone: bool,
    /// What a batch of several messages may hold.
    batch_bytes: usize,
    producer: ThreadedProducer<Context>,
}

impl Connection {
    /// # Errors
    ///
    /// The client does not take the settings.
    pub(crate) fn new(
        name: &str,
        settings: Arc<Settings>,
        topics: Arc<Topics>,
    ) -> Result<Self, SinkError> {
        let current = Current { session: None, number: 0, alone: false, batch_bytes: None };
        let connection =
            Self { name: name.to_owned(), settings, topics, current: Mutex::new(current) };
        connection.open(&mut connection.current())?;
        Ok(connection)
    }

    /// The session to write with; a new one where the old one is broken.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, SinkError> {
        let held = self.current().session.clone();
        if let Some(session) = held {
            if session.context().has_another_token().await {
                session.context().break_off();
            }
            release(session).await;
        }
        let (session, old) = {
            let mut current = self.current();
            match &current.session {
                Some(session) if !session.is_broken() => return Ok(Arc::clone(session)),
                _ => {}
            }
            let old = current.session.take();
            (self.open(&mut current)?, old)
        };
        if let Some(old) = old {
            if let Some(Trouble { code, text }) = old.fatal() {
                let (sink, hint) = (&self.name, hint(code).unwrap_or_default());
                tracing::error!(sink, ?code, hint, "the client has to be replaced: {text}");
            }
            old.purge();
            release(old).await;
        }
        Ok(session)
    }

    /// Breaks the session, so that the next one is told what was learned of topics.
    pub(crate) fn replace(&self, session: &Session, alone: bool) {
        let mut current = self.current();
        current.alone = alone;
        let is_current = current.session.as_ref().is_some_and(|now| now.number == session.number);
        let is_outdated =
            current.alone != session.alone || current.batch_bytes != self.topics.smallest();
        if is_current && is_outdated {
            session.context().break_off();
        }
    }

    /// Sends what the client still holds, and ends it.
    ///
    /// # Errors
    ///
    /// Something was not sent within the time. It was not told to be delivered.
    pub(crate) async fn close(&self, timeout: Duration) -> Result<(), SinkError> {
        let Some(session) = self.current().session.take() else { return Ok(()) };
        let flushed = spawn_blocking(move || {
            let flushed = session.producer.flush(timeout);
            drop(session);
            flushed
        });
        match flushed.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(problem("messages were left unsent", None, true, Some(error))),
            Err(_) => Err(problem("the client could not be closed", None, false, None)),
        }
    }

    /// A client for questions about topics.
    pub(crate) fn admin(&self) -> Option<AdminClient<Context>> {
        let config = options::client(&self.settings, None, false).ok()?;
        config.create_with_context(self.context()).ok()
    }

    /// Asks for the largest message of a topic, and whether it is less than was known. After a refusal
    /// of a message whose size is known that is not asked each time, and the size helps where nobody
    /// tells.
    pub(crate) async fn learn(&self, topic: &str, refused: Option<usize>) -> bool {
        if refused.is_some() && self.topics.is_believed(topic) {
            return false;
        }
        match (self.ask(topic).await, refused) {
            (Some(most), _) => self.topics.learn(topic, most),
            (None, Some(bytes)) => {
                self.topics.guess(topic, bytes);
                true
            }
            (None, None) => false,
        }
    }

    async fn ask(&self, topic: &str) -> Option<usize> {
        // Nobody polls the queue by which that client would ask for a token: it would wait in vain.
        // rdkafka 0.39.0, `admin.rs`, `start_poll_thread`.
        if matches!(self.settings.sasl, Some(Sasl::Bearer { .. } | Sasl::Tokens { .. })) {
            return None;
        }
        let admin = self.admin()?;
        let most = topics::ask(&admin, topic, self.settings.timeout).await;
        // Joins threads.
        drop(spawn_blocking(move || drop(admin)).await);
        most
    }

    fn open(&self, current: &mut Current) -> Result<Arc<Session>, SinkError> {
        let batch_bytes = self.topics.smallest();
        let config = options::client(&self.settings, batch_bytes, current.alone)?;
        let producer = config.create_with_context(self.context()).map_err(|error| {
            let hint = Some("Look at `options`, and at the files of `tls`.");
            let doing = "the client does not take its options";
            match error {
                // Its text and its source end with the option's value, which may be a secret.
                KafkaError::ClientConfig(_, why, option, value) => {
                    let why =
                        if value.is_empty() { why } else { why.replace(&value, "[redacted]") };
                    problem(&format!("{doing}: `{option}`: {why}"), hint, false, None)
                }
                error => problem(&format!("{doing}: {error}"), hint, false, Some(error)),
            }
        })?;
        let (number, alone) = (current.number, current.alone);
        let batch = config.get("batch.size").and_then(|bytes| bytes.parse().ok());
        let batch = batch.unwrap_or(usize::MAX);
        let session = Arc::new(Session { number, alone, batch_bytes: batch, producer });
        current.number += 1;
        current.batch_bytes = batch_bytes;
        current.session = Some(Arc::clone(&session));
        Ok(session)
    }

    fn context(&self) -> Context {
        Context::new(&self.name, Bearer::of(self.settings.sasl.as_ref()))
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Returns when the session is broken.
    pub(crate) async fn broken(&self) {
        loop {
            let told = self.context().told();
            if self.is_broken() {
                return;
            }
            told.await;
        }
    }

    pub(crate) fn context(&self) -> &Context {
        self.producer.context()
    }

    /// Whether the client will never send anything again: another one was asked for, or it has met
    /// with an error after which it cannot keep the order.
    pub(crate) fn is_broken(&self) -> bool {
        self.context().is_broken() || self.producer.client().fatal_error().is_some()
    }

    /// Whether a message certainly went in a batch of its own. To one that is larger than batches may
    /// be, the client adds no other.
    ///
    /// librdkafka 2.12.1, `rd_kafka_msgset_writer_write_msgq`.
    pub(crate) fn is_single(&self, message: &Message) -> bool {
        self.alone || message.content() > self.batch_bytes
    }

    /// What ended the client, or keeps it from the broker.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.fatal().or_else(|| self.context().trouble())
    }

    /// The error that ended the client. A batch that was refused is none: its messages tell of it.
    pub(crate) fn fatal(&self) -> Option<Trouble> {
        let (code, _) = self.producer.client().fatal_error()?;
        let is_refusal = code == RDKafkaErrorCode::GaplessGuarantee;
        (!is_refusal).then(|| Trouble { code, text: told(code).into_owned() })
    }

    /// The reason for a message's error.
    pub(crate) fn cause(&self, code: RDKafkaErrorCode) -> RDKafkaErrorCode {
        let fatal = is_end(code).then(|| self.fatal()).flatten();
        fatal.map_or(code, |trouble| trouble.code)
    }

    /// Gives up all that the client holds; each message gets its answer.
    pub(crate) fn purge(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }

    /// Gives a message to the client, which copies it. The answer comes to the ticket.
    ///
    /// # Errors
    ///
    /// The client does not take it; the ticket is not settled.
    pub(crate) fn send(&self, message: &Message, ticket: Ticket) -> Result<(), RDKafkaErrorCode> {
        let mut headers = OwnedHeaders::new_with_capacity(message.headers.len());
        for (key, value) in &message.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let record = BaseRecord::with_opaque_to(&message.topic, Box::new(ticket))
            .key(&message.key)
            .headers(headers);
        let record = match &message.value {
            Some(value) => record.payload(value.as_slice()),
            None => record,
        };
        // The time is the broker's or the client's, never the change's: retention by time would
        // take an old document's event away at once.
        self.producer
            .send(record)
            .map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))
    }

    /// Asks a broker for what it knows of a topic, or of all. Blocks.
    pub(crate) fn metadata(
        &self,
        topic: Option<&str>,
        timeout: Duration,
    ) -> Result<Metadata, KafkaError> {
        self.producer.client().fetch_metadata(topic, timeout)
    }
}

/// Ends a session whose last holder this is: the client joins its threads, so not here.
pub(crate) async fn release(session: Arc<Session>) {
    if let Some(session) = Arc::into_inner(session) {
        drop(spawn_blocking(move || drop(session)).await);
    }
}

pub(crate) fn problem(
    message: &str,
    hint: Option<&str>,
    transient: bool,
    source: Option<KafkaError>,
) -> SinkError {
    SinkError {
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
        transient,
        source: source.map(Into::into),
    }
}
