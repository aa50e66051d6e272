//! What the client tells: answers, trouble, logs. All on the client's own thread.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use cosmos_bridge_sink::Cause;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Message};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tracing::{debug, error, info, warn};

use crate::bearer::Bearer;
use crate::classify::{Class, classify, hint, meant};
use crate::delivery::Ticket;

/// What stands between the client and the broker, as the client last told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) code: RDKafkaErrorCode,
    /// Names brokers; never a document or a secret.
    pub(crate) text: String,
}

impl Trouble {
    /// Whether somebody has to do something about it.
    pub(crate) fn is_permanent(&self) -> bool {
        classify(self.code).0 == Class::Deferred(Cause::Fault)
    }
}

/// Ears of one client.
#[derive(Debug)]
pub(crate) struct Context {
    sink: String,
    bearer: Option<Bearer>,
    trouble: Mutex<Option<Trouble>>,
    has_trouble: AtomicBool,
    broken: AtomicBool,
    told: Notify,
}

impl Context {
    pub(crate) fn new(sink: &str, bearer: Option<Bearer>) -> Self {
        Self {
            sink: sink.to_owned(),
            bearer,
            trouble: Mutex::new(None),
            has_trouble: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            told: Notify::new(),
        }
    }

    /// Why the broker cannot be reached, since the last message that was delivered.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether another client was asked for.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// The next time that the client tells of an error, or another one is asked for.
    pub(crate) fn told(&self) -> Notified<'_> {
        self.told.notified()
    }

    /// Asks for another client.
    pub(crate) fn break_off(&self) {
        self.broken.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    /// Whether a broker refused the token that the client has, and there is another one.
    pub(crate) async fn has_another_token(&self) -> bool {
        match &self.bearer {
            Some(bearer) => bearer.is_outdated().await,
            None => false,
        }
    }

    fn note(&self, code: RDKafkaErrorCode, text: &str) {
        // Said after every other trouble, and less exactly.
        let is_vague = code == RDKafkaErrorCode::AllBrokersDown;
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = trouble.as_ref().is_none_or(|known| known.code != code && !is_vague);
        // Of one kind the last one counts: what broke a connection is soon no longer what keeps it
        // from being made again.
        if is_news || trouble.as_ref().is_some_and(|known| known.code == code) {
            *trouble = Some(Trouble { code, text: text.to_owned() });
            self.has_trouble.store(true, Ordering::Release);
        }
        drop(trouble);
        match (is_news, hint(code)) {
            (true, Some(hint)) => error!(sink = self.sink, ?code, hint, "{text}"),
            (true, None) => warn!(sink = self.sink, ?code, "{text}"),
            (false, _) => debug!(sink = self.sink, ?code, "{text}"),
        }
    }

    fn well(&self) {
        // Asked for every message: to read is cheaper than to exchange.
        if self.has_trouble.load(Ordering::Acquire)
            && self.has_trouble.swap(false, Ordering::AcqRel)
        {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
            info!(sink = self.sink, "messages are acknowledged again");
        }
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => warn!(sink = self.sink, facility, "{text}"),
            _ => debug!(sink = self.sink, facility, "{text}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let code = meant(code, reason);
        self.note(code, reason);
        if let (RDKafkaErrorCode::Authentication, Some(bearer)) = (code, &self.bearer) {
            bearer.refuse();
        }
        // It may be the last one; the client itself knows.
        self.told.notify_waiters();
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
                self.well();
                Ok(())
            }
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                debug!(sink = self.sink, topic = message.topic(), ?code, "message not delivered");
                Err(code)
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Context, RDKafkaErrorCode as Code};

    #[test]
    fn the_last_trouble_of_a_kind_is_told_and_what_is_vague_hides_none() {
        let context = Context::new("events", None);
        let text = |context: &Context| context.trouble().map(|trouble| trouble.text);
        for (code, told, expected) in [
            (Code::AllBrokersDown, "1/1 brokers are down", "1/1 brokers are down"),
            (Code::BrokerTransportFailure, "Connection reset by peer", "Connection reset by peer"),
            (Code::BrokerTransportFailure, "Connection refused", "Connection refused"),
            (Code::AllBrokersDown, "1/1 brokers are down", "Connection refused"),
            (Code::Authentication, "invalid_token", "invalid_token"),
        ] {
            context.note(code, told);
            assert_eq!(text(&context).as_deref(), Some(expected), "{code:?}: {told}");
        }
        context.well();
        assert_eq!(text(&context), None);
    }
}
