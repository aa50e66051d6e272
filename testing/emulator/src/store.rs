//! The documents of one container: a map of the latest versions and the change log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::document::{Address, Version};
use crate::index::Indexes;
use crate::key::EffectiveKey;
use crate::log::{Change, Log, Operation};

/// The store of record of one container. Callers hold its lock for whole operations.
#[derive(Debug, Default)]
pub struct Store {
    documents: BTreeMap<Arc<Address>, Arc<Version>>,
    pub log: Log,
    lsn: u64,
    next_number: u64,
    /// Addresses written since the vendor's copies were refreshed; `None` until a query first
    /// needs them, so that containers without queries do no work for it.
    dirty: Option<BTreeMap<Arc<Address>, Arc<Version>>>,
    indexes: Indexes,
    /// When documents expire, in Unix seconds.
    expiries: BTreeSet<(u32, Arc<Address>)>,
    default_ttl: Option<i32>,
    bytes: u64,
}

impl Store {
    pub fn lsn(&self) -> u64 {
        self.lsn
    }

    /// Starts a transaction: everything written with this LSN belongs together.
    pub fn begin(&mut self) -> u64 {
        self.lsn += 1;
        self.lsn
    }

    pub fn len(&self) -> usize {
        self.documents.len()
    }

    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// The total of stored text in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The latest version. Expired documents are gone once `sweep` has run.
    pub fn get(&self, address: &Address) -> Option<&Arc<Version>> {
        self.documents.get(address)
    }

    /// The id of the document with a number.
    pub fn id_of(&self, number: u64) -> Option<&str> {
        let found = self.documents.iter().find(|(_, version)| version.number == number);
        found.map(|(address, _)| address.id.as_ref())
    }

    /// The number the next new document will have.
    pub fn next_number(&self) -> u64 {
        self.next_number + 1
    }

    /// Stores a version made for the running transaction.
    pub fn put(&mut self, address: Address, version: Arc<Version>) {
        let (address, previous) = match self.documents.get_key_value(&address) {
            Some((known, version)) => (Arc::clone(known), Some(Arc::clone(version))),
            None => (Arc::new(address), None),
        };
        self.next_number = self.next_number.max(version.number);
        if let Some(old) = &previous {
            self.forget_expiry(&address, old);
            self.bytes -= old.text.len() as u64;
        }
        self.bytes += version.text.len() as u64;
        if let Some(expiry) = self.expiry(&version) {
            self.expiries.insert((expiry, Arc::clone(&address)));
        }
        self.documents.insert(Arc::clone(&address), Arc::clone(&version));
        self.indexes.add(&address, &version);
        self.mark(&address, &version);
        let operation = if previous.is_some() { Operation::Replace } else { Operation::Create };
        self.log.push(Change {
            lsn: self.lsn,
            at: version.written_at,
            operation,
            expired: false,
            superseded: false,
            address,
            current: Some(version),
            previous,
        });
    }

    /// Removes a document under the LSN of the running transaction.
    pub fn remove(&mut self, address: &Address, expired: bool, now: u32) -> Option<Arc<Version>> {
        let (address, previous) = self.documents.remove_entry(address)?;
        self.forget_expiry(&address, &previous);
        self.bytes -= previous.text.len() as u64;
        self.mark(&address, &previous);
        self.log.push(Change {
            lsn: self.lsn,
            at: now,
            operation: Operation::Delete,
            expired,
            superseded: false,
            address,
            current: None,
            previous: Some(Arc::clone(&previous)),
        });
        Some(previous)
    }

    /// Deletes what has expired by now; gives how many.
    pub fn sweep(&mut self, now: u32) -> usize {
        let mut swept = 0;
        while let Some((expiry, address)) = self.expiries.first().cloned() {
            if expiry > now {
                break;
            }
            self.begin();
            self.remove(&address, true, now);
            swept += 1;
        }
        swept
    }

    /// Replaces the container's default time to live.
    pub fn set_default_ttl(&mut self, ttl: Option<i32>) {
        if self.default_ttl == ttl {
            return;
        }
        self.default_ttl = ttl;
        let expiries = self.documents.iter().filter_map(|(address, version)| {
            self.expiry(version).map(|expiry| (expiry, Arc::clone(address)))
        });
        self.expiries = expiries.collect();
    }

    /// When a version expires: its own ttl wins over the container's, which must be set at all.
    fn expiry(&self, version: &Version) -> Option<u32> {
        let default = self.default_ttl?;
        let seconds = version.ttl.unwrap_or(default);
        u32::try_from(seconds).ok().map(|seconds| version.written_at.saturating_add(seconds))
    }

    fn forget_expiry(&mut self, address: &Arc<Address>, version: &Version) {
        if let Some(expiry) = self.expiry(version) {
            self.expiries.remove(&(expiry, Arc::clone(address)));
        }
    }

    fn mark(&mut self, address: &Arc<Address>, version: &Arc<Version>) {
        if let Some(dirty) = &mut self.dirty {
            dirty.insert(Arc::clone(address), Arc::clone(version));
        }
    }

    /// The documents that have, or once had, one of these texts at a path.
    pub fn candidates(&mut self, path: &[String], texts: &[&str]) -> BTreeSet<Arc<Address>> {
        self.indexes.candidates(&self.documents, path, texts)
    }

    /// Takes what changed since the last call.
    pub fn take_dirty(&mut self) -> Vec<Dirty> {
        let dirty = self.dirty.replace(BTreeMap::new());
        let dirty = dirty.unwrap_or_else(|| self.documents.clone());
        dirty
            .into_iter()
            .map(|(address, version)| Dirty {
                exists: self.documents.contains_key(&address),
                address,
                version,
            })
            .collect()
    }

    /// Gives back what could not be refreshed; later changes win.
    pub fn give_back(&mut self, dirty: impl IntoIterator<Item = Dirty>) {
        let marks = self.dirty.get_or_insert_default();
        for Dirty { address, version, .. } in dirty {
            marks.entry(address).or_insert(version);
        }
    }

    /// Documents from one effective key to before another, in their stable order, those
    /// up to `after` left out.
    pub fn between<'a>(
        &'a self,
        range: &KeyRange,
        after: Option<&'a Address>,
    ) -> impl Iterator<Item = (&'a Arc<Address>, &'a Arc<Version>)> {
        let first = Address { key: range.min.clone(), id: "".into() };
        let start = match after {
            Some(after) if *after >= first => Bound::Excluded(after.clone()),
            _ => Bound::Included(first),
        };
        let range = range.clone();
        self.documents
            .range::<Address, _>((start, Bound::Unbounded))
            .take_while(move |(address, _)| range.reaches(&address.key))
    }
}

/// A document that the vendor's copies do not show as it is.
#[derive(Debug)]
pub struct Dirty {
    pub address: Arc<Address>,
    /// The latest version, or the last one of a document that is gone.
    pub version: Arc<Version>,
    pub exists: bool,
}

/// Effective keys from `min` to before `max`; equal bounds are one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    pub min: EffectiveKey,
    pub max: EffectiveKey,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self { min: EffectiveKey::min(), max: EffectiveKey::max() }
    }

    /// No key: the point just before a range begins, which holds nothing.
    pub fn none(range: &Self) -> Self {
        Self { min: range.max.clone(), max: range.min.clone() }
    }

    pub fn contains(&self, key: &EffectiveKey) -> bool {
        *key >= self.min && self.reaches(key)
    }

    fn reaches(&self, key: &EffectiveKey) -> bool {
        *key < self.max || (self.min == self.max && *key == self.min)
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        let point = |range: &Self| range.min == range.max;
        if point(self) {
            return other.contains(&self.min);
        }
        if point(other) {
            return self.contains(&other.min);
        }
        self.min < other.max && other.min < self.max
    }

    /// The keys in both, if there are any.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        self.overlaps(other).then(|| Self {
            min: self.min.clone().max(other.min.clone()),
            max: self.max.clone().min(other.max.clone()),
        })
    }
}
