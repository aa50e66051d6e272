//! What the sink last wrote to each document, so that a late attempt cannot undo a later write.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::{Change, Mutex};
use lru::LruCache;
use tokio::time::Instant;

use crate::source_version::{SourceVersion, hash};
use crate::{Answer, Write};

/// Weight of the last document in the share of documents that exist.
const SHARE_WEIGHT: f64 = 0.1;

/// Expected conflicts in one request from which on the request does not create documents.
const CONFLICTS_MAX: f64 = 0.5;

/// A document of the target. With 64 bits and 100,000 remembered documents, one of 10^14 writes meets
/// the number of another document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DocumentHash(u64);

impl DocumentHash {
    pub(crate) fn of(change: &Change) -> Self {
        Self(hash(&(&change.partition_key, &change.id)))
    }
}

/// The last write of a document.
#[derive(Clone, Debug)]
pub(crate) struct LastWrite {
    pub(crate) etag: Arc<str>,
    pub(crate) version: SourceVersion,
}

/// An attempt that the service may still execute.
#[derive(Clone, Copy, Debug)]
struct Unanswered {
    until: Instant,
    /// It has an effect only if the document does not exist.
    creates: bool,
}

/// The last writes of one sink. Shared by all writes in flight.
#[derive(Debug)]
pub(crate) struct History {
    late_write_limit: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    writes: LruCache<DocumentHash, LastWrite>,
    unanswered: HashMap<DocumentHash, Unanswered>,
    /// The share of documents without a known write that existed, lately.
    existing_share: f64,
}

impl History {
    pub(crate) fn new(remembered: usize, late_write_limit: Duration) -> Self {
        let capacity = NonZeroUsize::new(remembered).unwrap_or(NonZeroUsize::MIN);
        let state = State {
            writes: LruCache::new(capacity),
            unanswered: HashMap::new(),
            existing_share: 0.0,
        };
        Self { late_write_limit, state: Mutex::new(state) }
    }

    pub(crate) fn last_write(&self, document: DocumentHash) -> Option<LastWrite> {
        self.state.lock().writes.get(&document).cloned()
    }

    /// Records a write that succeeded.
    pub(crate) fn wrote(
        &self,
        document: DocumentHash,
        version: SourceVersion,
        write: Write<'_>,
        answer: &Answer,
    ) {
        let mut state = self.state.lock();
        match write {
            Write::Create(_) => state.observe(false),
            Write::Upsert(_) => state.observe(answer.status != 201),
            Write::Replace { .. } | Write::Delete { .. } => {}
        }
        match (&answer.etag, write) {
            (Some(etag), Write::Create(_) | Write::Upsert(_) | Write::Replace { .. }) => {
                let write = LastWrite { etag: etag.as_str().into(), version };
                state.writes.put(document, write);
            }
            _ => drop(state.writes.pop(&document)),
        }
    }

    /// The document is not as the last write left it; `exists` if a create met it.
    pub(crate) fn is_outdated(&self, document: DocumentHash, exists: bool) {
        let mut state = self.state.lock();
        state.writes.pop(&document);
        if exists {
            state.observe(true);
        }
    }

    /// True if documents without a known write are better created than upserted: a create cannot
    /// overwrite a later write. `documents` share one request, which one conflict fails.
    #[expect(clippy::cast_precision_loss, reason = "a batch has at most 100 documents")]
    pub(crate) fn expects_new(&self, documents: usize) -> bool {
        self.state.lock().existing_share * documents as f64 <= CONFLICTS_MAX
    }

    /// Records an attempt that the service may execute later, unless its condition prevents harm.
    pub(crate) fn unanswered(&self, document: DocumentHash, write: Write<'_>) {
        if write.is_conditional() || self.late_write_limit.is_zero() {
            return;
        }
        let now = Instant::now();
        let creates = matches!(write, Write::Create(_));
        let mut state = self.state.lock();
        state.unanswered.retain(|_, attempt| attempt.until > now);
        let until = now + self.late_write_limit;
        let known = state.unanswered.entry(document);
        known
            .and_modify(|known| known.until = until)
            .or_insert(Unanswered { until, creates })
            .creates &= creates;
    }

    /// How long a document has to wait although its write, which began at `began`, has succeeded;
    /// `None` if no attempt can undo the write any more.
    pub(crate) fn wait(
        &self,
        document: DocumentHash,
        is_delete: bool,
        began: Instant,
    ) -> Option<Duration> {
        let state = self.state.lock();
        let attempt = state.unanswered.get(&document)?;
        if attempt.creates && !is_delete {
            return None;
        }
        (began < attempt.until).then(|| attempt.until.saturating_duration_since(Instant::now()))
    }
}

impl State {
    fn observe(&mut self, exists: bool) {
        let exists = if exists { 1.0 } else { 0.0 };
        self.existing_share += SHARE_WEIGHT * (exists - self.existing_share);
    }
}
