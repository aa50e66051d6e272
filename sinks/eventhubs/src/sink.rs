//! One attempt: for each partition a chain of batches, until one has to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cosmos_bridge_sink::{Cause, Change, Grouping, Limits, Sink, SinkError, Written};
use futures::stream::{self, StreamExt as _};
use tokio::sync::Mutex;

use crate::batches::send;
use crate::chain::{Chain, chains};
use crate::connection::Connection;
use crate::problem::Problem;
use crate::tally::{Report, Tally};
use crate::{Class, Partitioning, Settings};

/// Bytes of documents in one write. Four of the largest batches: partitions are sent to side by
/// side, and memory stays bounded.
const WRITE_BYTES: usize = 4 * 1024 * 1024;
/// Batches of one write that are under way at once, each to another partition or of another key.
const BATCHES_AT_ONCE: usize = 64;

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
        let open = slot.connection.as_ref().filter(|connection| !connection.has_expired());
        if let Some(connection) = open {
            let connection = Arc::clone(connection);
            drop(slot);
            return match connection.keep_authorized(&self.settings).await {
                Ok(()) => Ok(connection),
                Err(problem) => {
                    self.forget(&connection).await;
                    Err(self.settings.access.refused(problem))
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
                let problem = self.settings.access.refused(problem);
                slot.connection = None;
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

    async fn run(&self, at: &Connection, changes: &[Change], chain: Chain) -> (Chain, Report) {
        let mut report = send(&self.settings, at, changes, &chain).await;
        report.problem = report.problem.map(|problem| self.settings.access.refused(problem));
        (chain, report)
    }
}

fn unusable(settings: &Settings, problem: Problem) -> SinkError {
    let (transient, hint) = match problem.class {
        Class::Deferred(Cause::Fault) => (false, settings.access.hint()),
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
        let unusable = |problem| unusable(&self.settings, problem);
        let connection = self.connection().await.map_err(unusable)?;
        let hub = &self.settings.hub;
        let address = match &self.settings.partitioning {
            Partitioning::Client { .. } | Partitioning::Service { .. } => hub.clone(),
            Partitioning::Fixed { id } => format!("{hub}/Partitions/{id}"),
        };
        let probed = connection.lane(&address).probe(&connection).await;
        if let Err(problem) = probed {
            self.forget(&connection).await;
            return Err(unusable(self.settings.access.refused(problem)));
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
        let chains = chains(&self.settings, changes, &connection.partitions, &mut tally);
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
                // Before anybody is told that these changes may be sent again.
                connection.cut();
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
