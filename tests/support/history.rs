//! The contents and the history of the containers, read from inside the local accounts.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use cosmos_bridge_emulator::PreviousImages;
use cosmos_bridge_emulator::chance::Chance;
use cosmos_bridge_emulator::container::Container;
use cosmos_bridge_emulator::document::Address;
use cosmos_bridge_emulator::stats::Counters;
use cosmos_bridge_emulator::store::KeyRange;
use cosmos_bridge_emulator::world::ContainerSettings;
use serde::Deserialize;
use tokio::time::Instant;

use super::planted::NOTE;
use super::{PATIENCE, Pair};

/// The settings of a container that keeps every version of every document for a day, with images.
pub(crate) fn remembering(partition_key: &[&str], partitions: u32) -> ContainerSettings {
    ContainerSettings {
        retention_seconds: Some(86_400),
        previous_images: PreviousImages::All,
        ..ContainerSettings::new(partition_key, partitions)
    }
}

/// One version of one document.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) sequence: u64,
}

/// The versions that a container received after an LSN, in order, and its newest LSN. The container has to be
/// one of [`remembering`].
pub(crate) fn versions_after(pair: &Pair, container: &Container, lsn: u64) -> (Vec<Version>, u64) {
    let store = container.store(pair.accounts.world.clock.now());
    let changes = store.log.after(lsn).iter();
    let versions = changes.filter_map(|change| Some(version(&change.current.as_ref()?.text)));
    (versions.collect(), store.lsn())
}

/// The newest version of each document of a container.
pub(crate) fn newest_versions(pair: &Pair, container: &Container) -> HashMap<String, u64> {
    let store = container.store(pair.accounts.world.clock.now());
    let all = KeyRange::all();
    let versions = store.between(&all, None).map(|(_, stored)| version(&stored.text));
    versions.map(|Version { id, sequence }| (id, sequence)).collect()
}

fn version(stored: &[u8]) -> Version {
    // Stored texts lack their closing brace.
    serde_json::from_slice(&[stored, b"}"].concat()).unwrap()
}

impl Pair {
    pub(crate) fn source(&self) -> Arc<Container> {
        self.accounts.world.container("source", "shop", "orders").unwrap()
    }

    pub(crate) fn target(&self) -> Arc<Container> {
        self.accounts.world.container("target", "shop", "copies").unwrap()
    }

    /// Every version that the target received, in order.
    pub(crate) fn received(&self) -> Vec<Version> {
        versions_after(self, &self.target(), 0).0
    }

    /// The ids in the target, sorted.
    pub(crate) fn copied_ids(&self) -> Vec<String> {
        let store = self.target();
        let store = store.store(self.accounts.world.clock.now());
        let all = KeyRange::all();
        let mut ids: Vec<_> =
            store.between(&all, None).map(|(address, _)| address.id.to_string()).collect();
        ids.sort_unstable();
        ids
    }

    /// The number of document writes that the target has carried out so far.
    pub(crate) fn written(&self) -> u64 {
        let target = self.target();
        let kinds = ["upsert", "create", "replace", "delete", "batch"];
        kinds.iter().map(|kind| counters(&target, kind).documents).sum()
    }

    /// Requests for the source's change feed so far.
    pub(crate) fn feed_requests(&self) -> u64 {
        self.feed_counters().requests
    }

    /// The counters of requests for the source's change feed.
    pub(crate) fn feed_counters(&self) -> Counters {
        counters(&self.source(), "feed")
    }

    /// Requests for the source's change feed that were refused for another reason than throttling.
    pub(crate) fn feed_errors(&self) -> u64 {
        counters(&self.source(), "feed").errors
    }

    /// Deletes every document with that id from the source, as a client would.
    pub(crate) fn delete(&self, id: &str) {
        self.delete_where(id, "");
    }

    /// Deletes the document with that id whose text contains the name of a customer.
    pub(crate) fn delete_of(&self, id: &str, customer: &str) {
        self.delete_where(id, &format!("\"customer\":\"{customer}\""));
    }

    fn delete_where(&self, id: &str, part: &str) {
        let now = self.accounts.world.clock.now();
        let source = self.source();
        let mut store = source.store(now);
        let all = KeyRange::all();
        let found: Vec<Address> = store
            .between(&all, None)
            .filter(|(address, version)| {
                let text = String::from_utf8_lossy(&version.text);
                address.id.as_ref() == id && text.contains(part)
            })
            .map(|(address, _)| Address::clone(address))
            .collect();
        assert!(!found.is_empty(), "{id} is not in the source");
        for address in found {
            store.begin();
            store.remove(&address, false, now);
        }
    }
}

fn counters(container: &Container, kind: &str) -> Counters {
    let stats = container.stats.lock().unwrap_or_else(PoisonError::into_inner);
    stats.kinds.get(kind).cloned().unwrap_or_default()
}

/// Prints a line, such as the seed, that the test runner shows if the test fails.
#[expect(clippy::print_stderr, reason = "shown by the test runner when the test fails")]
pub(crate) fn announce(text: &str) {
    eprintln!("{text}");
}

/// Documents `d-0`, `d-1` and so on, written repeatedly. The `sequence` of a document starts at 1 and grows by one
/// with each write.
pub(crate) struct Load {
    chance: Chance,
    sequences: Vec<u64>,
}

impl Load {
    /// Creates a load over this number of documents; nothing is written yet.
    pub(crate) fn new(documents: usize, seed: u64) -> Self {
        announce(&format!("seed {seed}"));
        Self { chance: Chance::new(seed), sequences: vec![0; documents] }
    }

    /// Writes the next version of every document.
    pub(crate) fn write_all(&mut self, pair: &Pair) {
        let lines: String = (0..self.sequences.len()).map(|number| self.next(number)).collect();
        pair.seed(&lines);
    }

    /// Writes the next version of a random document, `times` times.
    pub(crate) fn write_some(&mut self, pair: &Pair, times: usize) {
        for _ in 0..times {
            let number = self.chance.index(self.sequences.len());
            let line = self.next(number);
            pair.seed(&line);
        }
    }

    /// Writes until a condition holds; fails after [`PATIENCE`].
    pub(crate) async fn until(&mut self, pair: &Pair, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "never happened: {what}");
            self.write_some(pair, 1);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn next(&mut self, number: usize) -> String {
        self.sequences[number] += 1;
        let (sequence, customer) = (self.sequences[number], number % 50);
        format!(
            "{{\"id\":\"d-{number}\",\"orderId\":\"d-{number}\",\"customerId\":\"c-{customer}\",\
             \"sequence\":{sequence},{NOTE}}}\n"
        )
    }

    /// All written versions of each document, in order.
    pub(crate) fn versions(&self) -> HashMap<String, Vec<u64>> {
        let numbered = self.sequences.iter().enumerate();
        let written = numbered.filter(|(_, sequence)| **sequence > 0);
        written.map(|(number, last)| (format!("d-{number}"), (1..=*last).collect())).collect()
    }
}

/// The sequences of each document, in the order of arrival.
pub(crate) fn by_document(versions: Vec<Version>) -> HashMap<String, Vec<u64>> {
    let mut sequences: HashMap<String, Vec<u64>> = HashMap::new();
    for Version { id, sequence } in versions {
        sequences.entry(id).or_default().push(sequence);
    }
    sequences
}

/// The documents with an older version after a newer one.
pub(crate) fn out_of_order(versions: Vec<Version>) -> Vec<(String, Vec<u64>)> {
    let documents = by_document(versions).into_iter();
    documents.filter(|(_, sequences)| !sequences.is_sorted()).collect()
}
