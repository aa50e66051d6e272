//! One attempt: requests are sent in order, until one fails for all.

use async_trait::async_trait;
use cosmos_bridge_event::TooLarge;
use cosmos_bridge_sink::{
    Answers, Cause, Change, Grouping, Limits, Sink, SinkError, SinkErrorKind, Written,
};

use crate::connection::{Connection, Failure, Reply};
use crate::earlier_attempts::{EarlierAttempts, Verdict};
use crate::message::Message;
use crate::{HttpOptions, Settings};

/// An HTTP endpoint.
pub struct HttpSink {
    name: String,
    settings: Settings,
    connection: Connection,
    earlier: EarlierAttempts,
}

/// The events of several changes in one request.
struct Batch {
    numbers: Vec<usize>,
    message: Message,
}

impl HttpSink {
    /// # Errors
    ///
    /// The HTTPS client cannot be created.
    pub fn new(name: impl Into<String>, settings: Settings) -> Result<Self, SinkError> {
        let connection = Connection::new(settings.clone()).map_err(|error| SinkError {
            message: "the HTTPS client cannot be created".to_owned(),
            hint: Some("Install the CA certificates of the system.".to_owned()),
            kind: SinkErrorKind::Other,
            source: Some(error.without_url().into()),
        })?;
        let earlier = EarlierAttempts::new(settings.options.give_up_after);
        Ok(Self { name: name.into(), settings, connection, earlier })
    }

    /// Posts one event after the other, each in its own request.
    async fn write_singly(&self, changes: &[Change], attempt: &mut Attempt<'_>) {
        let (encoder, max_body) = (self.settings.encoder, self.settings.options.max_body);
        for (number, change) in changes.iter().enumerate() {
            if attempt.answers.is_held(number) {
                continue;
            }
            match encoder.encode(change, max_body) {
                Ok(event) => {
                    let reply = self.connection.post(Message::single(encoder, event)).await;
                    attempt.settle(&[number], &reply);
                }
                Err(too_large) => attempt.answers.reject(number, too_large.to_string()),
            }
            if attempt.is_over {
                return;
            }
        }
    }

    async fn write_batches(&self, changes: &[Change], attempt: &mut Attempt<'_>) {
        for Batch { numbers, message } in self.batches(changes, attempt) {
            if numbers.iter().any(|number| attempt.answers.is_held(*number)) {
                self.write_alone(changes, numbers, attempt).await;
            } else {
                let reply = self.connection.post(message).await;
                if reply.may_concern_one_event() && numbers.len() > 1 {
                    attempt.note(&numbers, &reply);
                    self.write_alone(changes, numbers, attempt).await;
                } else {
                    attempt.settle(&numbers, &reply);
                }
            }
            if attempt.is_over {
                return;
            }
        }
    }

    /// Posts events one by one, each as a batch: one event may be the reason why the batch was refused.
    async fn write_alone(
        &self,
        changes: &[Change],
        numbers: Vec<usize>,
        attempt: &mut Attempt<'_>,
    ) {
        let (encoder, max_body) = (self.settings.encoder, self.settings.options.max_body);
        for number in numbers {
            if attempt.answers.is_held(number) {
                continue;
            }
            let mut message = Message::batch(encoder);
            if let Err(too_large) = message.add(encoder, &changes[number], max_body) {
                attempt.answers.reject(number, too_large.to_string());
                continue;
            }
            let reply = self.connection.post(message).await;
            attempt.settle(&[number], &reply);
            if attempt.is_over {
                return;
            }
        }
    }

    /// Divides changes into requests of at most `batch` events and `max_body` bytes.
    fn batches(&self, changes: &[Change], attempt: &mut Attempt<'_>) -> Vec<Batch> {
        let HttpOptions { max_body, batch, .. } = self.settings.options;
        let encoder = self.settings.encoder;
        let mut batches: Vec<Batch> = Vec::new();
        for (number, change) in changes.iter().enumerate() {
            let add = |batch: &mut Batch| {
                let added = batch.message.add(encoder, change, max_body)?;
                batch.numbers.extend(added.then_some(number));
                Ok::<_, TooLarge>(added)
            };
            let added = match batches.last_mut().filter(|last| last.numbers.len() < batch) {
                Some(last) => add(last),
                None => Ok(false),
            };
            let added = added.and_then(|added| {
                if !added {
                    let mut next = Batch { numbers: Vec::new(), message: Message::batch(encoder) };
                    add(&mut next)?;
                    batches.push(next);
                }
                Ok(())
            });
            if let Err(too_large) = added {
                attempt.answers.reject(number, too_large.to_string());
            }
        }
        batches
    }
}

/// After this number of consecutive failures, each of a single event, the endpoint itself is failing
/// and the attempt ends.
const FAILURES_MAX: usize = 5;

/// One write while its requests are sent.
struct Attempt<'c> {
    changes: &'c [Change],
    earlier: &'c EarlierAttempts,
    answers: Answers<'c>,
    /// True if no more requests are to be sent.
    is_over: bool,
    /// Consecutive failures of the endpoint.
    failures: usize,
}

impl<'c> Attempt<'c> {
    fn new(changes: &'c [Change], earlier: &'c EarlierAttempts) -> Self {
        let answers = Answers::new(changes);
        Self { changes, earlier, answers, is_over: false, failures: 0 }
    }

    /// Counts a reply to a request whose events are posted one by one now.
    fn note(&mut self, numbers: &[usize], reply: &Reply) {
        self.answers.sent(1);
        for &number in numbers {
            self.earlier.note(&self.changes[number], reply);
        }
    }

    /// Counts a reply, and sets the outcome of the changes that the request held.
    fn settle(&mut self, numbers: &[usize], reply: &Reply) {
        self.answers.sent(1);
        let failure = reply.result.as_ref().err();
        let wait = failure.and_then(Failure::wait);
        if wait.is_some() {
            self.failures += 1;
            self.is_over = !reply.may_concern_one_event() || self.failures == FAILURES_MAX;
        } else {
            self.failures = 0;
        }
        if wait.is_some_and(|wait| wait.cause == Cause::Throttled) {
            self.answers.throttled();
        }
        for &number in numbers {
            match self.earlier.judge(&self.changes[number], reply) {
                Verdict::Delivered => self.answers.deliver(number),
                Verdict::Rejected(reason) => self.answers.reject(number, reason),
                Verdict::Deferred(reason, wait) => {
                    self.answers.defer(number, reason, wait);
                    if failure.is_some_and(|failure| failure.is_unanswered) {
                        self.answers.unanswered(number);
                    }
                }
            }
        }
    }
}

#[async_trait]
impl Sink for HttpSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        Limits {
            grouping: Grouping::Any,
            changes: self.settings.options.batch,
            bytes: self.settings.options.max_body,
            concurrency: self.settings.options.concurrency,
        }
    }

    async fn check(&self) -> Result<(), SinkError> {
        let reply = self.connection.options().await;
        let Err(failure) = reply.result else { return Ok(()) };
        let (kind, hint) = match reply.status {
            Some(401 | 403) => {
                (SinkErrorKind::Denied, "Check the bearer token or the secret header.")
            }
            // The reply of Python's own server, which does not implement this request.
            Some(501) => return Ok(()),
            Some(500..) => (SinkErrorKind::Unreachable, "The endpoint is failing; see its logs."),
            // Many endpoints do not implement this request but accept events.
            Some(_) => return Ok(()),
            None => (
                SinkErrorKind::Unreachable,
                "Check the address, and that it can be reached from this machine.",
            ),
        };
        let hint = Some(hint.to_owned());
        Err(SinkError { message: failure.reason, hint, kind, source: None })
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut attempt = Attempt::new(changes, &self.earlier);
        if self.settings.options.batch > 1 {
            self.write_batches(changes, &mut attempt).await;
        } else {
            self.write_singly(changes, &mut attempt).await;
        }
        attempt.answers.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(()) // Every request has been answered; nothing is buffered here.
    }
}
