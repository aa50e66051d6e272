//! One attempt: requests in order, until one has to wait.

use async_trait::async_trait;
use cosmos_bridge_event::Event;
use cosmos_bridge_sink::{
    Cause, Change, Grouping, Limits, Outcome, Sink, SinkError, Wait, Written,
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

/// An event, and the change it is of.
type Numbered = (usize, Event);

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

    /// Posts one request, and the events of a batch that was refused one by one: only one of them
    /// may be what it was refused for.
    async fn post(&self, events: Vec<Numbered>, tally: &mut Tally) {
        if let [_] = events.as_slice() {
            for (number, event) in events {
                let answer = self.post_one(event).await;
                tally.note(&answer);
                tally.settle(number, &answer);
            }
            return;
        }
        let bodies: Vec<_> = events.iter().filter_map(|(_, event)| event.body.as_deref()).collect();
        let answer = self.connection.post(Message::batch(self.settings.encoder, &bodies)).await;
        tally.note(&answer);
        if answer.class != Class::Rejected {
            for (number, _) in &events {
                tally.settle(*number, &answer);
            }
            return;
        }
        for (number, event) in events {
            let answer = self.post_one(event).await;
            tally.note(&answer);
            tally.settle(number, &answer);
            if tally.waits() {
                return;
            }
        }
    }

    async fn post_one(&self, event: Event) -> Answer {
        let encoder = self.settings.encoder;
        let message = match event.body {
            // An endpoint for batches is given a batch of one.
            Some(body) if self.settings.batch > 1 => Message::batch(encoder, &[body]),
            body => Message::single(encoder, Event { body, ..event }),
        };
        self.connection.post(message).await
    }

    /// Splits events into requests of at most `batch` events and `most_bytes` bytes.
    fn requests(&self, events: Vec<Numbered>) -> Vec<Vec<Numbered>> {
        let most =
            if self.settings.encoder.format().needs_attributes() { 1 } else { self.settings.batch };
        let mut requests: Vec<Vec<Numbered>> = Vec::new();
        let mut bytes = 0;
        for (number, event) in events {
            let size = event.body.as_ref().map_or(0, Vec::len) + 1;
            let has_room = bytes + size <= self.settings.most_bytes;
            match requests.last_mut() {
                Some(last) if last.len() < most && has_room => {
                    last.push((number, event));
                    bytes += size;
                }
                _ => {
                    requests.push(vec![(number, event)]);
                    bytes = size;
                }
            }
        }
        requests
    }
}

/// What became of each change, while requests are under way.
struct Tally {
    outcomes: Vec<Option<Outcome>>,
    requests: u32,
    throttled: u32,
    wait: Option<Wait>,
}

impl Tally {
    fn waits(&self) -> bool {
        self.wait.is_some()
    }

    fn note(&mut self, answer: &Answer) {
        self.requests += 1;
        self.throttled += u32::from(answer.class == Class::Deferred(Cause::Throttled));
        if let Class::Deferred(cause) = answer.class {
            self.wait = Some(Wait { cause, told: answer.told });
        }
    }

    fn settle(&mut self, number: usize, answer: &Answer) {
        let reason = answer.reason.clone();
        self.outcomes[number] = Some(match answer.class {
            Class::Delivered => Outcome::Delivered,
            Class::Rejected => Outcome::Rejected { reason },
            Class::Deferred(_) => Outcome::Deferred { reason },
        });
    }

    fn finish(self) -> Written {
        let Self { outcomes, requests, throttled, wait } = self;
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
            Some(500..) => (true, "The endpoint has trouble of its own; look there."),
            // Many endpoints know no such request, and take events all the same.
            Some(_) => return Ok(()),
            None => (true, "Check the address, and that it can be reached from here."),
        };
        let hint = Some(hint.to_owned());
        Err(SinkError { message: answer.reason, hint, transient, source: None })
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut tally =
            Tally { outcomes: vec![None; changes.len()], requests: 0, throttled: 0, wait: None };
        let mut events = Vec::with_capacity(changes.len());
        for (number, change) in changes.iter().enumerate() {
            match self.settings.encoder.encode(change, self.settings.most_bytes) {
                Ok(event) => events.push((number, event)),
                Err(problem) => {
                    tally.outcomes[number] =
                        Some(Outcome::Rejected { reason: problem.to_string() });
                }
            }
        }
        for request in self.requests(events) {
            self.post(request, &mut tally).await;
            if tally.waits() {
                break;
            }
        }
        tally.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(()) // Every request has been answered; nothing is buffered here.
    }
}
