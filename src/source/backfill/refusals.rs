//! What a backfill could not write. The documents are in the source, so nothing is stored of them; each is told
//! with its cause and its hash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tracing::warn;

use crate::model::DeadLetter;
use crate::state::{DeadLetterStore, StateError};

/// Documents that the output names. More are counted.
const TOLD: usize = 10_000;

/// Causes that are logged. Those of a target may name the document, so that each is another one.
const LOGGED: usize = 8;

/// A document that was not written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    pub sink: String,
    pub cause: String,
    /// See [`document_hash`](crate::model::document_hash).
    pub document: String,
}

/// The documents that were not written.
#[derive(Default)]
pub struct Refusals(Mutex<Known>);

#[derive(Default)]
struct Known {
    told: BTreeSet<Refusal>,
    logged: BTreeSet<(String, String)>,
    /// Those for which there was no room.
    more: u64,
}

impl Refusals {
    /// The documents that are known by name, and the number of others.
    pub fn told(&self) -> (Vec<Refusal>, u64) {
        let known = self.0.lock();
        (known.told.iter().cloned().collect(), known.more)
    }

    /// Knows what another one knows, and nothing else.
    pub fn take_from(&self, other: &Self) {
        let known = std::mem::take(&mut *other.0.lock());
        *self.0.lock() = known;
    }

    /// The number of documents that were not written, for each sink that they were for.
    pub fn count(&self) -> u64 {
        let known = self.0.lock();
        known.told.len() as u64 + known.more
    }
}

#[async_trait]
impl DeadLetterStore for Refusals {
    async fn store_dead_letters(
        &self,
        letters: Arc<[DeadLetter]>,
    ) -> Result<Vec<bool>, StateError> {
        let mut known = self.0.lock();
        for letter in &*letters {
            let DeadLetter { pipeline, sink, cause, .. } = letter;
            let document = letter.document_hash();
            let is_room = known.logged.len() < LOGGED;
            if is_room && known.logged.insert((sink.clone(), cause.clone())) {
                warn!(pipeline, sink, document, cause, "a document cannot be written");
            }
            let refusal = Refusal { sink: sink.clone(), cause: cause.clone(), document };
            if known.told.len() < TOLD {
                known.told.insert(refusal);
            } else if !known.told.contains(&refusal) {
                known.more += 1;
            }
        }
        Ok(vec![true; letters.len()])
    }

    fn keeps(&self) -> bool {
        false
    }

    async fn count_dead_letters(&self, _: &str) -> Result<BTreeMap<String, u64>, StateError> {
        Ok(BTreeMap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stage;

    fn letter(number: usize, cause: &str) -> DeadLetter {
        DeadLetter {
            pipeline: "orders".to_owned(),
            sink: "archive".to_owned(),
            stage: Stage::Sink,
            cause: cause.to_owned(),
            source: "a/d/c".to_owned(),
            source_id: number.to_string(),
            source_key: "[]".to_owned(),
            range_min: String::new(),
            lsn: None,
            nth: 0,
            target: String::new(),
            committed_at: None,
            operation: "upsert",
            document: None,
            previous: None,
            unparsed: None,
        }
    }

    #[tokio::test]
    async fn every_document_is_counted_once_and_as_many_are_named_as_fit() {
        let refusals = Refusals::default();
        for number in (0..TOLD).chain(0..10).chain(TOLD..TOLD + 5) {
            let letters = [letter(number, "too large")];
            refusals.store_dead_letters(letters.into()).await.unwrap();
        }
        let (told, more) = refusals.told();
        assert_eq!((told.len(), more, refusals.count()), (TOLD, 5, TOLD as u64 + 5));
        assert!(!refusals.keeps());
        let hash = letter(3, "").document_hash();
        assert!(told.iter().any(|one| one.document == hash && one.cause == "too large"));
    }
}
