//! One attempt: for each partition a chain of batches, until one has to wait.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cosmos_bridge_event::TooLarge;
use cosmos_bridge_sink::{Cause, Change, Grouping, Limits, Outcome, Sink, SinkError, Written};
use futures::stream::{self, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use crate::connection::Connection;
use crate::hash::partition_of;
use crate::lane::Lane;
use crate::message::{Encoded, batch};
use crate::problem::Problem;
use crate::tally::{Report, Tally};
use crate::{Class, Partitioning, Settings};

/// Bytes of documents in one write. Four of the largest batches: partitions are sent to side by
/// side, and memory stays bounded.
const WRITE_BYTES: usize = 4 * 1024 * 1024;
/// Batches of one write that are under way at once, each to another partition or of another key.
const BATCHES_AT_ONCE: usize = 64;
/// The service refuses longer partition keys.
const KEY_CHARACTERS_MAX: usize = 128;

/// A hub.
pub struct EventHubsSink {
    name: String,
    settings: Settings,
    slot: Mutex<Slot>,
    attempts: AtomicU64,
}

/// The connection that writes share, or why there is none.
#[derive(Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
    problem: Option<Problem>,
}

/// Changes of one write that go through one link in order.
struct Chain {
    address: String,
    /// Of the whole batch, where the service finds the partition.
    key: Option<String>,
    /// The changes by their place in the write, each with its own key.
    events: Vec<(usize, Option<String>)>,
}

impl EventHubsSink {
    pub fn new(name: impl Into<String>, settings: Settings) -> Self {
        let (slot, attempts) = (Mutex::default(), AtomicU64::new(0));
        Self { name: name.into(), settings, slot, attempts }
    }

    /// The open connection, or a new one. Whoever waited while another failed to open one gets that
    /// answer, so that a service that is away is asked once and not by each.
    async fn connection(&self) -> Result<Arc<Connection>, Problem> {
        let seen = self.attempts.load(Ordering::Relaxed);
        let mut slot = self.slot.lock().await;
        if let Some(connection) = &slot.connection {
            let connection = Arc::clone(connection);
            drop(slot);
            return match connection.keep_authorized(&self.settings).await {
                Ok(()) => Ok(connection),
                Err(problem) => {
                    self.forget(&connection).await;
                    Err(problem)
                }
            };
        }
        if self.attempts.load(Ordering::Relaxed) != seen
            && let Some(problem) = &slot.problem
        {
            return Err(problem.clone());
        }
        let opened = Connection::open(&self.settings).await;
        self.attempts.fetch_add(1, Ordering::Relaxed);
        match opened {
            Ok(connection) => {
                let connection = Arc::new(connection);
                slot.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(problem) => {
                slot.problem = Some(problem.clone());
                Err(problem)
            }
        }
    }

    /// Gives a connection up, unless another has taken its place.
    async fn forget(&self, connection: &Arc<Connection>) {
        let mut slot = self.slot.lock().await;
        if slot.connection.as_ref().is_some_and(|held| Arc::ptr_eq(held, connection)) {
            slot.connection = None;
        }
    }

    /// Puts changes into rounds of chains; settles those that have no key.
    ///
    /// Chains of a round go side by side, those of the next when all of them are through. A
    /// document whose key has changed goes on a round later in another chain, behind its earlier
    /// changes.
    fn chains(
        &self,
        changes: &[Change],
        partitions: &[String],
        tally: &mut Tally,
    ) -> Vec<Vec<Chain>> {
        let hub = &self.settings.hub;
        let to = |id: &str| format!("{hub}/Partitions/{id}");
        let mut chains: BTreeMap<(usize, (String, Option<String>)), Vec<_>> = BTreeMap::new();
        let mut latest: HashMap<_, (usize, (String, Option<String>))> = HashMap::new();
        for (number, change) in changes.iter().enumerate() {
            let key = match &self.settings.partitioning {
                Partitioning::Fixed { .. } => Ok(None),
                Partitioning::Client { key } | Partitioning::Service { key } => {
                    key.render(change).map(|key| Some(fitting(&key).into_owned()))
                }
            };
            let key = match key {
                Ok(key) => key,
                Err(error) => {
                    let reason = format!("there is no partition key: {error}");
                    tally.settle(number, Outcome::Rejected { reason });
                    continue;
                }
            };
            let chain = match (&self.settings.partitioning, &key) {
                (Partitioning::Fixed { id }, _) => (to(id), None),
                (Partitioning::Service { .. }, key) => (hub.clone(), key.clone()),
                (Partitioning::Client { .. }, key) => {
                    let key = key.as_deref().unwrap_or_default();
                    (to(&partitions[partition_of(key, partitions.len())]), None)
                }
            };
            let document = (&change.partition_key, change.id.as_str());
            let round = match latest.get(&document) {
                None => 0,
                Some((round, held)) if *held == chain => *round,
                Some((round, _)) => round + 1,
            };
            latest.insert(document, (round, chain.clone()));
            chains.entry((round, chain)).or_default().push((number, key));
        }
        let mut rounds = Vec::new();
        for ((round, (address, key)), events) in chains {
            rounds.resize_with(rounds.len().max(round + 1), Vec::new);
            rounds[round].push(Chain { address, key, events });
        }
        rounds
    }

    async fn run(&self, at: &Connection, changes: &[Change], chain: Chain) -> (Chain, Report) {
        let report = self.send(at, changes, &chain).await;
        (chain, report)
    }

    /// Sends a chain of batches, each when the one before it has been accepted.
    async fn send(&self, connection: &Connection, changes: &[Change], chain: &Chain) -> Report {
        let mut report = Report::default();
        let lane = connection.lane(&chain.address);
        let room = match lane.room(connection).await {
            Ok(room) => room,
            Err(problem) => {
                report.problem = Some(problem);
                return report;
            }
        };
        let sending = Sending { sink: self, connection, lane: &lane, key: chain.key.as_deref() };
        let mut held = Vec::new();
        let mut bytes = 0;
        for (number, key) in &chain.events {
            let event = match self.encoded(&changes[*number], key.as_deref(), room) {
                Ok(event) => event,
                Err(reason) => {
                    report.settled.push((*number, Outcome::Rejected { reason }));
                    continue;
                }
            };
            if bytes + event.bytes() > room {
                sending.send(std::mem::take(&mut held), changes, &mut report).await;
                bytes = 0;
            }
            if report.problem.is_some() {
                return report;
            }
            bytes += event.bytes();
            held.push((*number, key.as_deref(), event));
        }
        sending.send(held, changes, &mut report).await;
        report
    }

    /// The event of a change as it is sent, or why it never will be.
    fn encoded(&self, change: &Change, key: Option<&str>, room: usize) -> Result<Encoded, String> {
        let encoder = self.settings.encoder;
        let mut headers = Vec::with_capacity(self.settings.headers.len());
        for (name, template) in &self.settings.headers {
            let value = template.render(change);
            let value = value.map_err(|error| format!("header {name}: {error}"))?;
            headers.push((name.clone(), value));
        }
        let encode = |event, headers| {
            Encoded::of(event, encoder.format(), headers, key)
                .ok_or_else(|| "the event has no form in AMQP".to_owned())
        };
        let event = encoder.encode(change, room).map_err(|error| error.to_string())?;
        let whole = encode(event, headers.clone())?;
        if whole.bytes() <= room {
            return Ok(whole);
        }
        let problem = TooLarge { bytes: whole.bytes(), most: room };
        let instead = encoder.instead(change, problem).map_err(|error| error.to_string())?;
        let instead = encode(instead, headers)?;
        if instead.bytes() <= room { Ok(instead) } else { Err(problem.to_string()) }
    }
}

/// Where the batches of a chain go.
struct Sending<'s> {
    sink: &'s EventHubsSink,
    connection: &'s Connection,
    lane: &'s Lane,
    key: Option<&'s str>,
}

/// A change by its place in the write, its key, and its event.
type Numbered<'k> = (usize, Option<&'k str>, Encoded);

impl Sending<'_> {
    /// Sends one batch, and the events of one that was refused for good one by one: only one of
    /// them may be what it was refused for. There are no empty batches.
    async fn send(&self, events: Vec<Numbered<'_>>, changes: &[Change], report: &mut Report) {
        if events.is_empty() || report.problem.is_some() {
            return;
        }
        let numbers: Vec<_> = events.iter().map(|(number, key, _)| (*number, *key)).collect();
        let events = events.into_iter().map(|(.., event)| event).collect();
        let problem = match self.send_one(events, report).await {
            Ok(()) => {
                let delivered = numbers.into_iter().map(|(number, _)| (number, Outcome::Delivered));
                report.settled.extend(delivered);
                return;
            }
            Err(problem) => problem,
        };
        if problem.wait().is_some() {
            report.problem = Some(problem);
            return;
        }
        if let [(number, key)] = numbers.as_slice() {
            let outcome = self.instead(&changes[*number], *key, problem, report).await;
            report.settled.extend(outcome.map(|outcome| (*number, outcome)));
            return;
        }
        for (number, key) in numbers {
            // It was encoded before, and is again.
            let Ok(event) = self.sink.encoded(&changes[number], key, usize::MAX) else { continue };
            let one = vec![(number, key, event)];
            Box::pin(self.send(one, changes, report)).await;
            if report.problem.is_some() {
                return;
            }
        }
    }

    /// What becomes of one event that the service will never take: a claim check instead of one
    /// that is too large, if there is to be one. `None` if that has to wait.
    async fn instead(
        &self,
        change: &Change,
        key: Option<&str>,
        problem: Problem,
        report: &mut Report,
    ) -> Option<Outcome> {
        let rejected = || Some(Outcome::Rejected { reason: problem.reason.clone() });
        let encoder = self.sink.settings.encoder;
        let too_large = TooLarge { bytes: 0, most: usize::MAX };
        let instead = match problem.class {
            Class::TooLarge => encoder.instead(change, too_large).ok(),
            Class::Rejected | Class::Deferred(_) => None,
        };
        let Some(event) = instead else { return rejected() };
        let Some(event) = Encoded::of(event, encoder.format(), Vec::new(), key) else {
            return rejected();
        };
        match self.send_one(vec![event], report).await {
            Ok(()) => Some(Outcome::Delivered),
            Err(again) if again.wait().is_none() => rejected(),
            Err(again) => {
                report.problem = Some(again);
                None
            }
        }
    }

    async fn send_one(&self, events: Vec<Encoded>, report: &mut Report) -> Result<(), Problem> {
        report.requests += 1;
        let batch = batch(events, self.key);
        self.lane.send(self.connection, batch).await
    }
}

/// A key that the service takes: its hash in place of one that is too long. An empty one would be
/// none, and events of no key have no order.
fn fitting(key: &str) -> Cow<'_, str> {
    if !key.is_empty() && key.chars().count() <= KEY_CHARACTERS_MAX {
        return Cow::Borrowed(key);
    }
    Cow::Owned(STANDARD.encode(Sha256::digest(key.as_bytes())))
}

fn unusable(problem: Problem) -> SinkError {
    let (transient, hint) = match problem.class {
        Class::Deferred(Cause::Fault) => (
            false,
            "Check the connection string and the name of the hub; the key must allow sending.",
        ),
        _ => (true, "Check the address, and that it can be reached from here."),
    };
    let hint = Some(hint.to_owned());
    SinkError { message: problem.reason, hint, transient, source: None }
}

#[async_trait]
impl Sink for EventHubsSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        Limits {
            grouping: Grouping::Any,
            changes: self.settings.changes,
            bytes: WRITE_BYTES,
            concurrency: self.settings.concurrency,
        }
    }

    async fn check(&self) -> Result<(), SinkError> {
        let connection = self.connection().await.map_err(unusable)?;
        let hub = &self.settings.hub;
        let address = match &self.settings.partitioning {
            Partitioning::Client { .. } | Partitioning::Service { .. } => hub.clone(),
            Partitioning::Fixed { id } => format!("{hub}/Partitions/{id}"),
        };
        let probed = connection.lane(&address).probe(&connection).await;
        if let Err(problem) = probed {
            self.forget(&connection).await;
            return Err(unusable(problem));
        }
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut tally = Tally::new(changes.len());
        let connection = match self.connection().await {
            Ok(connection) => connection,
            Err(problem) => {
                tally.note(&problem);
                return tally.finish();
            }
        };
        let chains = self.chains(changes, &connection.partitions, &mut tally);
        for round in chains {
            let mut reports = stream::iter(round)
                .map(|chain| self.run(&connection, changes, chain))
                .buffer_unordered(BATCHES_AT_ONCE);
            let mut problems = Vec::new();
            while let Some((chain, report)) = reports.next().await {
                problems.extend(report.problem.as_ref().map(|problem| problem.ends_connection));
                let numbers: Vec<usize> = chain.events.iter().map(|(number, _)| *number).collect();
                tally.add(&numbers, report);
            }
            drop(reports);
            if problems.contains(&true) {
                self.forget(&connection).await;
            }
            if !problems.is_empty() {
                break;
            }
        }
        tally.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        let connection = self.slot.lock().await.connection.take();
        if let Some(connection) = connection {
            connection.close().await;
        }
        Ok(()) // Every batch has been answered; nothing is buffered here.
    }
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn keys_that_the_service_would_not_take_become_their_hash() {
        let long = "k".repeat(129);
        for (key, is_kept) in
            [("k", true), ("ü".repeat(128).as_str(), true), (&long, false), ("", false)]
        {
            let fitted = fitting(key);
            assert_eq!(*fitted == *key, is_kept, "{key}");
            assert!(!fitted.is_empty() && fitted.chars().count() <= 128);
        }
        assert_ne!(fitting(&long), fitting(&"k".repeat(130)));
    }
}
