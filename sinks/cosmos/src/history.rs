//! What the sink last wrote to each document, so that a late attempt cannot undo a later write.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::{Change, Mutex, Place};
use lru::LruCache;
use tokio::time::Instant;

use crate::document_hash::DocumentHash;
use crate::source_version::{SourceDocument, SourceVersion};
use crate::{Answer, CosmosOptions, StoredDocument, Write};

/// Weight of the last document in the share of documents that exist.
const SHARE_WEIGHT: f64 = 0.1;

/// Expected conflicts in one request from which on the request does not create documents.
const CONFLICTS_MAX: f64 = 0.5;

/// The last write of a document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LastWrite {
    pub(crate) etag: Arc<str>,
    /// None if the document was not written by a sink that records it.
    pub(crate) version: Option<SourceVersion>,
}

impl LastWrite {
    pub(crate) fn of(stored: &StoredDocument) -> Self {
        Self { etag: stored.etag.as_str().into(), version: stored.version }
    }
}

/// Where the only copy of a source document is.
#[derive(Clone, Debug)]
pub(crate) enum OnlyCopy {
    /// The target has no copy.
    Nowhere,
    At(Arc<Place>),
}

/// A copy that has to go.
#[derive(Debug, PartialEq)]
pub(crate) struct OldCopy {
    pub(crate) place: Place,
    pub(crate) known: Known,
}

/// What is known of a document in the target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Known {
    Nothing,
    /// The target does not have it.
    Missing,
    Written(LastWrite),
}

impl Known {
    pub(crate) fn etag(&self) -> Option<&str> {
        match self {
            Self::Written(write) => Some(&write.etag),
            Self::Nothing | Self::Missing => None,
        }
    }

    pub(crate) fn version(&self) -> Option<SourceVersion> {
        match self {
            Self::Written(write) => write.version,
            Self::Nothing | Self::Missing => None,
        }
    }
}

/// An attempt that the service may still execute.
#[derive(Clone, Debug)]
struct Unanswered {
    until: Instant,
    /// It has an effect only if the document does not exist.
    creates: bool,
    guard: Option<Guard>,
    /// A write has succeeded since, and waits for the end of this attempt.
    is_written: bool,
}

/// A document that has to have an `ETag` still when an attempt is executed, because both share a batch.
#[derive(Clone, Debug, PartialEq)]
struct Guard {
    document: DocumentHash,
    etag: Arc<str>,
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
    /// Where the only copy of a source document is, if there is one; empty unless the sink records the
    /// source.
    places: LruCache<SourceDocument, OnlyCopy>,
    unanswered: HashMap<DocumentHash, Unanswered>,
    /// The share of documents without a known write that existed, lately.
    existing_share: f64,
}

impl History {
    pub(crate) fn new(options: &CosmosOptions) -> Self {
        let capacity = NonZeroUsize::new(options.remembered_documents).unwrap_or(NonZeroUsize::MIN);
        let state = State {
            writes: LruCache::new(capacity),
            // The table of a cache is as large as it can become.
            places: LruCache::new(if options.source_field.is_some() {
                capacity
            } else {
                NonZeroUsize::MIN
            }),
            unanswered: HashMap::new(),
            existing_share: 0.0,
        };
        Self { late_write_limit: options.late_write_limit, state: Mutex::new(state) }
    }

    pub(crate) fn known(&self, document: DocumentHash) -> Known {
        self.state.lock().known(document)
    }

    /// What is known of the document of each change.
    pub(crate) fn known_of(&self, changes: &[Change]) -> Vec<(DocumentHash, Known)> {
        let documents: Vec<_> = changes.iter().map(DocumentHash::of).collect();
        let mut state = self.state.lock();
        let known = |document: DocumentHash| (document, state.known(document));
        documents.into_iter().map(known).collect()
    }

    /// Where the only copy of a source document is, or that there is no copy, if it is known.
    pub(crate) fn place(&self, document: SourceDocument) -> Option<OnlyCopy> {
        self.state.lock().places.get(&document).cloned()
    }

    /// Records where the only copy of a source document is now.
    pub(crate) fn placed(&self, document: SourceDocument, place: Option<Place>) {
        let copy = place.map_or(OnlyCopy::Nowhere, |place| OnlyCopy::At(Arc::new(place)));
        self.state.lock().places.put(document, copy);
    }

    pub(crate) fn forget_place(&self, document: SourceDocument) {
        self.state.lock().places.pop(&document);
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
                let write = LastWrite { etag: etag.as_str().into(), version: Some(version) };
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

    /// Records a request that the service may execute later. Its writes have all their effects or none,
    /// so the conditions of some protect the others for as long as the service has not carried them out.
    pub(crate) fn unanswered(&self, writes: &[(DocumentHash, Write<'_>)]) {
        if self.late_write_limit.is_zero() {
            return;
        }
        let now = Instant::now();
        let until = now + self.late_write_limit;
        let guard = writes.iter().find_map(|(document, write)| {
            let etag = write.if_match()?.into();
            Some(Guard { document: *document, etag })
        });
        let mut state = self.state.lock();
        state.unanswered.retain(|_, attempt| attempt.until > now);
        for (document, write) in writes.iter().filter(|(_, write)| write.if_match().is_none()) {
            let creates = matches!(write, Write::Create(_));
            let attempt = Unanswered { until, creates, guard: guard.clone(), is_written: false };
            match state.unanswered.entry(*document) {
                Entry::Vacant(entry) => drop(entry.insert(attempt)),
                Entry::Occupied(mut entry) => {
                    let known = entry.get_mut();
                    (known.until, known.is_written) = (until, false);
                    known.creates &= creates;
                    // An attempt before this one may have none.
                    known.guard = known.guard.take().filter(|known| Some(known) == guard.as_ref());
                }
            }
        }
    }

    /// How long a document has to wait although its write, which began at `began`, has succeeded;
    /// `None` if no attempt can undo the write any more.
    pub(crate) fn wait(
        &self,
        document: DocumentHash,
        is_delete: bool,
        began: Instant,
    ) -> Option<Duration> {
        let State { writes, unanswered, .. } = &mut *self.state.lock();
        let attempt = unanswered.get_mut(&document)?;
        if attempt.creates && !is_delete {
            return None;
        }
        let is_other = |guard: &Guard| {
            let last = writes.peek(&guard.document);
            last.is_some_and(|last| last.etag != guard.etag)
        };
        if attempt.guard.as_ref().is_some_and(is_other) || began >= attempt.until {
            return None;
        }
        attempt.is_written = true;
        Some(attempt.until.saturating_duration_since(Instant::now()))
    }

    /// How long a document that was written still waits. Until then it need not be written again, however
    /// early it is offered again because of others.
    pub(crate) fn rest(&self, document: DocumentHash) -> Option<Duration> {
        let state = self.state.lock();
        let attempt = state.unanswered.get(&document).filter(|attempt| attempt.is_written)?;
        let rest = attempt.until.saturating_duration_since(Instant::now());
        (!rest.is_zero()).then_some(rest)
    }
}

impl State {
    fn known(&mut self, document: DocumentHash) -> Known {
        self.writes.get(&document).cloned().map_or(Known::Nothing, Known::Written)
    }

    fn observe(&mut self, exists: bool) {
        let exists = if exists { 1.0 } else { 0.0 };
        self.existing_share += SHARE_WEIGHT * (exists - self.existing_share);
    }
}
