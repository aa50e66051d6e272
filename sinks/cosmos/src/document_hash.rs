//! Numbers for documents, which only this process knows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;

use cosmos_bridge_sink::{Change, PartitionKey};
use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

/// The hash of this process, with a random seed: no two documents collide in every process.
pub(crate) fn process_hash() -> SeedableRandomState {
    SeedableRandomState::with_seed(0, SharedSeed::global_random())
}

/// A document of the target. With 64 bits and 100,000 remembered documents, one of 10^14 writes meets
/// the number of another document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DocumentHash(u64);

impl DocumentHash {
    pub(crate) fn of(change: &Change) -> Self {
        Self::at(&change.partition_key, &change.id)
    }

    fn at(key: &PartitionKey, id: &str) -> Self {
        Self(process_hash().hash_one((key, id)))
    }
}

/// The indexes of the changes of each document, in order.
pub(crate) fn by_document(changes: &[Change]) -> Vec<Vec<usize>> {
    let mut places: HashMap<DocumentHash, usize> = HashMap::new();
    let mut documents: Vec<Vec<usize>> = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        match places.entry(DocumentHash::of(change)) {
            Entry::Occupied(place) => documents[*place.get()].push(index),
            Entry::Vacant(place) => {
                place.insert(documents.len());
                documents.push(vec![index]);
            }
        }
    }
    documents
}
