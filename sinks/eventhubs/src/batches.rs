//! Sends a chain of batches, each after the one before it has been accepted.

use cosmos_bridge_event::{Event, TooLarge};
use cosmos_bridge_sink::{Answers, Change, Class};

use crate::Settings;
use crate::chain::Chain;
use crate::connection::Connection;
use crate::failure::{Failure, ToldBy};
use crate::message::{Encoded, batch};
use crate::partition_link::PartitionLink;

/// The result of a chain of batches to one partition.
#[derive(Debug, Default)]
pub(crate) struct ChainReport {
    /// The changes that are delivered or rejected, by their index in the write.
    settled: Vec<(usize, Result<(), String>)>,
    requests: usize,
    /// Why the rest of the chain was deferred.
    pub(crate) failure: Option<Failure>,
}

impl ChainReport {
    /// Adds the results of the changes `numbers`, and returns why some of them were deferred.
    pub(crate) fn add_to(
        self,
        answers: &mut Answers<'_>,
        numbers: impl Iterator<Item = usize>,
    ) -> Option<Failure> {
        answers.sent(self.requests);
        for (number, result) in self.settled {
            match result {
                Ok(()) => answers.deliver(number),
                Err(reason) => answers.reject(number, reason),
            }
        }
        let failure = self.failure?;
        failure.count(answers);
        for number in numbers {
            if answers.is_open(number) {
                if failure.told_by == ToldBy::Silence {
                    answers.unanswered(number);
                }
                answers.defer(number, &failure.reason, failure.wait());
            }
        }
        Some(failure)
    }
}

/// Sends a chain until one batch is deferred.
pub(crate) async fn send(
    settings: &Settings,
    connection: &Connection,
    changes: &[Change],
    chain: &Chain,
) -> ChainReport {
    let link = connection.link(&chain.address);
    let bytes_max = match link.event_bytes_max().await {
        Ok(bytes) => bytes,
        Err(failure) => return ChainReport { failure: Some(failure), ..ChainReport::default() },
    };
    let key = chain.key.as_deref();
    let report = ChainReport::default();
    let mut sending = Sending { settings, link: &link, bytes_max, key, changes, report };
    let mut held = Vec::new();
    let mut bytes = 0;
    for (number, key) in &chain.events {
        let numbered = (*number, key.as_deref());
        let event = match sending.encoded(numbered) {
            Ok(event) => event,
            Err(reason) => {
                sending.report.settled.push((*number, Err(reason)));
                continue;
            }
        };
        if bytes + event.bytes() > bytes_max {
            sending.send(std::mem::take(&mut held)).await;
            bytes = 0;
        }
        if sending.report.failure.is_some() {
            return sending.report;
        }
        bytes += event.bytes();
        held.push((numbered, event));
    }
    sending.send(held).await;
    sending.report
}

/// A change by its index in the write, and its key.
type Numbered<'k> = (usize, Option<&'k str>);

/// A chain that is being sent.
struct Sending<'s> {
    settings: &'s Settings,
    link: &'s PartitionLink,
    /// The most bytes of events in one batch.
    bytes_max: usize,
    /// The key of the whole batch.
    key: Option<&'s str>,
    changes: &'s [Change],
    report: ChainReport,
}

impl Sending<'_> {
    /// Sends one batch. If the service rejects it, the events are sent one by one, because one event
    /// may be the reason for the rejection. An empty batch is not sent.
    async fn send(&mut self, events: Vec<(Numbered<'_>, Encoded)>) {
        if events.is_empty() || self.report.failure.is_some() {
            return;
        }
        let (numbers, events): (Vec<_>, Vec<_>) = events.into_iter().unzip();
        let failure = match self.send_one(events).await {
            Ok(()) => {
                let delivered = numbers.into_iter().map(|(number, _)| (number, Ok(())));
                self.report.settled.extend(delivered);
                return;
            }
            Err(failure) => failure,
        };
        if failure.is_deferred() {
            self.report.failure = Some(failure);
            return;
        }
        if let [only] = numbers.as_slice() {
            self.send_smaller(*only, failure).await;
            return;
        }
        for numbered in numbers {
            match self.encoded(numbered) {
                Ok(event) => Box::pin(self.send(vec![(numbered, event)])).await,
                // Not expected: the same event was encoded before.
                Err(reason) => self.report.settled.push((numbered.0, Err(reason))),
            }
            if self.report.failure.is_some() {
                return;
            }
        }
    }

    /// Handles one event that the service will never accept. If it is too large and a claim check is
    /// configured, the claim check is sent; otherwise the change is rejected.
    async fn send_smaller(&mut self, (number, key): Numbered<'_>, failure: Failure) {
        let change = &self.changes[number];
        let too_large = TooLarge { bytes: self.bytes_max, most: self.bytes_max };
        let instead = match failure.class {
            Class::TooLarge => self.settings.encoder.instead(change, too_large).ok(),
            Class::Rejected | Class::Deferred(_) => None,
        };
        let result = match instead.map(|event| self.message(change, event, key)) {
            Some(Ok(event)) => match self.send_one(vec![event]).await {
                Ok(()) => Ok(()),
                Err(again) if again.is_deferred() => {
                    self.report.failure = Some(again);
                    return;
                }
                Err(_) => Err(failure.reason),
            },
            Some(Err(_)) | None => Err(failure.reason),
        };
        self.report.settled.push((number, result));
    }

    async fn send_one(&mut self, events: Vec<Encoded>) -> Result<(), Failure> {
        self.report.requests += 1;
        self.link.send(batch(events, self.key)).await
    }

    /// The encoded event of a change, or why the change is rejected.
    fn encoded(&self, (number, key): Numbered<'_>) -> Result<Encoded, String> {
        let (encoder, change) = (self.settings.encoder, &self.changes[number]);
        let event = encoder.encode(change, self.bytes_max).map_err(|error| error.to_string())?;
        let whole = self.message(change, event, key)?;
        if whole.bytes() <= self.bytes_max {
            return Ok(whole);
        }
        let too_large = TooLarge { bytes: whole.bytes(), most: self.bytes_max };
        let instead = encoder.instead(change, too_large).map_err(|error| error.to_string())?;
        let instead = self.message(change, instead, key)?;
        if instead.bytes() <= self.bytes_max { Ok(instead) } else { Err(too_large.to_string()) }
    }

    fn message(&self, change: &Change, event: Event, key: Option<&str>) -> Result<Encoded, String> {
        let mut headers = Vec::with_capacity(self.settings.options.headers.len());
        for (name, template) in &self.settings.options.headers {
            let value = template.render(change);
            let value = value.map_err(|error| format!("header {name}: {error}"))?;
            headers.push((name.clone(), value));
        }
        Encoded::of(event, self.settings.encoder.format(), headers, key)
            .ok_or_else(|| "the event cannot be encoded in AMQP".to_owned())
    }
}
