//! Sending a chain of batches, each when the one before it has been accepted.

use cosmos_bridge_event::{Event, TooLarge};
use cosmos_bridge_sink::{Change, Outcome};

use crate::chain::Chain;
use crate::connection::Connection;
use crate::lane::Lane;
use crate::message::{Encoded, batch};
use crate::problem::Problem;
use crate::tally::Report;
use crate::{Class, Settings};

/// Sends a chain, until something has to wait.
pub(crate) async fn send(
    settings: &Settings,
    connection: &Connection,
    changes: &[Change],
    chain: &Chain,
) -> Report {
    let lane = connection.lane(&chain.address);
    let room = match lane.room(connection).await {
        Ok(room) => room,
        Err(problem) => return Report { problem: Some(problem), ..Report::default() },
    };
    let key = chain.key.as_deref();
    let report = Report::default();
    let mut sending = Sending { settings, connection, lane: &lane, room, key, changes, report };
    let mut held = Vec::new();
    let mut bytes = 0;
    for (number, key) in &chain.events {
        let numbered = (*number, key.as_deref());
        let event = match sending.encoded(numbered) {
            Ok(event) => event,
            Err(reason) => {
                sending.report.settled.push((*number, Outcome::Rejected { reason }));
                continue;
            }
        };
        if bytes + event.bytes() > room {
            sending.send(std::mem::take(&mut held)).await;
            bytes = 0;
        }
        if sending.report.problem.is_some() {
            return sending.report;
        }
        bytes += event.bytes();
        held.push((numbered, event));
    }
    sending.send(held).await;
    sending.report
}

/// A change by its place in the write, and its key.
type Numbered<'k> = (usize, Option<&'k str>);

/// A chain under way.
struct Sending<'s> {
    settings: &'s Settings,
    connection: &'s Connection,
    lane: &'s Lane,
    /// Bytes of events in one batch.
    room: usize,
    /// Of the whole batch.
    key: Option<&'s str>,
    changes: &'s [Change],
    report: Report,
}

impl Sending<'_> {
    /// Sends one batch, and the events of one that was refused for good one by one: only one of
    /// them may be what it was refused for. There are no empty batches.
    async fn send(&mut self, events: Vec<(Numbered<'_>, Encoded)>) {
        if events.is_empty() || self.report.problem.is_some() {
            return;
        }
        let (numbers, events): (Vec<_>, Vec<_>) = events.into_iter().unzip();
        let problem = match self.send_one(events).await {
            Ok(()) => {
                let delivered = numbers.into_iter().map(|(number, _)| (number, Outcome::Delivered));
                self.report.settled.extend(delivered);
                return;
            }
            Err(problem) => problem,
        };
        if problem.wait().is_some() {
            self.report.problem = Some(problem);
            return;
        }
        if let [only] = numbers.as_slice() {
            self.give_up(*only, problem).await;
            return;
        }
        for numbered in numbers {
            match self.encoded(numbered) {
                Ok(event) => Box::pin(self.send(vec![(numbered, event)])).await,
                // It was encoded before, and is again.
                Err(reason) => {
                    self.report.settled.push((numbered.0, Outcome::Rejected { reason }));
                }
            }
            if self.report.problem.is_some() {
                return;
            }
        }
    }

    /// Settles one event that the service will never take: by a claim check where it is too large
    /// and there is to be one, and otherwise as rejected.
    async fn give_up(&mut self, (number, key): Numbered<'_>, problem: Problem) {
        let change = &self.changes[number];
        let too_large = TooLarge { bytes: self.room, most: self.room };
        let instead = match problem.class {
            Class::TooLarge => self.settings.encoder.instead(change, too_large).ok(),
            Class::Rejected | Class::Deferred(_) => None,
        };
        let outcome = match instead.map(|event| self.message(change, event, key)) {
            Some(Ok(event)) => match self.send_one(vec![event]).await {
                Ok(()) => Outcome::Delivered,
                Err(again) if again.wait().is_some() => {
                    self.report.problem = Some(again);
                    return;
                }
                Err(_) => Outcome::Rejected { reason: problem.reason },
            },
            Some(Err(_)) | None => Outcome::Rejected { reason: problem.reason },
        };
        self.report.settled.push((number, outcome));
    }

    async fn send_one(&mut self, events: Vec<Encoded>) -> Result<(), Problem> {
        self.report.requests += 1;
        self.lane.send(self.connection, batch(events, self.key)).await
    }

    /// The event of a change as it is sent, or why it never will be.
    fn encoded(&self, (number, key): Numbered<'_>) -> Result<Encoded, String> {
        let (encoder, change) = (self.settings.encoder, &self.changes[number]);
        let event = encoder.encode(change, self.room).map_err(|error| error.to_string())?;
        let whole = self.message(change, event, key)?;
        if whole.bytes() <= self.room {
            return Ok(whole);
        }
        let problem = TooLarge { bytes: whole.bytes(), most: self.room };
        let instead = encoder.instead(change, problem).map_err(|error| error.to_string())?;
        let instead = self.message(change, instead, key)?;
        if instead.bytes() <= self.room { Ok(instead) } else { Err(problem.to_string()) }
    }

    fn message(&self, change: &Change, event: Event, key: Option<&str>) -> Result<Encoded, String> {
        let mut headers = Vec::with_capacity(self.settings.headers.len());
        for (name, template) in &self.settings.headers {
            let value = template.render(change);
            let value = value.map_err(|error| format!("header {name}: {error}"))?;
            headers.push((name.clone(), value));
        }
        Encoded::of(event, self.settings.encoder.format(), headers, key)
            .ok_or_else(|| "the event has no form in AMQP".to_owned())
    }
}
