//! A container of the service in memory, behind a network that delays, loses and repeats requests.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::{Document, Fields, KeyValue, Mutex, PartitionKey, SinkError};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tokio::time::Instant;

use crate::{
    Answer, BatchAnswer, BulkAnswer, Container, Content, Found, FoundDocument, Operation,
    OperationKind, SourceDocument, SourceVersion, StoredDocument, Write,
};

/// After this time the client sends a request again.
const ATTEMPT: Duration = Duration::from_secs(6);

/// [`Write`] that outlives its request.
#[derive(Clone, Debug)]
enum Kept {
    Upsert(Document),
    Create(Document),
    Replace(Document, Option<String>),
    Delete(Option<String>),
}

impl Kept {
    fn of(write: Write<'_>) -> Self {
        let owned = |etag: Option<&str>| etag.map(str::to_owned);
        let document = |content: Content<'_>| Document::parse(&content.text()).unwrap();
        match write {
            Write::Upsert(content) => Self::Upsert(document(content)),
            Write::Create(content) => Self::Create(document(content)),
            Write::Replace { content, if_match } => {
                Self::Replace(document(content), owned(if_match))
            }
            Write::Delete { if_match } => Self::Delete(owned(if_match)),
        }
    }

    fn of_operation(operation: &Operation<'_>) -> Self {
        let document = || Document::parse(&operation.content.unwrap().text()).unwrap();
        let if_match = operation.if_match.clone();
        match operation.kind {
            OperationKind::Upsert => Self::Upsert(document()),
            OperationKind::Create => Self::Create(document()),
            OperationKind::Replace => Self::Replace(document(), if_match),
            OperationKind::Delete => Self::Delete(if_match),
        }
    }
}

#[derive(Clone)]
struct Request {
    writes: Vec<(String, Kept)>,
    /// All writes are made, or none.
    is_atomic: bool,
}

impl Request {
    fn atomic(writes: &[(&str, Write<'_>)]) -> Self {
        let writes = writes.iter().map(|(id, write)| ((*id).to_owned(), Kept::of(*write)));
        Self { writes: writes.collect(), is_atomic: true }
    }
}

/// When documents were written, in seconds since the Unix epoch.
pub(crate) const NOW: i64 = 1000;

/// An answer that did not come.
pub(crate) const NO_ANSWER: (u16, u32) = (503, 20_010);

/// Status and substatus of the answer to one write; `None` if the write is executed.
pub(crate) type Scripted = Option<(u16, u32)>;

#[derive(Default)]
struct State {
    /// By id, with the number in the `ETag`.
    documents: BTreeMap<String, (u64, Document)>,
    written: u64,
    /// The answers to the next writes of documents.
    scripts: HashMap<String, VecDeque<Scripted>>,
    /// Each document that was written, with its version, or deleted, with 0.
    executed: Vec<(String, i64)>,
    /// Requests that are still on their way.
    late: Vec<(Instant, Request)>,
}

/// What happens to requests: mostly nothing.
pub(crate) struct Service {
    state: Mutex<State>,
    random: Mutex<TestRng>,
    /// The longest time that a request can be on its way. If zero, every request is answered.
    latest: Duration,
    pub(crate) late_requests: AtomicU32,
    /// Queries for copies.
    pub(crate) queries: AtomicU32,
    /// Reads of documents.
    pub(crate) reads: AtomicU32,
    /// Requests of writes that each have their own result.
    pub(crate) bulks: AtomicU32,
    /// No request is answered, and none is executed.
    pub(crate) is_away: AtomicBool,
    /// They are refused as a whole.
    pub(crate) refuses_bulk: AtomicBool,
    /// Writes of one document take a second.
    pub(crate) is_slow_alone: AtomicBool,
    alone: AtomicU32,
    /// The most writes of one document that were under way together.
    pub(crate) most_alone: AtomicU32,
}

impl Service {
    pub(crate) fn new(seed: u64, latest: Duration) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            state: Mutex::default(),
            random: Mutex::new(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)),
            latest,
            late_requests: AtomicU32::new(0),
            queries: AtomicU32::new(0),
            reads: AtomicU32::new(0),
            bulks: AtomicU32::new(0),
            is_away: AtomicBool::new(false),
            refuses_bulk: AtomicBool::new(false),
            is_slow_alone: AtomicBool::new(false),
            alone: AtomicU32::new(0),
            most_alone: AtomicU32::new(0),
        }
    }

    /// Sets the answers to the next writes of a document.
    pub(crate) fn script(&self, id: &str, answers: impl IntoIterator<Item = Scripted>) {
        self.state.lock().scripts.insert(id.to_owned(), answers.into_iter().collect());
    }

    /// The documents that were written, with their versions, or deleted, with 0, in this order. What a
    /// batch that failed has undone is not among them.
    pub(crate) fn executed(&self) -> Vec<(String, i64)> {
        self.state.lock().executed.clone()
    }

    /// A number below `limit`.
    pub(crate) fn below(&self, limit: u64) -> u64 {
        self.random.lock().next_u64() % limit
    }

    /// The documents, after every request that is still on its way.
    pub(crate) async fn documents(&self) -> BTreeMap<String, Fields> {
        let stored = self.stored().await.into_iter();
        stored.map(|(id, document)| (id, document.fields())).collect()
    }

    /// The same, as text.
    pub(crate) async fn stored(&self) -> BTreeMap<String, Document> {
        tokio::time::advance(self.latest).await;
        let mut state = self.state.lock();
        state.execute_late();
        assert!(state.late.is_empty());
        let documents = state.documents.iter();
        documents.map(|(id, (_, document))| (id.clone(), document.clone())).collect()
    }

    /// Sends a request like the client: an attempt that is not answered is followed by another one.
    async fn send(&self, request: Request) -> BatchAnswer {
        let mut is_unanswered = false;
        if self.is_away.load(Ordering::Relaxed) {
            return failed(NO_ANSWER.0, NO_ANSWER.1, true);
        }
        for _ in 0..2 {
            tokio::time::advance(Duration::from_millis(10)).await;
            let fate = if self.latest.is_zero() { 19 } else { self.below(20) };
            match fate {
                // The request is late.
                0..=2 => {
                    let millis = u64::try_from(self.latest.as_millis()).unwrap();
                    let at = Instant::now() + Duration::from_millis(self.below(millis));
                    self.state.lock().late.push((at, request.clone()));
                    self.late_requests.fetch_add(1, Ordering::Relaxed);
                }
                // The answer is lost.
                3..=4 => drop(self.execute(&request)),
                5 => return failed(429, 3200, is_unanswered),
                _ => {
                    let mut answer = self.execute(&request);
                    answer.whole.is_unanswered = is_unanswered;
                    return answer;
                }
            }
            is_unanswered = true;
            tokio::time::advance(ATTEMPT).await;
        }
        failed(NO_ANSWER.0, NO_ANSWER.1, true)
    }

    fn found(&self, field: Option<&str>, is_wanted: impl Fn(&StoredDocument) -> bool) -> Found {
        if self.is_away.load(Ordering::Relaxed) {
            let answer = failed(NO_ANSWER.0, NO_ANSWER.1, true).whole;
            return Found { answer, requests: 1, documents: Vec::new() };
        }
        let mut state = self.state.lock();
        state.execute_late();
        let documents = state.documents.iter().map(|(id, (etag, document))| {
            let version = field.and_then(|field| document.get(field));
            let version = version.map(|version| serde_json::from_value(version).unwrap());
            let partition_key = PartitionKey(vec![KeyValue::String("key".to_owned())]);
            StoredDocument { id: id.clone(), partition_key, etag: etag.to_string(), version }
        });
        let documents = documents.filter(is_wanted).collect();
        let answer = Answer { status: 200, ..Answer::default() };
        Found { answer, requests: 1, documents }
    }

    fn execute(&self, request: &Request) -> BatchAnswer {
        let mut state = self.state.lock();
        state.execute_late();
        state.execute(request)
    }
}

impl State {
    fn execute_late(&mut self) {
        let now = Instant::now();
        self.late.sort_by_key(|(at, _)| *at);
        while self.late.first().is_some_and(|(at, _)| *at <= now) {
            let (_, request) = self.late.remove(0);
            drop(self.execute(&request));
        }
    }

    fn execute(&mut self, request: &Request) -> BatchAnswer {
        let before = (self.documents.clone(), self.executed.len());
        let mut parts = Vec::new();
        for (id, write) in &request.writes {
            let part = self.one(id, write);
            let is_done = part.status < 300;
            parts.push(part);
            if !is_done && request.is_atomic {
                self.documents = before.0;
                self.executed.truncate(before.1);
                let failed = parts.len() - 1;
                parts.resize(request.writes.len(), Answer { status: 424, ..Answer::default() });
                for part in parts.iter_mut().take(failed) {
                    *part = Answer { status: 424, ..Answer::default() };
                }
                return BatchAnswer { whole: Answer { status: 207, ..Answer::default() }, parts };
            }
        }
        BatchAnswer { whole: Answer { status: 200, ..Answer::default() }, parts }
    }

    fn one(&mut self, id: &str, write: &Kept) -> Answer {
        let refused = |status| Answer { status, ..Answer::default() };
        let scripted = self.scripts.get_mut(id).and_then(VecDeque::pop_front);
        if let Some((status, sub_status)) = scripted.flatten() {
            // No answer, to a request that is not executed either.
            let is_unanswered = sub_status == NO_ANSWER.1;
            return Answer { sub_status, is_unanswered, ..refused(status) };
        }
        let current = self.documents.get(id).map(|(etag, _)| etag.to_string());
        let is_other = |wanted: &Option<String>| wanted.is_some() && *wanted != current;
        let document = match write {
            Kept::Create(_) if current.is_some() => return refused(409),
            Kept::Replace(..) | Kept::Delete(_) if current.is_none() => return refused(404),
            Kept::Replace(_, etag) | Kept::Delete(etag) if is_other(etag) => return refused(412),
            Kept::Delete(_) => {
                self.documents.remove(id);
                self.executed.push((id.to_owned(), 0));
                return refused(204);
            }
            Kept::Upsert(document) | Kept::Create(document) | Kept::Replace(document, _) => {
                document
            }
        };
        self.written += 1;
        let version = document.get("version").and_then(|version| version.as_i64());
        self.executed.push((id.to_owned(), version.unwrap_or_default()));
        self.documents.insert(id.to_owned(), (self.written, document.clone()));
        let status = if current.is_some() { 200 } else { 201 };
        Answer { status, etag: Some(self.written.to_string()), ..Answer::default() }
    }
}

fn failed(status: u16, sub_status: u32, is_unanswered: bool) -> BatchAnswer {
    let whole = Answer { status, sub_status, is_unanswered, ..Answer::default() };
    BatchAnswer { whole, parts: vec![] }
}

#[async_trait]
impl Container for Service {
    async fn write(&self, _: &PartitionKey, id: &str, write: Write<'_>) -> Answer {
        let alone = self.alone.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_alone.fetch_max(alone, Ordering::Relaxed);
        if self.is_slow_alone.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let BatchAnswer { whole, parts } = self.send(Request::atomic(&[(id, write)])).await;
        self.alone.fetch_sub(1, Ordering::Relaxed);
        match parts.into_iter().next() {
            Some(part) => {
                Answer { is_unanswered: whole.is_unanswered | part.is_unanswered, ..part }
            }
            None => whole,
        }
    }

    fn default_ttl(&self) -> Option<i64> {
        None
    }

    async fn read(&self, _: &PartitionKey, ids: &[&str], field: Option<&str>) -> Found {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.found(field, |stored| ids.contains(&stored.id.as_str()))
    }

    async fn read_latest(&self, _: &PartitionKey, id: &str) -> Found {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.found(None, |stored| stored.id == id)
    }

    async fn document(&self, _: &PartitionKey, id: &str) -> FoundDocument {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock();
        state.execute_late();
        let document = state.documents.get(id).map(|(etag, document)| {
            let mut document = document.clone();
            document.insert("_etag", etag.to_string());
            document.insert("_ts", NOW);
            document
        });
        let answer = Answer { status: 200, ..Answer::default() };
        FoundDocument { answer, requests: 1, document }
    }

    async fn copies(&self, field: &str, of: &[SourceDocument]) -> Found {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let is_copy = |version: SourceVersion| of.contains(&version.document);
        self.found(Some(field), |stored| stored.version.is_some_and(is_copy))
    }

    async fn batch(&self, _: &PartitionKey, writes: &[(&str, Write<'_>)]) -> BatchAnswer {
        self.send(Request::atomic(writes)).await
    }

    async fn bulk(&self, operations: Vec<Operation<'_>>) -> BulkAnswer {
        self.bulks.fetch_add(1, Ordering::Relaxed);
        if self.refuses_bulk.load(Ordering::Relaxed) {
            let request = Answer { status: 400, ..Answer::default() };
            return BulkAnswer { requests: vec![request], parts: vec![None; operations.len()] };
        }
        let kept =
            |operation: &Operation<'_>| (operation.id.to_owned(), Kept::of_operation(operation));
        let writes = operations.iter().map(kept).collect();
        let BatchAnswer { whole, parts } = self.send(Request { writes, is_atomic: false }).await;
        let is_unanswered = whole.is_unanswered;
        let parts = if parts.is_empty() { vec![whole.clone(); operations.len()] } else { parts };
        let parts = parts
            .into_iter()
            .map(|part| Some(Answer { is_unanswered: is_unanswered | part.is_unanswered, ..part }));
        BulkAnswer { parts: parts.collect(), requests: vec![whole] }
    }

    async fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }
}
