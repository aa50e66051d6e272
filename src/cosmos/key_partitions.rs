//! Finds the physical partition of a partition key.
//!
//! Used to attribute writes: all writes to one physical partition share its throughput. A missing
//! answer fails nothing, and for a while after a split the answer may be the old partition.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use azure_data_cosmos::options::ReadFeedRangesOptions;
use cosmos_bridge_sink::PartitionKey;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::ContainerHandle;
use super::key::sdk_key;
use crate::model::{FeedRange, PartitionId};

/// Keys cached per target: about 2 MB, enough to keep keys that are written repeatedly.
const KEYS_MAX: usize = 65_536;

/// Longest time between two reads of the partition key ranges, one metadata request each. The SDK
/// addresses writes by key and does not read the ranges again for them, so that a split would go
/// unnoticed.
const REFRESH_EVERY: Duration = Duration::from_mins(5);

/// Shortest time between two such reads when answers report a split, which can take minutes.
const REFRESH_PAUSE: Duration = Duration::from_secs(10);

/// Longest wait for an answer, because a page is not dispatched before the partitions of its keys
/// are known. After a timeout no request is sent for [`REFRESH_PAUSE`].
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A cache of the partitions of keys, in front of the slower lookup of the SDK.
pub(super) struct KeyPartitions {
    hasher: RandomState,
    known: Mutex<Known>,
}

struct Known {
    /// By the hash of the key. Hash collisions are ignored: used for budget attribution only.
    ids: HashMap<u64, PartitionId>,
    /// When the partition key ranges were last read.
    read_at: Instant,
    /// An answer has reported since then that a range was split or moved.
    moved: bool,
    /// No request is sent before this time, because the last one timed out.
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
        // One caller reads the ranges again; the others use the cache.
        let refresh = {
            let mut known = self.known.lock();
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
        let mut known = self.known.lock();
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

    /// Records that an answer reported a split or moved range.
    pub(super) fn moved(&self) {
        self.known.lock().moved = true;
    }
}

impl Known {
    fn is_due(&self) -> bool {
        let wait = if self.moved { REFRESH_PAUSE } else { REFRESH_EVERY };
        self.read_at.elapsed() >= wait
    }
}

/// `None` if the key does not belong to exactly one partition, or the ranges cannot be read.
async fn resolve(
    container: &ContainerHandle,
    key: &PartitionKey,
    refresh: bool,
) -> Option<PartitionId> {
    let options = ReadFeedRangesOptions::default().with_force_refresh(refresh);
    let key = sdk_key(key).ok()?;
    let clients = container.clients.clients("finding a physical partition").await.ok()?;
    let ranges = clients.container.feed_range_from_partition_key(key, Some(options)).await.ok()?;
    let [range] = ranges.as_slice() else { return None };
    let (min, max) = (range.min_inclusive().to_hex(), range.max_exclusive().to_hex());
    Some(container.partitions.of(&FeedRange { min, max }))
}

#[cfg(test)]
mod tests;
