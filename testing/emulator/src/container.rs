//! One container: its settings, its physical ranges and its store.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::answer::Refusal;
use crate::backend::{BackendError, HeldTransition, KeyHasher};
use crate::charges::Charges;
use crate::document::{Address, Naming};
use crate::images::{self, Images};
use crate::key::{EffectiveKey, KeyPath, KeyValue};
use crate::stats::ContainerStats;
use crate::store::{KeyRange, Store};
use crate::throttle::Throttle;

/// One container of an account.
pub struct Container {
    pub database: String,
    pub id: String,
    pub rid: String,
    pub naming: Naming,
    pub path_texts: Vec<String>,
    pub paths: Vec<KeyPath>,
    pub key_version: u32,
    /// Made without a partition key.
    pub system_key: bool,
    pub unique_keys: Vec<Vec<KeyPath>>,
    pub throttle: Throttle,
    pub charges: Charges,
    /// The start of the slots in the stats.
    pub made: Instant,
    pub stats: Mutex<ContainerStats>,
    /// Settings that the gateway owns, as they stand in the container's JSON.
    pub settings: RwLock<Map<String, Value>>,
    images: RwLock<Arc<Images>>,
    /// Held across a refresh of the vendor's copies and the query that needs them.
    pub refresh: tokio::sync::Mutex<()>,
    hasher: KeyHasher,
    shape: RwLock<Shape>,
    store: Mutex<Store>,
    /// The seconds of history of containers that do not say otherwise.
    history: RwLock<Option<u32>>,
}

/// A physical range.
#[derive(Clone, Debug)]
pub struct Range {
    pub id: String,
    pub keys: KeyRange,
}

#[derive(Default)]
struct Shape {
    ranges: Vec<Range>,
    /// Ranges in a split or merge that is not over.
    locked: BTreeSet<String>,
    held: Option<HeldTransition>,
}

/// Settings of a container that live in the gateway.
pub const SETTINGS: [&str; 5] =
    ["defaultTtl", "uniqueKeyPolicy", "changeFeedPolicy", images::POLICY, "indexingPolicy"];

impl Container {
    /// Takes the vendor's JSON of the container, the settings the gateway owns, and the seconds of
    /// history that its account keeps.
    pub fn new(
        database: &str,
        metadata: &Value,
        settings: Map<String, Value>,
        history: Option<u32>,
        nonce: u32,
    ) -> Result<Self, BackendError> {
        let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
        let path_texts: Vec<String> = metadata["partitionKey"]["paths"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|path| path.as_str().map(str::to_owned))
            .collect();
        let container = Self {
            database: database.to_owned(),
            id: text("id"),
            rid: text("_rid"),
            naming: Naming::new(&text("_rid"), &text("_self"), nonce),
            paths: path_texts.iter().map(|path| KeyPath::parse(path)).collect(),
            path_texts,
            key_version: metadata["partitionKey"]["version"]
                .as_u64()
                .map_or(1, |version| u32::try_from(version).unwrap_or(1)),
            system_key: false,
            unique_keys: unique_keys(&settings),
            throttle: Throttle::default(),
            charges: Charges::new(database, &text("id")),
            made: Instant::now(),
            stats: Mutex::default(),
            settings: RwLock::new(Map::new()),
            images: RwLock::default(),
            refresh: tokio::sync::Mutex::new(()),
            hasher: KeyHasher::new(&metadata["partitionKey"])?,
            shape: RwLock::default(),
            store: Mutex::default(),
            history: RwLock::new(history),
        };
        container.apply_settings(settings);
        Ok(container)
    }

    /// Replaces the settings and what follows from them.
    pub fn apply_settings(&self, settings: Map<String, Value>) {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let ttl = settings.get("defaultTtl").and_then(Value::as_i64);
        store.set_default_ttl(ttl.and_then(|ttl| i32::try_from(ttl).ok()));
        let lsn = store.lsn();
        let history = *self.history.read().unwrap_or_else(PoisonError::into_inner);
        let retention = own_retention(&settings).or(history).filter(|seconds| *seconds > 0);
        store.log.set_retention(retention, lsn);
        *self.images.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Images::read(&settings));
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Sets the seconds of history that the account keeps.
    pub fn set_history(&self, seconds: Option<u32>) {
        *self.history.write().unwrap_or_else(PoisonError::into_inner) = seconds;
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.apply_settings(settings);
    }

    /// What the items of the all-versions feed carry.
    pub fn images(&self) -> Arc<Images> {
        Arc::clone(&self.images.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn setting(&self, name: &str) -> Option<Value> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The store, with everything that has expired by `now` deleted.
    pub fn store(&self, now: u32) -> MutexGuard<'_, Store> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.sweep(now);
        store
    }

    /// A key that a request names; none where it names no key at all, which for a container without
    /// a partition key is the key of its documents.
    pub fn named_key(&self, key: Vec<KeyValue>) -> Option<Vec<KeyValue>> {
        match (key.is_empty(), self.system_key) {
            (true, true) => Some(vec![KeyValue::Undefined]),
            (true, false) => None,
            (false, _) => Some(key),
        }
    }

    /// The effective key of a full partition key.
    pub fn effective_key(&self, values: &[KeyValue]) -> Result<EffectiveKey, Refusal> {
        Ok(self.key_range(values)?.min)
    }

    /// The effective keys of a partition key or of a prefix of one.
    pub fn key_range(&self, values: &[KeyValue]) -> Result<KeyRange, Refusal> {
        if values.is_empty() || values.len() > self.paths.len() {
            return Err(Refusal::bad_request(
                "the number of partition key components does not fit the container",
            ));
        }
        let (min, max) =
            self.hasher.range(values).map_err(|error| Refusal::bad_request(error.to_string()))?;
        Ok(KeyRange { min, max })
    }

    pub fn address(&self, values: &[KeyValue], id: &str) -> Result<Address, Refusal> {
        if values.len() != self.paths.len() {
            return Err(Refusal::bad_request(
                "the number of partition key components does not fit the container",
            ));
        }
        Ok(Address { key: self.effective_key(values)?, id: id.into() })
    }

    pub fn ranges(&self) -> Vec<Range> {
        self.shape.read().unwrap_or_else(PoisonError::into_inner).ranges.clone()
    }

    pub fn set_ranges(&self, ranges: Vec<Range>) {
        self.throttle.set_ranges(ranges.len());
        self.shape.write().unwrap_or_else(PoisonError::into_inner).ranges = ranges;
    }

    /// The range that holds a key; 410 while it is being split or merged.
    pub fn range_of(&self, key: &EffectiveKey) -> Result<String, Refusal> {
        let shape = self.shape.read().unwrap_or_else(PoisonError::into_inner);
        let range = shape
            .ranges
            .iter()
            .find(|range| range.keys.contains(key))
            .ok_or_else(|| Refusal::new(500, "no range holds the key"))?;
        check_lock(&shape, &range.id)?;
        Ok(range.id.clone())
    }

    /// A range by its id; 410 when it is gone or being split or merged.
    pub fn range(&self, id: &str) -> Result<Range, Refusal> {
        let shape = self.shape.read().unwrap_or_else(PoisonError::into_inner);
        let range = shape.ranges.iter().find(|range| range.id == id).cloned().ok_or_else(|| {
            Refusal::new(410, "the partition key range is gone").with_substatus(1002)
        })?;
        check_lock(&shape, id)?;
        Ok(range)
    }

    /// The first range that overlaps some keys; 410 while any of them is being split or merged.
    pub fn first_range_over(&self, keys: &KeyRange) -> Result<Option<String>, Refusal> {
        let shape = self.shape.read().unwrap_or_else(PoisonError::into_inner);
        let mut first = None;
        for range in shape.ranges.iter().filter(|range| range.keys.overlaps(keys)) {
            check_lock(&shape, &range.id)?;
            first.get_or_insert_with(|| range.id.clone());
        }
        Ok(first)
    }

    /// Locks ranges for a transition whose window stays open; false if one is open already.
    pub fn hold(&self, ranges: &[String], held: Option<HeldTransition>) -> bool {
        let mut shape = self.shape.write().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() && shape.held.is_some() {
            return false;
        }
        shape.locked.extend(ranges.iter().cloned());
        shape.held = held;
        true
    }

    /// Takes the held transition; the ranges stay locked until `unlock`.
    pub fn take_held(&self) -> Option<HeldTransition> {
        self.shape.write().unwrap_or_else(PoisonError::into_inner).held.take()
    }

    pub fn unlock(&self) {
        self.shape.write().unwrap_or_else(PoisonError::into_inner).locked.clear();
    }

    /// The container's JSON as the vendor gives it, with the gateway's settings laid over it.
    pub fn overlay(&self, metadata: &mut Value) {
        if self.system_key {
            metadata["partitionKey"]["systemKey"] = true.into();
        }
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        for name in SETTINGS {
            match settings.get(name) {
                Some(value) => metadata[name] = value.clone(),
                None if name != "indexingPolicy" => {
                    metadata.as_object_mut().map(|object| object.remove(name));
                }
                None => {}
            }
        }
    }
}

fn check_lock(shape: &Shape, id: &str) -> Result<(), Refusal> {
    if shape.locked.contains(id) {
        return Err(
            Refusal::new(410, "the partition is being split or merged").with_substatus(1007)
        );
    }
    Ok(())
}

fn unique_keys(settings: &Map<String, Value>) -> Vec<Vec<KeyPath>> {
    let policy = settings.get("uniqueKeyPolicy").map(|policy| &policy["uniqueKeys"]);
    let keys = policy.and_then(Value::as_array).into_iter().flatten();
    keys.map(|key| {
        let paths = key["paths"].as_array().into_iter().flatten();
        paths.filter_map(Value::as_str).map(KeyPath::parse).collect()
    })
    .collect()
}

/// Seconds of history; `retentionDuration` counts minutes, as the SDKs do, and the gateway's own
/// `retentionSeconds` is exact. Zero is no history, also where the account keeps one.
fn own_retention(settings: &Map<String, Value>) -> Option<u32> {
    let policy = settings.get("changeFeedPolicy")?;
    let seconds = policy["retentionSeconds"]
        .as_u64()
        .or_else(|| policy["retentionDuration"].as_u64().map(|minutes| minutes * 60))?;
    u32::try_from(seconds).ok()
}
