//! Writes dead letters again, with the routes of the current configuration.
//!
//! A letter is replayed only if the source still holds its version: a newer one is delivered by the feed
//! itself, and must not be overwritten. It leaves the state once its write is durable, so that a kill
//! repeats work and loses nothing.

mod document_read;
mod summary;
mod verdict;
mod writes;

use std::sync::Arc;

use cosmos_bridge_sink::{ContainerName, Origin, PartitionKey};
use futures::StreamExt;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use self::verdict::{Verdict, document_of, judge};
use self::writes::Writes;
use super::pipeline::Pipeline;
use crate::cosmos::{CosmosError, key_of};
use crate::deliver::WriteStop;
use crate::model::{DeadLetter, Event, SourceChange};
use crate::state::{LetterFilter, SqliteState, StateError, StoredLetter};

pub use self::summary::ReplaySummary;

/// Letters that are in memory together, and about how many bytes of documents.
const LETTERS: usize = 256;
const BYTES: usize = 8 * 1024 * 1024;

/// Reads of documents at a time; the budget limits them further.
const READS: usize = 16;

/// Why a replay cannot go on. What was removed until then is written.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Cosmos(#[from] CosmosError),
    #[error("internal error (bug): {0}")]
    Failed(#[from] JoinError),
}

/// What is known of a letter before it is written.
enum Prepared {
    Change(SourceChange),
    Superseded,
    Kept(String),
    /// A stop was asked for.
    NotReached,
}

/// Replays letters of one pipeline.
pub struct Replay<'r> {
    pub pipeline: &'r Pipeline,
    pub state: &'r SqliteState,
    pub stop: &'r CancellationToken,
}

impl Replay<'_> {
    /// Replays the letters of this pipeline that the filter names, in feed order, and calls `progress`
    /// with what is done so far.
    pub async fn run(
        &self,
        filter: &LetterFilter,
        progress: impl Fn(&ReplaySummary),
    ) -> Result<ReplaySummary, ReplayError> {
        let Pipeline { settings, ports, .. } = self.pipeline;
        // Letters of another container than the configured one are not written.
        ports.positions.open(&settings.name, &ports.feeds.identity()).await?;
        let filter = LetterFilter { pipeline: Some(settings.name.clone()), ..filter.clone() };
        let numbers = self.state.letters_in_feed_order(&filter).await?;
        let mut rest = numbers.as_slice();
        let mut summary = ReplaySummary::default();
        while !rest.is_empty() && !self.stop.is_cancelled() {
            let next = rest.iter().take(LETTERS).copied().collect();
            let (looked_up, letters) = self.state.letters(next, BYTES).await?;
            rest = rest.get(looked_up..).unwrap_or_default();
            let done = self.replay(&letters, &mut summary).await?;
            self.state.remove_letters(done).await?;
            progress(&summary);
        }
        summary.not_reached += rest.len() as u64;
        Ok(summary)
    }

    /// Replays letters together; returns the numbers of those that may be removed.
    async fn replay(
        &self,
        letters: &[StoredLetter],
        summary: &mut ReplaySummary,
    ) -> Result<Vec<i64>, ReplayError> {
        let now = jiff::Timestamp::now().as_second();
        let prepared = letters.iter().map(|stored| self.prepare(&stored.letter, now));
        let prepared: Vec<_> = futures::stream::iter(prepared).buffered(READS).collect().await;
        let sinks = self.pipeline.sinks.iter();
        let mut writes: Vec<_> =
            sinks.map(|sink| Writes::new(Arc::clone(&sink.delivery), letters.len())).collect();
        let mut done = Vec::new();
        for (at, (stored, prepared)) in letters.iter().zip(prepared).enumerate() {
            match prepared? {
                Prepared::Change(change) => {
                    match self.route(at, &stored.letter.sink, change, &mut writes).await {
                        Ok(0) => {
                            summary.filtered += 1;
                            done.push(stored.number);
                        }
                        Ok(_) => {}
                        Err(reason) => summary.keep(&reason),
                    }
                }
                Prepared::Superseded => {
                    summary.superseded += 1;
                    done.push(stored.number);
                }
                Prepared::Kept(reason) => summary.keep(&reason),
                Prepared::NotReached => summary.not_reached += 1,
            }
        }
        let stop = WriteStop::branch_of(self.stop, self.pipeline.settings.stop_grace);
        let written = futures::future::join_all(writes.into_iter().map(|one| one.write(&stop)));
        for of_sink in written.await {
            for (letter, stored) in of_sink?.into_iter().zip(letters) {
                if letter.changes == 0 {
                    continue;
                }
                if letter.is_durable() {
                    summary.written += 1;
                    done.push(stored.number);
                } else if let Some(reason) = letter.refused {
                    summary.keep(&reason);
                } else {
                    summary.not_reached += 1;
                }
            }
        }
        Ok(done)
    }

    /// Reads what the source holds of a letter's document, and decides by that.
    async fn prepare(&self, letter: &DeadLetter, now: i64) -> Result<Prepared, CosmosError> {
        if self.sink(&letter.sink).is_none() {
            let reason = format!("the pipeline has no route to sink `{}`", letter.sink);
            return Ok(Prepared::Kept(reason));
        }
        let (id, key) = match document_of(letter) {
            Ok(document) => document,
            Err(reason) => return Ok(Prepared::Kept(reason.to_owned())),
        };
        let (pipeline, stop) = (self.pipeline, self.stop);
        let read = document_read::read(pipeline, stop, id, key.as_ref(), letter.bytes()).await;
        let current = match read {
            None => return Ok(Prepared::NotReached),
            Some(Ok(current)) => current,
            Some(Err(fault)) if fault.class().cause().is_none() => {
                return Ok(Prepared::Kept(fault.to_string()));
            }
            Some(Err(fault)) => return Err(fault),
        };
        Ok(match judge(letter, current, now) {
            Verdict::Write(event) => {
                let paths = &self.pipeline.settings.source_key_paths;
                let feeds = &self.pipeline.ports.feeds;
                let (found, expiry) = match &event {
                    Event::Upsert { current, .. } => {
                        (Some(key_of(current, paths)), feeds.expiry(current))
                    }
                    Event::Delete { .. } => (None, None),
                };
                let key = found.or(key).unwrap_or_default();
                let origin = origin(letter, key, feeds.identity().rid);
                let origin = Arc::new(Origin { expiry, ..origin });
                Prepared::Change(SourceChange { origin, event })
            }
            Verdict::Superseded => Prepared::Superseded,
            Verdict::Kept(reason) => Prepared::Kept(reason.to_owned()),
        })
    }

    /// Adds the changes of a letter for its sink; returns how many there are, or why it cannot be
    /// mapped.
    async fn route(
        &self,
        at: usize,
        sink: &str,
        change: SourceChange,
        writes: &mut [Writes],
    ) -> Result<usize, String> {
        let Some(sink) = self.sink(sink).filter(|_| self.pipeline.wants(&change)) else {
            return Ok(0);
        };
        let routed = self.pipeline.router.route(change, &self.pipeline.settings.source_key_paths);
        if let Some(rejection) = routed.rejected.into_iter().find(|one| one.sink == sink) {
            return Err(rejection.reason);
        }
        let mut changes = 0;
        for addressed in routed.changes.into_iter().filter(|one| one.sink == sink) {
            changes += 1;
            writes[sink].push(at, addressed).await;
        }
        Ok(changes)
    }

    fn sink(&self, name: &str) -> Option<usize> {
        self.pipeline.sinks.iter().position(|sink| sink.delivery.sink.name() == name)
    }
}

/// Where the change was read, as the letter tells it.
fn origin(letter: &DeadLetter, partition_key: PartitionKey, rid: String) -> Origin {
    let mut names = letter.source.splitn(3, '/').map(str::to_owned);
    let mut name = || names.next().unwrap_or_default();
    let (account, database, container) = (name(), name(), name());
    let container = ContainerName { account, database, container, rid };
    Origin {
        container: Arc::new(container),
        id: letter.source_id.clone(),
        partition_key,
        lsn: letter.lsn,
        nth: letter.nth,
        committed_at: letter.committed_at,
        expiry: None,
        is_snapshot: false,
        trace: None,
    }
}
