//! Where the scripted bridge keeps its positions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::Sink;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::shop::{ScriptedSink, Source, holds, lsn_of};
use crate::model::{
    DeadLetter, FeedRange, Ledger, LedgerEntry, Position, SourceIdentity, StoredPosition,
};
use crate::state::{
    DeadLetterStore, GroupCommit, PositionStore, PositionWrite, StateError, StoredPipeline,
    StoredSweep, advance_conflict, divide_conflict,
};

/// Positions that survive a crash of the scripted bridge.
pub(super) struct MemoryState {
    stored: Mutex<Vec<StoredPosition>>,
    sinks: Mutex<Vec<(Arc<ScriptedSink>, Arc<Source>)>>,
    /// Positions are stored while this is not held.
    disk: tokio::sync::Mutex<()>,
    jobs: GroupCommit<Job>,
    /// How long a commit takes, and how many there were.
    takes: Mutex<Duration>,
    commits: AtomicU64,
    was_opened: AtomicBool,
    /// The number of attempts to store dead letters that fail from now on.
    letter_failures: AtomicU64,
    letters: Mutex<Vec<DeadLetter>>,
    /// What was planned at each start.
    plans: Mutex<Vec<Vec<StoredPosition>>>,
    /// Changes get lost on purpose.
    pub(super) is_lossy: AtomicBool,
    /// By sink, over all ranges.
    ledgers: Mutex<BTreeMap<String, Ledger>>,
    sweeps: Mutex<BTreeMap<String, StoredSweep>>,
}

impl Default for MemoryState {
    fn default() -> Self {
        Self {
            stored: Mutex::default(),
            sinks: Mutex::default(),
            disk: tokio::sync::Mutex::default(),
            jobs: GroupCommit::default(),
            takes: Mutex::new(Duration::from_millis(1)),
            commits: AtomicU64::new(0),
            was_opened: AtomicBool::new(false),
            letter_failures: AtomicU64::new(0),
            letters: Mutex::default(),
            plans: Mutex::default(),
            is_lossy: AtomicBool::new(false),
            ledgers: Mutex::default(),
            sweeps: Mutex::default(),
        }
    }
}

impl MemoryState {
    /// Nothing may be stored for these sinks that they have not.
    pub(super) fn watch(&self, sink: &Arc<ScriptedSink>, source: &Arc<Source>) {
        self.sinks.lock().unwrap().push((Arc::clone(sink), Arc::clone(source)));
    }

    /// A disk that does not answer, until this is dropped.
    pub(super) async fn hang(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.disk.lock().await
    }

    /// A disk that takes this long for each commit.
    pub(super) fn take(&self, each: Duration) {
        *self.takes.lock().unwrap() = each;
    }

    /// Fails the next attempts to store dead letters.
    pub(super) fn fail_letters(&self, attempts: u64) {
        self.letter_failures.store(attempts, Relaxed);
    }

    pub(super) fn letters(&self) -> Vec<DeadLetter> {
        self.letters.lock().unwrap().clone()
    }

    pub(super) fn plans(&self) -> Vec<Vec<StoredPosition>> {
        self.plans.lock().unwrap().clone()
    }

    /// What became of what was read, by sink.
    pub(super) fn ledger(&self, sink: &str) -> Ledger {
        self.ledgers.lock().unwrap().get(sink).copied().unwrap_or_default()
    }

    fn add(&self, entries: Vec<LedgerEntry>) {
        let mut ledgers = self.ledgers.lock().unwrap();
        for LedgerEntry { sink, range, ledger } in entries {
            let is_lossy = self.is_lossy.load(Relaxed);
            assert!(ledger.open() == 0 || is_lossy, "{sink} in {range}: {ledger:?} is stored");
            ledgers.entry(sink).or_default().add(&ledger);
        }
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Relaxed)
    }

    pub(super) fn positions(&self) -> BTreeMap<(String, FeedRange), i64> {
        let stored = self.stored();
        let row =
            |s: &StoredPosition| ((s.sink.clone(), s.position.range.clone()), lsn_of(&s.position));
        stored.iter().map(row).collect()
    }

    pub(super) fn rows(&self) -> Vec<StoredPosition> {
        self.stored().clone()
    }

    fn stored(&self) -> MutexGuard<'_, Vec<StoredPosition>> {
        self.stored.lock().unwrap()
    }

    fn must_have(&self, stored: &StoredPosition) {
        let sinks = self.sinks.lock().unwrap();
        let Some((sink, source)) = sinks.iter().find(|(sink, _)| sink.name() == stored.sink) else {
            return;
        };
        let mut lacks = sink.lacks(source, lsn_of(&stored.position));
        lacks.retain(|entry| holds(&stored.position.range, entry.document));
        assert!(lacks.is_empty(), "{lacks:?} are before {stored:?}");
    }
}

/// Writes that share one visit of the disk.
type Job = (Write, oneshot::Sender<PositionWrite>);

#[derive(Debug)]
enum Write {
    Plan { read: Vec<StoredPosition>, planned: Vec<StoredPosition> },
    Advance(Vec<StoredPosition>, Vec<LedgerEntry>),
    Divide(FeedRange, Vec<StoredPosition>, Vec<LedgerEntry>),
    Resync(FeedRange, Vec<StoredPosition>),
}

impl MemoryState {
    /// Like the real state: what waits while the disk is busy is written together.
    async fn submit(&self, write: Write) -> Result<PositionWrite, StateError> {
        let (sender, answer) = oneshot::channel();
        let commit = async |jobs: Vec<Job>| {
            let advances = |(write, _): &Job| matches!(write, Write::Advance(..));
            let _answers =
                if jobs.iter().any(advances) { Some(self.disk.lock().await) } else { None };
            let takes = *self.takes.lock().unwrap();
            sleep(takes).await;
            self.commits.fetch_add(1, Relaxed);
            for (write, sender) in jobs {
                // Nobody waits any more after a crash.
                sender.send(self.apply(write)).ok();
            }
        };
        let written = self.jobs.submit((write, sender), answer, commit).await;
        written.ok_or_else(|| StateError::File {
            file: "(memory)".to_owned(),
            source: "a crash".into(),
        })
    }

    fn apply(&self, write: Write) -> PositionWrite {
        match write {
            Write::Plan { read, planned } => {
                let mut stored = self.stored();
                assert!(stored.iter().all(|row| read.contains(row)), "a stale plan");
                self.plans.lock().unwrap().push(planned.clone());
                let is_planned = |row: &StoredPosition| planned.iter().any(|p| p.sink == row.sink);
                stored.retain(|row| !is_planned(row));
                stored.extend(planned);
            }
            Write::Advance(positions, ledgers) => {
                for new in &positions {
                    if let Some(conflict) = advance_conflict(self.row(new, None).as_ref(), new) {
                        return PositionWrite::Lost(conflict);
                    }
                    self.must_have(new);
                }
                for new in positions {
                    self.plant(new);
                }
                self.add(ledgers);
            }
            Write::Divide(range, parts, ledgers) => {
                for part in &parts {
                    let whole = self.row(part, Some(&range));
                    if let Some(conflict) = divide_conflict(&range, whole.as_ref(), part) {
                        return PositionWrite::Lost(conflict);
                    }
                    self.must_have(part);
                }
                self.add(ledgers);
                let mut stored = self.stored();
                stored.retain(|row| {
                    row.position.range != range || !parts.iter().any(|part| part.sink == row.sink)
                });
                stored.extend(parts);
            }
            Write::Resync(range, positions) => {
                let mut stored = self.stored();
                let mut sweeps = self.sweeps.lock().unwrap();
                let is_lost = |new: &&StoredPosition| new.position.etag.is_none();
                let lost = positions.iter().filter(is_lost).map(|new| new.sink.clone());
                for sink in lost.collect::<BTreeSet<_>>() {
                    sweeps.entry(sink).or_default().resyncs += 1;
                }
                stored.retain(|row| row.position.range != range);
                stored.extend(positions);
            }
        }
        PositionWrite::Stored
    }

    fn row(&self, of: &StoredPosition, range: Option<&FeedRange>) -> Option<Position> {
        let range = range.unwrap_or(&of.position.range);
        let stored = self.stored();
        let row = stored.iter().find(|row| row.sink == of.sink && row.position.range == *range);
        row.map(|row| row.position.clone())
    }

    /// Puts a row there.
    pub(super) fn plant(&self, new: StoredPosition) {
        let mut stored = self.stored();
        stored.retain(|s| s.sink != new.sink || s.position.range != new.position.range);
        stored.push(new);
    }
}

#[async_trait]
impl PositionStore for MemoryState {
    async fn open(&self, _: &str, _: &SourceIdentity) -> Result<StoredPipeline, StateError> {
        let positions = self.rows();
        let is_new = !self.was_opened.swap(true, Relaxed);
        let (first_start, current_at) = (jiff::Timestamp::UNIX_EPOCH, BTreeMap::new());
        Ok(StoredPipeline { positions, first_start, is_new, current_at })
    }

    async fn plan(
        &self,
        _: &str,
        read: &[StoredPosition],
        planned: &[StoredPosition],
    ) -> Result<PositionWrite, StateError> {
        self.submit(Write::Plan { read: read.to_vec(), planned: planned.to_vec() }).await
    }

    async fn advance(
        &self,
        _: &str,
        positions: &[StoredPosition],
        ledgers: &[LedgerEntry],
    ) -> Result<PositionWrite, StateError> {
        self.submit(Write::Advance(positions.to_vec(), ledgers.to_vec())).await
    }

    async fn divide(
        &self,
        _: &str,
        range: &FeedRange,
        parts: &[StoredPosition],
        ledgers: &[LedgerEntry],
    ) -> Result<PositionWrite, StateError> {
        self.submit(Write::Divide(range.clone(), parts.to_vec(), ledgers.to_vec())).await
    }

    async fn ledgers(&self, _: &str) -> Result<Vec<LedgerEntry>, StateError> {
        let ledgers = self.ledgers.lock().unwrap();
        let entry = |(sink, ledger): (&String, &Ledger)| LedgerEntry {
            sink: sink.clone(),
            range: LedgerEntry::past(),
            ledger: *ledger,
        };
        Ok(ledgers.iter().map(entry).collect())
    }

    async fn store_current(&self, _: &str, _: &BTreeMap<String, i64>) -> Result<(), StateError> {
        Ok(())
    }

    async fn resync(
        &self,
        _: &str,
        range: &FeedRange,
        positions: &[StoredPosition],
    ) -> Result<PositionWrite, StateError> {
        self.submit(Write::Resync(range.clone(), positions.to_vec())).await
    }

    async fn sweeps(&self, _: &str) -> Result<BTreeMap<String, StoredSweep>, StateError> {
        Ok(self.sweeps.lock().unwrap().clone())
    }

    async fn note_swept(
        &self,
        _: &str,
        sink: &str,
        swept: i64,
        finished_at: i64,
    ) -> Result<(), StateError> {
        let mut sweeps = self.sweeps.lock().unwrap();
        let stored = sweeps.entry(sink.to_owned()).or_default();
        (stored.swept, stored.finished_at) = (swept, Some(finished_at));
        Ok(())
    }
}

#[async_trait]
impl DeadLetterStore for MemoryState {
    async fn store_dead_letters(
        &self,
        letters: Arc<[DeadLetter]>,
    ) -> Result<Vec<bool>, StateError> {
        sleep(Duration::from_millis(1)).await;
        let failures = &self.letter_failures;
        if failures.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            let source = "the disk is full".into();
            return Err(StateError::File { file: "(memory)".to_owned(), source });
        }
        let sinks = self.sinks.lock().unwrap();
        for letter in &*letters {
            if let Some((sink, _)) = sinks.iter().find(|(sink, _)| sink.name() == letter.sink) {
                sink.keep(letter);
            }
        }
        self.letters.lock().unwrap().extend(letters.iter().cloned());
        Ok(vec![true; letters.len()])
    }

    async fn count_dead_letters(&self, _: &str) -> Result<BTreeMap<String, u64>, StateError> {
        Ok(BTreeMap::new())
    }
}
