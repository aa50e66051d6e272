//! Which documents were sent, in bounded memory.

use std::hash::BuildHasher;

use cosmos_bridge_sink::Origin;
use foldhash::quality::RandomState;
use parking_lot::Mutex;

/// Bits for the documents: 32 MiB, of which only what is used takes memory. Of ten million documents, one in two
/// hundred others is taken for one that was sent; of a hundred million, one in four. Such a document is sent once
/// more, by its own routes, which is harmless.
const BITS: u64 = 1 << 28;

/// A set of documents that may also hold others, and lacks none.
pub struct SentDocuments {
    words: Mutex<Vec<u64>>,
    hash: RandomState,
}

impl Default for SentDocuments {
    fn default() -> Self {
        let words = usize::try_from(BITS / 64).unwrap_or(1);
        Self { words: Mutex::new(vec![0; words]), hash: RandomState::default() }
    }
}

impl SentDocuments {
    pub fn insert(&self, origin: &Origin) {
        let mut words = self.words.lock();
        for (word, bit) in self.places(origin) {
            if let Some(word) = words.get_mut(word) {
                *word |= bit;
            }
        }
    }

    pub fn may_hold(&self, origin: &Origin) -> bool {
        let words = self.words.lock();
        let is_set = |(word, bit): (usize, u64)| words.get(word).is_none_or(|word| word & bit != 0);
        self.places(origin).into_iter().all(is_set)
    }

    fn places(&self, origin: &Origin) -> [(usize, u64); 2] {
        let hash = self.hash.hash_one((&origin.partition_key, &origin.id));
        [hash, hash.rotate_left(32)].map(|hash| {
            let place = hash % BITS;
            (usize::try_from(place / 64).unwrap_or(usize::MAX), 1 << (place % 64))
        })
    }
}
