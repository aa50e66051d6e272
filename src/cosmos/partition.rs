//! Tells which physical partition a key or a feed range belongs to.
//!
//! For attribution only: what is written to one physical partition shares its throughput. Nothing
//! fails for lack of an answer, and for a while after a split the answer may be the old one.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azure_data_cosmos::options::ReadFeedRangesOptions;
use cosmos_bridge_sink::PartitionKey;
use tokio::time::{Instant, timeout};

use super::ContainerHandle;
use super::target::sdk_key;
use crate::model::{FeedRange, PartitionId};

/// Keys remembered per target: some 2 MB, and enough that keys written again and again stay.
const KEYS_MAX: usize = 65_536;

/// The SDK addresses writes by key and never reads the partition key ranges again for them, so a
/// split would go unnoticed: they are read again this often, which costs one metadata request.
const REFRESH_EVERY: Duration = Duration::from_mins(5);

/// Shortest time between two such reads when answers tell of a split, which can take minutes.
const REFRESH_PAUSE: Duration = Duration::from_secs(10);

/// A page goes on to all of its sinks once the partitions of its keys are told, so the service is not
/// waited for any longer; and after that not asked for as long as [`REFRESH_PAUSE`].
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The numbers of one container's partitions, given at first sight, from 1.
#[derive(Default)]
pub(super) struct PartitionIds(Mutex<BTreeMap<FeedRange, PartitionId>>);

impl PartitionIds {
    /// By both bounds: the first part of a split begins where the whole began.
    pub(super) fn of(&self, range: &FeedRange) -> PartitionId {
        let range = FeedRange { min: canonical(&range.min), max: canonical(&range.max) };
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = u32::try_from(ids.len() + 1).map_or(PartitionId::UNKNOWN, PartitionId);
        *ids.entry(range).or_insert(next)
    }
}

/// Zero bytes at the end of a bound mean nothing, and are written by some and not by others.
fn canonical(bound: &str) -> String {
    let mut bound = bound;
    while let Some(shorter) = bound.strip_suffix("00").filter(|b| b.len().is_multiple_of(2)) {
        bound = shorter;
    }
    bound.to_ascii_uppercase()
}

/// The partitions of the keys that were asked for, in front of the SDK's own, slower answer.
pub(super) struct KeyPartitions {
    hasher: RandomState,
    known: Mutex<Known>,
}

struct Known {
    /// By the hash of the key: two keys that share one are told apart by nobody who pays for it.
    ids: HashMap<u64, PartitionId>,
    /// When the partition key ranges were read.
    read_at: Instant,
    /// An answer told that they have changed since.
    moved: bool,
    /// Until when the service is not asked, because it gave no answer.
    silent_until: Option<Instant>,
}

impl Default for KeyPartitions {
    fn default() -> Self {
        let (ids, read_at) = (HashMap::new(), Instant::now());
        let known = Known { ids, read_at, moved: false, silent_until: None };
        Self { hasher: RandomState::new(), known: Mutex::new(known) }
    }
}

impl KeyPartitions {
    pub(super) async fn of(&self, container: &ContainerHandle, key: &PartitionKey) -> PartitionId {
        let hash = self.hasher.hash_one(key);
        // One caller reads the ranges again; the others go on with what is known.
        let refresh = {
            let mut known = self.known();
            let refresh = known.is_due() && container.gate.is_ready();
            if refresh {
                known.read_at = Instant::now();
                known.moved = false;
            } else if let Some(id) = known.ids.get(&hash) {
                return *id;
            } else if known.silent_until.is_some_and(|until| Instant::now() < until) {
                return PartitionId::UNKNOWN;
            }
            refresh
        };
        let answer = timeout(ANSWER_WITHIN, resolve(container, key, refresh)).await;
        let mut known = self.known();
        let Ok(answer) = answer else {
            known.silent_until = Some(Instant::now() + REFRESH_PAUSE);
            return known.ids.get(&hash).copied().unwrap_or(PartitionId::UNKNOWN);
        };
        let Some(id) = answer else { return PartitionId::UNKNOWN };
        if refresh || known.ids.len() >= KEYS_MAX {
            known.ids.clear();
        }
        known.ids.insert(hash, id);
        id
    }

    /// Notes that an answer told of a range that was split or moved.
    pub(super) fn moved(&self) {
        self.known().moved = true;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_due(&self) -> bool {
        let wait = if self.moved { REFRESH_PAUSE } else { REFRESH_EVERY };
        self.read_at.elapsed() >= wait
    }
}

/// `None` if the key does not lead to one partition, or the ranges cannot be read.
async fn resolve(
    container: &ContainerHandle,
    key: &PartitionKey,
    refresh: bool,
) -> Option<PartitionId> {
    let options = ReadFeedRangesOptions::default().with_force_refresh(refresh);
    let key = sdk_key(key).ok()?;
    let clients = container.link.clients("finding a physical partition").await.ok()?;
    let ranges = clients.container.feed_range_from_partition_key(key, Some(options)).await.ok()?;
    let [range] = ranges.as_slice() else { return None };
    let (min, max) = (range.min_inclusive().to_hex(), range.max_exclusive().to_hex());
    Some(container.partitions.of(&FeedRange { min, max }))
}

#[cfg(test)]
mod tests;
