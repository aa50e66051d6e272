//! One attempt: requests in order, until one has to wait.

use std::collections::HashSet;

use async_trait::async_trait;
use cosmos_bridge_event::TooLarge;
use cosmos_bridge_sink::{
    Cause, Change, Grouping, Limits, Outcome, PartitionKey, Sink, SinkError, Wait, Written,
};

use crate::connection::{Answer, Connection};
use crate::message::Message;
use crate::{Class, Settings};

/// An HTTP endpoint.
pub struct HttpSink {
    name: String,
    settings: Settings,
    connection: Connection,
}

/// The events of some changes in one request.
struct Batch {
    numbers: Vec<usize>,
    message: Message,
}

impl HttpSink {
    /// # Errors
    ///
    /// There is no client for these settings.
    pub fn new(name: impl Into<String>, settings: Settings) -> Result<Self, SinkError> {
        let connection = Connection::new(settings.clone()).map_err(|error| SinkError {
            message: "there is no client for HTTPS".to_owned(),
            hint: Some("Install the system's certificates of authorities.".to_owned()),
            transient: false,
            source: Some(error.without_url().into()),
        })?;
        Ok(Self { name: name.into(), settings, connection })
    }

    /// Posts one event after the other.
    async fn write_singly(&self, changes: &[Change], tally: &mut Tally<'_>) {
        let Settings { encoder, most_bytes, .. } = self.settings;
        for (number, change) in changes.iter().enumerate() {
            if tally.holds(number) {
                continue;
            }
            match encoder.encode(change, most_bytes) {
                Ok(event) => {
                    let answer = self.connection.post(Message::single(encoder, event)).await;
                    tally.note(&answer);
                    tally.settle(number, &answer);
                }
                Err(problem) => tally.refuse(number, problem),
            }
            if tally.is_over {
                return;
            }
        }
    }

    async fn write_batches(&self, changes: &[Change], tally: &mut Tally<'_>) {
        for Batch { numbers, message } in self.batches(changes, tally) {
            if numbers.iter().any(|number| tally.holds(*number)) {
                self.write_alone(changes, numbers, tally).await;
            } else {
                let answer = self.connection.post(message).await;
                if answer.may_concern_one_event() && numbers.len() > 1 {
                    tally.requests += 1;
                    self.write_alone(changes, numbers, tally).await;
                } else {
                    tally.note(&answer);
                    for number in numbers {
                        tally.settle(number, &answer);
                    }
                }
            }
            if tally.is_over {
                return;
            }
        }
    }

    /// Posts events one by one, each as a batch: only one of them may be what the whole batch was not
    /// taken for.
    async fn write_alone(&self, changes: &[Change], numbers: Vec<usize>, tally: &mut Tally<'_>) {
        let Settings { encoder, most_bytes, .. } = self.settings;
        for number in numbers {
            if tally.holds(number) {
                continue;
            }
            let mut message = Message::batch(encoder);
            if let Err(problem) = message.add(encoder, &changes[number], most_bytes) {
                tally.refuse(number, problem);
                continue;
            }
            let answer = self.connection.post(message).await;
            tally.note(&answer);
            tally.settle(number, &answer);
            if tally.is_over {
                return;
            }
        }
    }

    /// Splits changes into requests of at most `batch` events and `most_bytes` bytes.
    fn batches(&self, changes: &[Change], tally: &mut Tally<'_>) -> Vec<Batch> {
        let Settings { encoder, most_bytes, batch, .. } = self.settings;
        let mut batches: Vec<Batch> = Vec::new();
        for (number, change) in changes.iter().enumerate() {
            let add = |batch: &mut Batch| {
                let added = batch.message.add(encoder, change, most_bytes)?;
                batch.numbers.extend(added.then_some(number));
                Ok(added)
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
            if let Err(problem) = added {
                tally.refuse(number, problem);
            }
        }
        batches
    }
}

/// An endpoint that fails over so many events in a row has trouble of its own, and is left for a while.
const FAILURES_MAX: usize = 5;

/// What became of each change, while requests are under way.
struct Tally<'c> {
    changes: &'c [Change],
    outcomes: Vec<Option<Outcome>>,
    requests: u32,
    throttled: u32,
    wait: Option<Wait>,
    /// Whether nothing more is to be sent.
    is_over: bool,
    /// Events in a row that the endpoint failed over, each alone.
    failures: usize,
    /// Documents of which an event waits, and so do those that follow it.
    held: HashSet<(&'c PartitionKey, &'c str)>,
}

impl<'c> Tally<'c> {
    fn new(changes: &'c [Change]) -> Self {
        let (outcomes, held) = (vec![None; changes.len()], HashSet::new());
        Self {
            changes,
            outcomes,
            requests: 0,
            throttled: 0,
            wait: None,
            is_over: false,
            failures: 0,
            held,
        }
    }

    fn document(&self, number: usize) -> (&'c PartitionKey, &'c str) {
        let change = &self.changes[number];
        (&change.partition_key, change.id.as_str())
    }

    fn holds(&self, number: usize) -> bool {
        self.held.contains(&self.document(number))
    }

    fn note(&mut self, answer: &Answer) {
        self.requests += 1;
        self.throttled += u32::from(answer.class == Class::Deferred(Cause::Throttled));
        if let Class::Deferred(cause) = answer.class {
            self.wait = Some(Wait { cause, retry_after: answer.retry_after });
            self.failures += 1;
            self.is_over = !answer.may_concern_one_event() || self.failures == FAILURES_MAX;
        } else {
            self.failures = 0;
        }
    }

    fn settle(&mut self, number: usize, answer: &Answer) {
        let reason = answer.reason.clone();
        if matches!(answer.class, Class::Deferred(_)) {
            self.held.insert(self.document(number));
        }
        self.outcomes[number] = Some(match answer.class {
            Class::Delivered => Outcome::Delivered,
            Class::Rejected => Outcome::Rejected { reason },
            Class::Deferred(_) => Outcome::Deferred { reason },
        });
    }

    fn refuse(&mut self, number: usize, problem: TooLarge) {
        self.outcomes[number] = Some(Outcome::Rejected { reason: problem.to_string() });
    }

    fn finish(self) -> Written {
        let Self { outcomes, requests, throttled, wait, .. } = self;
        let reason = "an earlier request of the same group has to wait";
        let waiting = || Outcome::Deferred { reason: reason.to_owned() };
        let outcomes =
            outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(waiting)).collect();
        Written { outcomes, charge: 0.0, requests, throttled, wait }
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
            changes: self.settings.batch,
            bytes: self.settings.most_bytes,
            concurrency: self.settings.concurrency,
        }
    }

    async fn check(&self) -> Result<(), SinkError> {
        let answer = self.connection.options().await;
        let (transient, hint) = match answer.status {
            Some(401 | 403) => (false, "Check the bearer token or the secret header."),
            // Python's own server knows no such request, and says so with this.
            Some(501) => return Ok(()),
            Some(500..) => (true, "The endpoint has trouble of its own; look there."),
            // Many endpoints know no such request, and take events all the same.
            Some(_) => return Ok(()),
            None => (true, "Check the address, and that it can be reached from here."),
        };
        let hint = Some(hint.to_owned());
        Err(SinkError { message: answer.reason, hint, transient, source: None })
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut tally = Tally::new(changes);
        if self.settings.batch > 1 {
            self.write_batches(changes, &mut tally).await;
        } else {
            self.write_singly(changes, &mut tally).await;
        }
        tally.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(()) // Every request has been answered; nothing is buffered here.
    }
}
