//! The client, and its replacement when it breaks.

use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::{Due, Mutex, SinkError, SinkErrorKind};
use rdkafka::admin::AdminClient;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseRecord, Producer, PurgeConfig, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::bearer::Bearer;
use crate::classify::{describe, hint, is_end};
use crate::client;
use crate::client_log::ClientLog;
use crate::context::{ClientError, Context};
use crate::delivery::Ticket;
use crate::message::Message;
use crate::settings::{Sasl, Settings};
use crate::topics::{self, Topics};

/// Longest time in which what was sent can still be answered, when a session is replaced.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
const POLL_EVERY: Duration = Duration::from_millis(5);

/// The source of sessions. There is one session at a time.
pub(crate) struct Connection {
    name: String,
    settings: Arc<Settings>,
    topics: Arc<Topics>,
    log: Arc<ClientLog>,
    current: Mutex<Current>,
}

struct Current {
    session: Option<Arc<Session>>,
    /// The number of sessions so far.
    number: u64,
    /// True if each message is sent alone in a batch: a batch was refused because of an unknown message.
    alone: bool,
    /// The learned limit of a batch of the session, in bytes.
    batch_bytes: Option<usize>,
}

/// One client. Its messages arrive in the order in which they were given to it, or not at all.
pub(crate) struct Session {
    pub(crate) number: u64,
    /// True if each message is sent alone in a batch.
    pub(crate) alone: bool,
    /// The limit of a batch of several messages, in bytes.
    batch_bytes: usize,
    producer: ThreadedProducer<Context>,
}

impl Connection {
    /// # Errors
    ///
    /// The client does not accept the settings.
    pub(crate) fn new(
        name: &str,
        settings: Arc<Settings>,
        topics: Arc<Topics>,
    ) -> Result<Self, SinkError> {
        let current = Current { session: None, number: 0, alone: false, batch_bytes: None };
        let connection = Self {
            name: name.to_owned(),
            settings,
            topics,
            log: Arc::default(),
            current: Mutex::new(current),
        };
        connection.open(&mut connection.current.lock())?;
        Ok(connection)
    }

    /// The session to write with. A new one replaces a broken one.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, SinkError> {
        let held = self.current.lock().session.clone();
        if let Some(session) = held {
            if session.context().has_new_token().await {
                session.context().break_off();
            }
            release(session).await;
        }
        let (session, old) = {
            let mut current = self.current.lock();
            match &current.session {
                Some(session) if !session.is_broken() => return Ok(Arc::clone(session)),
                _ => {}
            }
            let old = current.session.take();
            (self.open(&mut current)?, old)
        };
        if let Some(old) = old {
            if let Some(ClientError { code, text }) = old.fatal()
                && let Some(Due { not_logged }) = self.log.replaced.due()
            {
                let (sink, hint) = (&self.name, hint(code).unwrap_or_default());
                tracing::error!(
                    sink,
                    ?code,
                    hint,
                    not_logged,
                    "the client failed and is replaced: {text}"
                );
            }
            old.end().await;
            release(old).await;
        }
        Ok(session)
    }

    /// Breaks the session if a new one would have other batch limits.
    pub(crate) fn replace(&self, session: &Session, alone: bool) {
        let mut current = self.current.lock();
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
    /// Messages were not sent within the timeout. They were not reported as delivered.
    pub(crate) async fn close(&self, timeout: Duration) -> Result<(), SinkError> {
        let Some(session) = self.current.lock().session.take() else { return Ok(()) };
        let flushed = spawn_blocking(move || {
            let flushed = session.producer.flush(timeout);
            drop(session);
            flushed
        });
        match flushed.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(problem(
                "not all messages were sent",
                None,
                SinkErrorKind::Unreachable,
                Some(error),
            )),
            Err(_) => {
                Err(problem("the client could not be closed", None, SinkErrorKind::Other, None))
            }
        }
    }

    /// A client for requests about topics.
    pub(crate) fn admin(&self) -> Option<AdminClient<Context>> {
        let config = client::client(&self.settings, None, false).ok()?;
        config.create_with_context(self.context()).ok()
    }

    /// Asks the broker for the largest message of a topic. Returns true if the limit is smaller than the
    /// known one. `refused` is the size of a refused message: then the broker is not asked each time, and
    /// the size is the limit if the broker does not state one.
    pub(crate) async fn learn(&self, topic: &str, refused: Option<usize>) -> bool {
        if refused.is_some() && self.topics.is_valid(topic) {
            return false;
        }
        match (self.ask(topic).await, refused) {
            (Some(bytes), _) => self.topics.learn(topic, bytes),
            (None, Some(bytes)) => {
                self.topics.guess(topic, bytes);
                true
            }
            (None, None) => false,
        }
    }

    async fn ask(&self, topic: &str) -> Option<usize> {
        // The admin client never gets a token, because its event queue is not polled.
        // rdkafka 0.39.0, `admin.rs`, `start_poll_thread`.
        if matches!(self.settings.sasl, Some(Sasl::Bearer { .. } | Sasl::Tokens { .. })) {
            return None;
        }
        let admin = self.admin()?;
        let bytes = topics::ask(&admin, topic, self.settings.options.request_timeout).await;
        // The drop joins threads, so it runs on a blocking thread.
        drop(spawn_blocking(move || drop(admin)).await);
        bytes
    }

    fn open(&self, current: &mut Current) -> Result<Arc<Session>, SinkError> {
        let batch_bytes = self.topics.smallest();
        let config = client::client(&self.settings, batch_bytes, current.alone)?;
        let producer = config.create_with_context(self.context()).map_err(|error| {
            let hint = Some("Check `options`, and the files of `tls`.");
            let (doing, invalid) =
                ("the client does not accept its options", SinkErrorKind::Invalid);
            match error {
                // The text and the source contain the value of the option, which may be a secret.
                KafkaError::ClientConfig(_, why, option, value) => {
                    let why =
                        if value.is_empty() { why } else { why.replace(&value, "[redacted]") };
                    problem(&format!("{doing}: `{option}`: {why}"), hint, invalid, None)
                }
                error => problem(&format!("{doing}: {error}"), hint, invalid, Some(error)),
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
        Context::new(
            &self.name,
            Arc::clone(&self.log),
            Bearer::of(self.settings.sasl.as_ref()),
            self.settings.options.topic.shows_the_document(),
        )
    }
}

impl Session {
    /// Returns when the session is broken.
    pub(crate) async fn broken(&self) {
        loop {
            let changed = self.context().changed();
            if self.is_broken() {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn context(&self) -> &Context {
        self.producer.context()
    }

    /// True if the client will not send anything again: a replacement was requested, or the client had
    /// an error after which it cannot keep the order.
    pub(crate) fn is_broken(&self) -> bool {
        self.context().is_broken() || self.producer.client().fatal_error().is_some()
    }

    /// True if a message was certainly alone in its batch. The client adds no other message to one that
    /// is larger than the batch limit.
    ///
    /// librdkafka 2.12.1, `rd_kafka_msgset_writer_write_msgq`.
    pub(crate) fn is_single(&self, message: &Message) -> bool {
        self.alone || message.content() > self.batch_bytes
    }

    /// The error that ended the client, or else the last error it reported.
    pub(crate) fn error(&self) -> Option<ClientError> {
        self.fatal().or_else(|| self.context().last_error())
    }

    /// The error that ended the client. A refused batch does not count: its messages report it.
    pub(crate) fn fatal(&self) -> Option<ClientError> {
        let (code, _) = self.producer.client().fatal_error()?;
        let is_refusal = code == RDKafkaErrorCode::GaplessGuarantee;
        (!is_refusal).then(|| ClientError { code, text: describe(code).into_owned() })
    }

    /// The reason for a message's error.
    pub(crate) fn cause(&self, code: RDKafkaErrorCode) -> RDKafkaErrorCode {
        let fatal = is_end(code).then(|| self.fatal()).flatten();
        fatal.map_or(code, |error| error.code)
    }

    /// Discards all messages that the client holds, when those that were sent had the time to be
    /// answered. Each message gets its report.
    pub(crate) async fn end(&self) {
        self.producer.purge(PurgeConfig::default().queue());
        let is_answered = async {
            while self.producer.in_flight_count() > 0 {
                sleep(POLL_EVERY).await;
            }
        };
        if timeout(ANSWERS_WITHIN, is_answered).await.is_err() {
            self.producer.purge(PurgeConfig::default().queue().inflight());
        }
    }

    /// Gives a message to the client, which copies it. The ticket gets the report.
    ///
    /// # Errors
    ///
    /// The client does not accept the message; the ticket gets no report.
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
        // The timestamp is that of the broker or the client, never that of the change: retention by
        // time would delete the event of an old document immediately.
        self.producer
            .send(record)
            .map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))
    }

    /// Asks a broker for the metadata of a topic, or of all topics. Blocks.
    pub(crate) fn metadata(
        &self,
        topic: Option<&str>,
        timeout: Duration,
    ) -> Result<Metadata, KafkaError> {
        self.producer.client().fetch_metadata(topic, timeout)
    }
}

/// Drops a session. If this is the last reference, the client joins its threads, so that happens on a
/// blocking thread.
pub(crate) async fn release(session: Arc<Session>) {
    if let Some(session) = Arc::into_inner(session) {
        drop(spawn_blocking(move || drop(session)).await);
    }
}

pub(crate) fn problem(
    message: &str,
    hint: Option<&str>,
    kind: SinkErrorKind,
    source: Option<KafkaError>,
) -> SinkError {
    SinkError {
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
        kind,
        source: source.map(Into::into),
    }
}

#[cfg(test)]
mod tests;
