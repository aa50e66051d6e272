//! The callbacks of the client: delivery reports, errors, logs. They run on a thread of the client.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cosmos_bridge_sink::{Class, Due, Mutex};
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tracing::{debug, error, info, warn};

use crate::bearer::Bearer;
use crate::classify::{actual_code, classify, describe, hint};
use crate::client_log::ClientLog;
use crate::delivery::Ticket;

/// The last error that the client reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientError {
    pub(crate) code: RDKafkaErrorCode,
    /// Names brokers; holds no document and no secret.
    pub(crate) text: String,
}

impl ClientError {
    /// True if the error needs operator action.
    pub(crate) fn is_permanent(&self) -> bool {
        classify(self.code).0 == Class::FAULT
    }
}

/// The callbacks of one client.
#[derive(Debug)]
pub(crate) struct Context {
    sink: String,
    log: Arc<ClientLog>,
    bearer: Option<Bearer>,
    /// The names of topics hold parts of documents.
    hides_topics: bool,
    error: Mutex<Option<ClientError>>,
    has_error: AtomicBool,
    broken: AtomicBool,
    changed: Notify,
}

impl Context {
    pub(crate) fn new(
        sink: &str,
        log: Arc<ClientLog>,
        bearer: Option<Bearer>,
        hides_topics: bool,
    ) -> Self {
        Self {
            sink: sink.to_owned(),
            log,
            bearer,
            hides_topics,
            error: Mutex::new(None),
            has_error: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// The error since the last message that was delivered.
    pub(crate) fn last_error(&self) -> Option<ClientError> {
        self.error.lock().clone()
    }

    /// True if [`Self::break_off`] was called.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Waits for the next error of the client, or for [`Self::break_off`].
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Requests that a new client replaces this one.
    pub(crate) fn break_off(&self) {
        self.broken.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// True if a broker refused the token of the client, and a new token is available.
    pub(crate) async fn has_new_token(&self) -> bool {
        match &self.bearer {
            Some(bearer) => bearer.is_outdated().await,
            None => false,
        }
    }

    fn note(&self, code: RDKafkaErrorCode, text: &str) {
        let described;
        let text = if self.hides_topics && may_name_a_topic(code) {
            described = describe(code);
            described.as_ref()
        } else {
            text
        };
        // The client reports this after every other error, with less detail.
        let is_vague = code == RDKafkaErrorCode::AllBrokersDown;
        let mut last = self.error.lock();
        let is_news = last.as_ref().is_none_or(|known| known.code != code && !is_vague);
        // The last error of a code counts: the reason why a connection broke is soon not the reason
        // why it cannot be made again.
        if is_news || last.as_ref().is_some_and(|known| known.code == code) {
            *last = Some(ClientError { code, text: text.to_owned() });
            self.has_error.store(true, Ordering::Release);
        }
        drop(last);
        let due = if is_news { self.log.errors.due(&format!("{code:?}")) } else { None };
        match (due, hint(code)) {
            (Some(Due { not_logged }), Some(hint)) => {
                error!(sink = self.sink, ?code, hint, not_logged, "{text}");
            }
            (Some(Due { not_logged }), None) => {
                warn!(sink = self.sink, ?code, not_logged, "{text}");
            }
            (None, _) => debug!(sink = self.sink, ?code, "{text}"),
        }
    }

    fn clear_error(&self) {
        // This runs for every message: a load is cheaper than a swap.
        if self.has_error.load(Ordering::Acquire) && self.has_error.swap(false, Ordering::AcqRel) {
            *self.error.lock() = None;
            if let Some(Due { not_logged }) = self.log.recoveries.due() {
                info!(sink = self.sink, not_logged, "messages are acknowledged again");
            }
        }
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            _ if self.hides_topics => {
                debug!(
                    sink = self.sink,
                    facility, "a log line of the client, which may name a topic"
                );
            }
            // The sink sets it, and the client calls it experimental at each start.
            _ if text.contains("enable.gapless.guarantee") => {}
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                if let Some(Due { not_logged }) = self.log.lines.due(text) {
                    warn!(sink = self.sink, facility, not_logged, "{text}");
                } else {
                    debug!(sink = self.sink, facility, "{text}");
                }
            }
            _ => debug!(sink = self.sink, facility, "{text}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let code = actual_code(code, reason);
        self.note(code, reason);
        if let (RDKafkaErrorCode::Authentication, Some(bearer)) = (code, &self.bearer) {
            bearer.refuse();
        }
        // The error may be fatal; the waiting write asks the client.
        self.changed.notify_waiters();
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let bearer = self.bearer.as_ref().ok_or("no token is configured")?;
        Ok(bearer.give()?)
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        ticket.settle(match result {
            Ok(_) => {
                self.clear_error();
                Ok(())
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                debug!(sink = self.sink, ?code, "message not delivered");
                Err(code)
            }
        });
    }
}

/// Whether the text of an error may say more than what happens to a connection: that of a refused produce
/// request names its topic.
fn may_name_a_topic(code: RDKafkaErrorCode) -> bool {
    !matches!(
        code,
        RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::SSL
            | RDKafkaErrorCode::SaslAuthenticationFailed
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use rdkafka::ClientContext;
    use rdkafka::config::RDKafkaLogLevel;
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::{Context, RDKafkaErrorCode as Code};

    /// Counts the lines of level INFO and above, and those with a count of others.
    #[derive(Clone, Default)]
    struct Lines(Arc<[AtomicUsize; 2]>);

    impl Subscriber for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= Level::INFO
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            self.0[0].fetch_add(1, Relaxed);
            let counts = |field: &tracing::field::Field| field.name() == "not_logged";
            self.0[1].fetch_add(
                usize::from(event.metadata().fields().iter().any(|f| counts(&f))),
                Relaxed,
            );
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    /// A broker that fails in two ways by turns, and a client that says so each time.
    #[test]
    fn errors_that_alternate_are_a_few_lines_also_with_new_clients() {
        let (lines, log) = (Lines::default(), Arc::default());
        tracing::subscriber::with_default(lines.clone(), || {
            for n in 0..1000 {
                let context = Context::new("events", Arc::clone(&log), None, false);
                context.note(Code::BrokerTransportFailure, "Connection refused");
                context.note(Code::Authentication, "invalid token");
                context.clear_error();
                let text = format!("Connection refused (after {n} ms in state CONNECT)");
                context.log(RDKafkaLogLevel::Error, "FAIL", &text);
            }
        });
        // Two errors, the recovery, and the line of the client.
        assert_eq!((lines.0[0].load(Relaxed), lines.0[1].load(Relaxed)), (4, 4));
    }

    #[test]
    fn the_name_of_a_topic_that_is_made_of_fields_is_not_kept() {
        let text = "ProduceRequest for planted-note [0] with 1 message(s) failed";
        for (hides_topics, code, is_kept) in [
            (false, Code::Fatal, true),
            (true, Code::Fatal, false),
            (true, Code::TopicAuthorizationFailed, false),
            (true, Code::BrokerTransportFailure, true),
        ] {
            let context = Context::new("events", Arc::default(), None, hides_topics);
            context.note(code, text);
            assert_eq!(context.last_error().unwrap().text == text, is_kept, "{code:?}");
        }
    }

    #[test]
    fn the_last_error_of_a_code_is_kept_and_a_vague_one_replaces_no_other() {
        let context = Context::new("events", Arc::default(), None, false);
        let text = |context: &Context| context.last_error().map(|error| error.text);
        for (code, reported, expected) in [
            (Code::AllBrokersDown, "1/1 brokers are down", "1/1 brokers are down"),
            (Code::BrokerTransportFailure, "Connection reset by peer", "Connection reset by peer"),
            (Code::BrokerTransportFailure, "Connection refused", "Connection refused"),
            (Code::AllBrokersDown, "1/1 brokers are down", "Connection refused"),
            (Code::Authentication, "invalid_token", "invalid_token"),
        ] {
            context.note(code, reported);
            assert_eq!(text(&context).as_deref(), Some(expected), "{code:?}: {reported}");
        }
        context.clear_error();
        assert_eq!(text(&context), None);
    }
}
