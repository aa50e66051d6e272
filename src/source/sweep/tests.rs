//! The sweep against a scripted source and target, in seeded schedules: while it runs, documents are inserted,
//! changed, deleted and created again, replicas lag, and copies arrive late.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cosmos_bridge_cosmos::{Answer, SourceDocument, SourceVersion, StoredDocument};
use cosmos_bridge_sink::{ContainerName, KeyValue, PartitionKey, Place};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::rule::SETTLED;
use super::{Sweep, Swept, SweptSink};
use crate::cosmos::{
    Copies, CopiesPage, CosmosError, Existing, Looked, Search, SweepSource, SweepTarget, SweptCopy,
};
use crate::governor::{Governor, YieldPolicy};
use crate::observe::{FailureLog, PipelineSinkMetrics};

/// A document at a moment: its log sequence number, or `None` where it does not exist.
type History = Vec<(i64, Option<i64>)>;

/// A small generator: the schedules are the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A source of which all moments are kept, and the copies.
struct World {
    random: Random,
    /// The newest log sequence number.
    lsn: i64,
    source: BTreeMap<u64, History>,
    /// By document: the number that was copied, and the number of the write.
    target: BTreeMap<u64, (i64, u64)>,
    writes: u64,
    /// Copies that are on their way: of which document, and which number; `None` for a delete.
    in_flight: Vec<(u64, Option<i64>)>,
    /// The numbers that a failover to a region that is behind hides from every answer for a while.
    region_behind: i64,
    false_deletes: u64,
    documents: u64,
    /// Nothing happens any more, and every answer is right.
    is_calm: bool,
    is_broken: bool,
    /// The ids are those of very many documents of other keys, too.
    has_many_keys: bool,
}

impl World {
    fn new(seed: u64, is_broken: bool) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let region_behind = if random.chance(30) { 1 + random.below(20).cast_signed() } else { 0 };
        let has_many_keys = random.chance(30);
        let mut world = Self {
            random,
            lsn: 100,
            source: BTreeMap::new(),
            target: BTreeMap::new(),
            writes: 0,
            in_flight: Vec::new(),
            region_behind,
            false_deletes: 0,
            documents: 12,
            is_calm: false,
            is_broken,
            has_many_keys,
        };
        for document in 0..12 {
            world.write(document, true);
            world.copy_all();
        }
        // What nothing told the target of.
        for document in 0..12 {
            if world.random.chance(30) {
                world.write(document, false);
                world.in_flight.clear();
            }
        }
        world
    }

    /// The next version of a document, which goes to the target later.
    fn write(&mut self, document: u64, exists: bool) {
        self.lsn += 1;
        let now = exists.then_some(self.lsn);
        self.source.entry(document).or_default().push((self.lsn, now));
        self.in_flight.push((document, now));
    }

    fn copy_all(&mut self) {
        while !self.in_flight.is_empty() {
            self.copy_one();
        }
    }

    /// The first change that is on its way arrives.
    fn copy_one(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let (document, number) = self.in_flight.remove(0);
        self.writes += 1;
        match number {
            Some(number) => drop(self.target.insert(document, (number, self.writes))),
            None => drop(self.target.remove(&document)),
        }
    }

    /// Something happens between two requests.
    fn happen(&mut self) {
        if self.is_calm {
            return;
        }
        for _ in 0..self.random.below(4) {
            match self.random.below(10) {
                0..3 => {
                    let document = self.documents;
                    self.documents += 1;
                    self.write(document, true);
                }
                3..6 => {
                    let document = self.random.below(self.documents);
                    self.write(document, true);
                }
                6 => {
                    let document = self.random.below(self.documents);
                    if self.at(document, self.lsn).is_some() {
                        self.write(document, false);
                    }
                }
                _ => self.copy_one(),
            }
        }
        if self.random.chance(20) {
            self.region_behind = 0;
        }
    }

    /// A document as it was at a number.
    fn at(&self, document: u64, lsn: i64) -> Option<i64> {
        let history = self.source.get(&document)?;
        history.iter().rev().find(|(at, _)| *at <= lsn)?.1
    }

    /// Whether a request fails.
    fn fails(&mut self) -> bool {
        !self.is_calm && self.random.chance(10)
    }

    /// What a quorum of the region has.
    fn quorum(&self) -> i64 {
        self.lsn - self.region_behind
    }

    /// What a replica of it has.
    fn replica(&mut self) -> i64 {
        let lag = if !self.is_calm && self.random.chance(50) {
            self.random.below(15).cast_signed()
        } else {
            0
        };
        self.quorum() - lag
    }
}

#[derive(Clone)]
struct Scripted(Arc<Mutex<World>>);

fn container() -> ContainerName {
    let name = |text: &str| text.to_owned();
    ContainerName { account: name("a"), database: name("d"), container: name("c"), rid: name("r") }
}

fn place(document: u64) -> Place {
    let partition_key = PartitionKey(vec![KeyValue::String("k".to_owned())]);
    Place { id: document.to_string(), partition_key }
}

fn number(place: &Place) -> SourceDocument {
    SourceDocument::named(&container(), &place.partition_key, &place.id)
}

/// Committed just now, so that no copy is settled by its age.
fn version(document: u64, lsn: i64) -> SourceVersion {
    let number = number(&place(document)).to_string();
    let now = jiff::Timestamp::now().as_second();
    serde_json::from_value(json!({"document": number, "lsn": lsn, "nth": 0, "committed_at": now}))
        .unwrap()
}

struct Pages {
    world: Scripted,
    next: u64,
}

#[async_trait]
impl Copies for Pages {
    async fn next_page(&mut self) -> Result<Option<CopiesPage>, CosmosError> {
        let mut world = self.world.0.lock().unwrap();
        world.happen();
        if world.fails() {
            return Err(busy());
        }
        let rows: Vec<_> = world.target.range(self.next..).take(3).map(|(d, w)| (*d, *w)).collect();
        let Some((last, _)) = rows.last() else { return Ok(None) };
        self.next = last + 1;
        let copies = rows.into_iter().map(|(document, (lsn, write))| SweptCopy {
            stored: StoredDocument {
                id: document.to_string(),
                partition_key: place(document).partition_key,
                etag: write.to_string(),
                version: Some(version(document, lsn)),
            },
            source_key: place(document).partition_key,
        });
        Ok(Some(CopiesPage { copies: copies.collect(), charge: 1.0 }))
    }
}

fn busy() -> CosmosError {
    let answer = Answer { status: 503, ..Answer::default() };
    CosmosError { attempt: "asking".to_owned(), answer }
}

#[async_trait]
impl SweepTarget for Scripted {
    fn copies(&self) -> Box<dyn Copies> {
        Box::new(Pages { world: self.clone(), next: 0 })
    }

    async fn delete(&self, copy: &StoredDocument) -> Answer {
        let mut world = self.0.lock().unwrap();
        world.happen();
        if world.fails() {
            return busy().answer;
        }
        let document: u64 = copy.id.parse().unwrap();
        let answer = |status| Answer { status, charge: 1.0, ..Answer::default() };
        match world.target.get(&document) {
            None => answer(404),
            Some((_, write)) if write.to_string() != copy.etag => answer(412),
            Some((copied, _)) => {
                // False, if the version that was copied, or a later one, still is what the source has and nothing
                // that is on its way will write it again.
                let copied = *copied;
                let present = world.at(document, world.lsn);
                let comes = world.in_flight.iter().any(|(other, _)| *other == document);
                if present.is_some_and(|present| present >= copied) && !comes {
                    world.false_deletes += 1;
                }
                world.target.remove(&document);
                answer(204)
            }
        }
    }
}

#[async_trait]
impl SweepSource for Scripted {
    fn number(&self, place: &Place) -> SourceDocument {
        number(place)
    }

    async fn existing(&self, places: &[Place], by: Search) -> Result<Existing, CosmosError> {
        let mut world = self.0.lock().unwrap();
        world.happen();
        if world.fails() {
            return Err(busy());
        }
        let lsn = world.replica();
        let has = |place: &&Place| world.at(place.id.parse().unwrap(), lsn).is_some();
        let documents = places.iter().filter(has).map(number).collect();
        if by == Search::Ids && world.has_many_keys {
            // Those of other keys came first.
            return Ok(Existing { documents: Vec::new(), is_too_many: true, charge: 1.0 });
        }
        Ok(Existing { documents, is_too_many: false, charge: 1.0 })
    }

    async fn look(&self, place: &Place) -> Result<Looked, CosmosError> {
        let mut world = self.0.lock().unwrap();
        world.happen();
        let lsn = if world.is_broken { world.replica() } else { world.quorum() };
        let exists = world.at(place.id.parse().unwrap(), lsn).is_some();
        // A broken confirmation says that it is as new as it should be.
        let told = if world.is_broken { i64::MAX } else { lsn };
        Ok(Looked { exists, lsn: Some(told), charge: 1.0 })
    }
}

async fn sweep(world: &Scripted) -> Swept {
    let governor = || Arc::new(Governor::new(None, YieldPolicy::Normal, 100));
    let sink = SweptSink {
        sink: 0,
        source: Arc::new(world.clone()),
        target: Arc::new(world.clone()),
        target_budget: governor(),
        every: None,
    };
    let (source_budget, meter) = (governor(), PipelineSinkMetrics::new("orders", "archive"));
    let stop = CancellationToken::new();
    let failures = FailureLog::new("sweeping");
    let sweep =
        Sweep { sink: &sink, source_budget: &source_budget, meter: &meter, failures, stop: &stop };
    sweep.run().await.unwrap().unwrap()
}

/// False deletes in a schedule, and copies that should be gone at its end.
async fn play(seed: u64, is_broken: bool) -> (u64, Vec<u64>) {
    let world = Scripted(Arc::new(Mutex::new(World::new(seed, is_broken))));
    sweep(&world).await;
    // At rest.
    {
        let mut world = world.0.lock().unwrap();
        world.copy_all();
        (world.region_behind, world.is_calm) = (0, true);
    }
    sweep(&world).await;
    let world = world.0.lock().unwrap();
    let is_wrong = |document: &&u64| world.at(**document, world.lsn).is_none();
    let left = world.target.keys().filter(is_wrong).copied().collect();
    let mut false_deletes = world.false_deletes;
    // Whatever the source has arrives in the end, and stays.
    false_deletes += (0..world.documents)
        .filter(|document| world.at(*document, world.lsn).is_some())
        .filter(|document| !world.target.contains_key(document))
        .count() as u64;
    (false_deletes, left)
}

#[tokio::test(start_paused = true)]
async fn no_document_that_exists_loses_its_copy_and_every_missed_delete_is_found() {
    for seed in 0..10_000 {
        let (false_deletes, left) = play(seed, false).await;
        assert_eq!((false_deletes, left), (0, vec![]), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_schedules_find_a_confirmation_by_a_replica_that_lags() {
    let mut found = 0;
    for seed in 0..500 {
        found += u64::from(play(seed, true).await.0 > 0);
    }
    assert!(found > 0, "a broken confirmation was never noticed");
}

#[test]
fn a_copy_goes_only_if_the_answer_is_not_older_than_it_or_nothing_can_be() {
    use super::rule::is_gone;
    let now = 1_000_000;
    let copied = |lsn: Option<i64>, committed_at: Option<i64>| -> SourceVersion {
        let document = number(&place(1)).to_string();
        let record =
            json!({"document": document, "lsn": lsn, "nth": 0, "committed_at": committed_at});
        serde_json::from_value(record).unwrap()
    };
    let looked = |exists, lsn| Looked { exists, lsn, charge: 1.0 };
    for (copy, looked, expected) in [
        (copied(Some(5), Some(now)), looked(false, Some(5)), true),
        (copied(Some(5), Some(now)), looked(false, Some(4)), false),
        (copied(Some(5), Some(now)), looked(true, Some(9)), false),
        (copied(Some(5), Some(now)), looked(false, None), false),
        (copied(None, Some(now)), looked(false, Some(9)), false),
        // After a merge, numbers begin again.
        (copied(Some(5), Some(now - SETTLED)), looked(false, Some(4)), true),
        (copied(None, Some(now - SETTLED)), looked(false, None), true),
        (copied(None, Some(now - SETTLED)), looked(true, None), false),
        (copied(None, None), looked(false, None), false),
    ] {
        assert_eq!(is_gone(&copy, &looked, now), expected, "{copy:?} {looked:?}");
    }
}

#[test]
fn only_a_copy_that_is_proven_to_be_of_this_source_is_swept() {
    use super::rule::{Kind, kind_of};
    let copy = |id: &str, key: &str, version: Option<SourceVersion>| SweptCopy {
        stored: StoredDocument {
            id: id.to_owned(),
            partition_key: PartitionKey(vec![KeyValue::String("other".to_owned())]),
            etag: "e".to_owned(),
            version,
        },
        source_key: PartitionKey(vec![KeyValue::String(key.to_owned())]),
    };
    let record = version(1, 5);
    let of = kind_of(&copy("1", "k", Some(record)), number);
    assert_eq!(of, Kind::Of(place(1), record));
    // Another container, an id or a key field that a route changes; and a document that is no copy.
    assert_eq!(kind_of(&copy("2", "k", Some(record)), number), Kind::Unknown);
    assert_eq!(kind_of(&copy("1", "x", Some(record)), number), Kind::Unknown);
    assert_eq!(kind_of(&copy("1", "k", None), number), Kind::NoCopy);
}
