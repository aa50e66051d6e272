//! A scripted source and its sinks: what goes in, what comes out, and what must never happen.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_cosmos::Answer;
use cosmos_bridge_sink::{
    Cause, Change, ContainerName, Document, Expiry, Grouping, KeyValue, Limits, Origin, Outcome,
    PartitionKey, Sink, SinkError, Wait, Written,
};
use serde_json::json;
use tokio::time::sleep;

use super::disk::MemoryState;
use crate::config::Start;
use crate::cosmos::{ChangeFeed, CosmosError, Feeds, Page, Proof, ReadDocument};
use crate::model::{
    DeadLetter, Event, FeedRange, Mode, PartitionId, Position, SourceChange, SourceIdentity,
};

/// One change of one document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) lsn: i64,
    pub(super) document: u64,
    pub(super) is_delete: bool,
}

fn place(document: u64) -> String {
    format!("{:02X}", document * 37 % 251)
}

pub(super) fn holds(range: &FeedRange, document: u64) -> bool {
    let place = place(document);
    range.min <= place && place < range.max
}

pub(super) fn lsn_of(slice: &Position) -> i64 {
    slice.lsn().unwrap_or(0)
}

/// A container whose every change is kept.
#[derive(Default)]
pub(super) struct Source {
    log: Mutex<Vec<Entry>>,
    bounds: Mutex<BTreeSet<String>>,
    pub(super) requests: AtomicU64,
    /// Readers that ask for what is before this are refused for good.
    retained_from: Mutex<i64>,
    /// The number of answers from a replica that has nothing newer.
    pub(super) lags: AtomicU64,
    /// The number of proofs of the end that were asked for.
    pub(super) proofs: AtomicU64,
    /// Only the newest change of each document is served.
    pub(super) newest_only: AtomicBool,
    /// The number of pages that state one change more than they have.
    pub(super) losses: AtomicU64,
    /// It is read in all-versions-and-deletes mode.
    pub(super) all_versions: AtomicBool,
    /// All changes are served, and sinks need no more than what exists.
    pub(super) copies: AtomicBool,
    /// What the clock of the bridge shows, in seconds; changes are committed at their log sequence number.
    pub(super) clock: AtomicI64,
    /// A page holds so many changes more than was asked for.
    pub(super) more: AtomicU64,
}

impl Source {
    pub(super) fn change(&self, document: u64) {
        self.log(document, false);
    }

    /// Deletes a document, if there is one.
    pub(super) fn delete(&self, document: u64) {
        let last = self.entries().into_iter().rfind(|entry| entry.document == document);
        if last.is_some_and(|last| !last.is_delete) {
            self.log(document, true);
        }
    }

    fn log(&self, document: u64, is_delete: bool) {
        let mut log = self.log.lock().unwrap();
        let lsn = log.last().map_or(1, |last| last.lsn + 1);
        log.push(Entry { lsn, document, is_delete });
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.log.lock().unwrap().clone()
    }

    /// The changes that whoever reads everything now has to get, at the least.
    pub(super) fn due(&self) -> Vec<Entry> {
        if self.copies.load(Relaxed) {
            return self.existing(i64::MAX);
        }
        let all = self.entries();
        let newest: HashMap<u64, i64> = all.iter().map(|e| (e.document, e.lsn)).collect();
        let newest_only = self.newest_only.load(Relaxed);
        all.into_iter().filter(|e| !newest_only || newest[&e.document] == e.lsn).collect()
    }

    /// The last change of each document that existed at a log sequence number.
    pub(super) fn existing(&self, at: i64) -> Vec<Entry> {
        let mut all = self.entries();
        all.retain(|entry| entry.lsn <= at);
        let newest: HashMap<u64, i64> = all.iter().map(|e| (e.document, e.lsn)).collect();
        all.retain(|e| !e.is_delete && newest[&e.document] == e.lsn);
        all
    }

    pub(super) fn divide_at(&self, bound: &str) {
        self.bounds.lock().unwrap().insert(bound.to_owned());
    }

    pub(super) fn forget_before(&self, lsn: i64) {
        *self.retained_from.lock().unwrap() = lsn;
    }

    /// The service's ranges within one.
    fn parts(&self, range: &FeedRange) -> Vec<FeedRange> {
        let bounds = self.bounds.lock().unwrap();
        let inner = bounds.iter().filter(|b| range.min < **b && **b < range.max).cloned();
        let maxima: Vec<_> = inner.chain([range.max.clone()]).collect();
        let minima = std::iter::once(range.min.clone()).chain(maxima.clone());
        let pairs = minima.zip(&maxima);
        pairs.map(|(min, max)| FeedRange { min, max: max.clone() }).collect()
    }

    fn after(&self, range: &FeedRange, lsn: i64, most: usize) -> Vec<Entry> {
        let served = if self.copies.load(Relaxed) { self.entries() } else { self.due() };
        let served = served.into_iter();
        served.filter(|e| e.lsn > lsn && holds(range, e.document)).take(most).collect()
    }

    pub(super) fn head(&self) -> i64 {
        self.log.lock().unwrap().last().map_or(0, |last| last.lsn)
    }
}

pub(super) struct ScriptedFeeds(pub(super) Arc<Source>);

#[async_trait]
impl Feeds for ScriptedFeeds {
    fn identity(&self) -> SourceIdentity {
        let mode = if self.0.all_versions.load(Relaxed) {
            Mode::AllVersionsAndDeletes
        } else {
            Mode::LatestVersion
        };
        SourceIdentity { container: "a/d/c".to_owned(), rid: "rid".to_owned(), mode }
    }

    fn page_size(&self) -> NonZeroU32 {
        NonZeroU32::new(10).unwrap()
    }

    fn expiry(&self, _: &Document) -> Option<Expiry> {
        None
    }

    async fn ranges(&self) -> Result<Vec<FeedRange>, CosmosError> {
        Ok(self.0.parts(&FeedRange::whole()))
    }

    fn partition(&self, _: &FeedRange) -> PartitionId {
        PartitionId(1)
    }

    fn feed(&self, slice: Position, start: Start) -> Box<dyn ChangeFeed> {
        Box::new(ScriptedFeed { source: Arc::clone(&self.0), slice, start, existing: false })
    }

    fn existing(&self, slice: Position) -> Box<dyn ChangeFeed> {
        let (source, start) = (Arc::clone(&self.0), Start::Beginning);
        Box::new(ScriptedFeed { source, slice, start, existing: true })
    }

    async fn document(
        &self,
        _: &str,
        _: Option<&PartitionKey>,
    ) -> Result<ReadDocument, CosmosError> {
        Ok(ReadDocument::default())
    }

    async fn check(&self) -> Result<(), CosmosError> {
        Ok(())
    }
}

struct ScriptedFeed {
    source: Arc<Source>,
    slice: Position,
    start: Start,
    /// What exists is served, and a replica that lags has what existed at half of the log.
    existing: bool,
}

#[async_trait]
impl ChangeFeed for ScriptedFeed {
    async fn next_page(&mut self, page_size: NonZeroU32) -> Result<Page, CosmosError> {
        sleep(Duration::from_millis(5)).await;
        let source = &self.source;
        source.requests.fetch_add(1, Relaxed);
        let from = match (&self.slice.etag, &self.start) {
            (None, Start::Now) => source.head(),
            _ => lsn_of(&self.slice),
        };
        if !self.existing && from < *source.retained_from.lock().unwrap() {
            // A position that can never be read from.
            let sub_status = if source.copies.load(Relaxed) { 29_403 } else { 29_400 };
            let (status, message) = (400, "too old".to_owned());
            let answer = Answer { status, sub_status, message, ..Answer::default() };
            return Err(CosmosError { attempt: "reading".to_owned(), answer });
        }
        let parts = source.parts(&self.slice.range);
        let lags = source.lags.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        let more = usize::try_from(source.more.load(Relaxed)).unwrap();
        let most = page_size.get() as usize + more;
        let here = |e: &Entry| e.lsn > from && holds(&parts[0], e.document);
        let (entries, head) = match (self.existing, lags) {
            (false, false) => (source.after(&parts[0], from, most), source.head()),
            (false, true) => (Vec::new(), from),
            (true, lags) => {
                let head = if lags { source.head() / 2 } else { source.head() };
                (source.existing(head).into_iter().filter(here).take(most).collect(), head)
            }
        };
        let caught_up = entries.is_empty() && parts.len() == 1;
        let at_head = from.max(head);
        let to = entries.last().map_or(at_head, |last| last.lsn);
        let slices = parts.into_iter().enumerate().map(|(at, range)| {
            // Of the other parts the answer tells nothing: they are where the range was.
            let here = (at == 0).then(|| format!("\"{to}\""));
            Position::of(range, here.or_else(|| self.slice.etag.clone()))
        });
        let slices: Vec<_> = slices.collect();
        if let [only] = slices.as_slice() {
            self.slice = only.clone();
        }
        let changes: Vec<_> = entries.into_iter().map(change).collect();
        let bytes = changes.iter().map(SourceChange::bytes).sum();
        let head_lsn = Some(head);
        let losses = source.losses.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        let lost = usize::from(!changes.is_empty() && losses.is_ok());
        Ok(Page {
            items: changes.len() + lost,
            changes,
            positions: slices,
            head_lsn,
            charge: 2.0,
            caught_up,
            bytes,
            unreadable: Vec::new(),
            left_out: 0,
        })
    }

    async fn prove_end(&mut self) -> Result<Proof, CosmosError> {
        sleep(Duration::from_millis(5)).await;
        self.source.proofs.fetch_add(1, Relaxed);
        let from = lsn_of(&self.slice);
        let is_end = self.source.after(&self.slice.range, from, 1).is_empty();
        Ok(Proof { is_end, charge: 4.0 })
    }
}

fn change(entry: Entry) -> SourceChange {
    let id = format!("d-{}", entry.document);
    let document = json!({"id": id, "pk": id, "text": "x".repeat(700)}).to_string();
    let name = |text: &str| text.to_owned();
    let container = ContainerName {
        account: name("a"),
        database: name("d"),
        container: name("c"),
        rid: name("rid"),
    };
    let origin = Origin {
        container: Arc::new(container),
        id: id.clone(),
        partition_key: PartitionKey(vec![KeyValue::String(id)]),
        lsn: Some(entry.lsn),
        committed_at: Some(entry.lsn),
        nth: 0,
        expiry: None,
        is_snapshot: false,
        trace: None,
    };
    let current = Document::parse(document.as_bytes()).unwrap();
    let event = if entry.is_delete {
        Event::Delete { previous: None, expired: false }
    } else {
        Event::Upsert { current, previous: None, is_new: false }
    };
    SourceChange { origin: Arc::new(origin), event }
}

/// How a sink answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// So long for each write.
    Slow(Duration),
    Dead,
    /// Writes do not return.
    Hung,
    /// Writes of this document do not return.
    HungOn(u64),
    /// Every third change is rejected.
    Refusing,
}

/// A sink that remembers, and that finds fault.
pub(super) struct ScriptedSink {
    name: String,
    mood: Mutex<Mood>,
    /// Documents and log sequence numbers, as they came.
    received: Mutex<Vec<(u64, i64)>>,
    /// The same, sorted and each once.
    has: Mutex<BTreeSet<(i64, u64)>>,
    under_way: Mutex<BTreeSet<u64>>,
    /// What was changed up to here is not for it.
    pub(super) since: AtomicI64,
    source: Arc<Source>,
    state: Arc<MemoryState>,
    window: usize,
}

impl ScriptedSink {
    pub(super) fn new(
        name: &str,
        source: &Arc<Source>,
        state: &Arc<MemoryState>,
        window: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            mood: Mutex::new(Mood::Well),
            received: Mutex::default(),
            has: Mutex::default(),
            under_way: Mutex::default(),
            since: AtomicI64::new(0),
            source: Arc::clone(source),
            state: Arc::clone(state),
            window,
        })
    }

    pub(super) fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(super) fn received(&self) -> Vec<(u64, i64)> {
        self.received.lock().unwrap().clone()
    }

    /// The changes that it lacks, up to a log sequence number.
    pub(super) fn lacks(&self, source: &Source, to: i64) -> Vec<Entry> {
        let has = self.has.lock().unwrap();
        let since = self.since.load(Relaxed);
        let is_due = |e: &Entry| since < e.lsn && e.lsn <= to;
        let due = source.due().into_iter().filter(is_due);
        due.filter(|entry| !has.contains(&(entry.lsn, entry.document))).collect()
    }

    /// A change that it has rejected is stored.
    pub(super) fn keep(&self, letter: &DeadLetter) {
        let document = letter.source_id.trim_start_matches("d-").parse().unwrap();
        self.has.lock().unwrap().insert((letter.lsn.unwrap(), document));
    }

    /// How many changes came more than once.
    pub(super) fn repeated(&self) -> usize {
        let received = self.received();
        received.len() - received.iter().collect::<BTreeSet<_>>().len()
    }

    fn take(&self, documents: &[(u64, i64)]) {
        self.received.lock().unwrap().extend(documents);
        let mut has = self.has.lock().unwrap();
        has.extend(documents.iter().map(|(document, lsn)| (*lsn, *document)));
        let positions = self.state.positions();
        for ((sink, range), position) in positions.iter().filter(|((s, _), _)| *s == self.name) {
            let beyond = has.range((position + 1, 0)..);
            let mut beyond: BTreeSet<_> =
                beyond.filter(|(_, document)| holds(range, *document)).copied().collect();
            if beyond.len() > self.window {
                // What has a newer version by now comes no more.
                let due = self.source.due().into_iter().map(|e| (e.lsn, e.document)).collect();
                beyond = &beyond & &due;
            }
            let count = beyond.len();
            assert!(count <= self.window, "{count} are not recorded for {sink} in {range}");
        }
    }
}

/// Documents that are being written, until the write ends or is dropped.
struct UnderWay<'s>(&'s ScriptedSink, Vec<u64>);

impl<'s> UnderWay<'s> {
    fn begin(sink: &'s ScriptedSink, documents: &[(u64, i64)]) -> Self {
        let documents: BTreeSet<_> = documents.iter().map(|(document, _)| *document).collect();
        let mut under_way = sink.under_way.lock().unwrap();
        for document in &documents {
            assert!(under_way.insert(*document), "two writes hold d-{document}");
        }
        Self(sink, documents.into_iter().collect())
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut under_way = self.0.under_way.lock().unwrap();
        for document in &self.1 {
            under_way.remove(document);
        }
    }
}

#[async_trait]
impl Sink for ScriptedSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        Limits { grouping: Grouping::Any, changes: 5, bytes: 1_000_000, concurrency: 2 }
    }

    async fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let number = |change: &Change| {
            (change.id.trim_start_matches("d-").parse().unwrap(), change.origin.lsn.unwrap())
        };
        let documents: Vec<(u64, i64)> = changes.iter().map(number).collect();
        let _under_way = UnderWay::begin(self, &documents);
        let holds = |document: u64| documents.iter().any(|(other, _)| *other == document);
        let hangs = || match *self.mood.lock().unwrap() {
            Mood::Hung => true,
            Mood::HungOn(document) => holds(document),
            _ => false,
        };
        while hangs() {
            sleep(Duration::from_secs(1)).await;
        }
        let mood = *self.mood.lock().unwrap();
        sleep(if let Mood::Slow(pause) = mood { pause } else { Duration::from_millis(2) }).await;
        let written = |outcome: Outcome, wait| Written {
            outcomes: changes.iter().map(|_| outcome.clone()).collect(),
            requests: 1,
            wait,
            ..Written::default()
        };
        if mood == Mood::Dead {
            let reason = "no answer".to_owned();
            let wait = Wait { cause: Cause::Busy, retry_after: None };
            return written(Outcome::Deferred { reason }, Some(wait));
        }
        if mood == Mood::Refusing {
            let is_refused = |lsn: i64| lsn % 3 == 0;
            let taken = documents.iter().filter(|(_, lsn)| !is_refused(*lsn));
            self.take(&taken.copied().collect::<Vec<_>>());
            let outcome = |(_, lsn): &(u64, i64)| {
                if is_refused(*lsn) {
                    Outcome::Rejected { reason: "too large".to_owned() }
                } else {
                    Outcome::Delivered
                }
            };
            let outcomes = documents.iter().map(outcome).collect();
            return Written { outcomes, requests: 1, ..Written::default() };
        }
        self.take(&documents);
        written(Outcome::Delivered, None)
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(())
    }
}
