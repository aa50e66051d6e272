//! Point operations on the store: preconditions, conflicts, and what is written.
//!
//! Operations work on a draft that is committed as one transaction, so that a batch is atomic for
//! free and a point operation is a batch of one.

use std::sync::Arc;

use serde_json::Value;

use crate::answer::Refusal;
use crate::charge;
use crate::container::Container;
use crate::document::{Address, Version};
use crate::key::KeyValue;
use crate::patch::Patch;
use crate::scan::{ScanError, Scanned, scan};
use crate::store::Store;

/// Conditions on etags in a request, with their quotes.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    pub if_match: Option<String>,
    pub if_none_match: Option<String>,
}

/// One operation on one document.
#[derive(Debug)]
pub enum Action {
    Create { body: bytes::Bytes },
    Upsert { body: bytes::Bytes },
    Replace { id: String, body: bytes::Bytes },
    Patch { id: String, patch: Patch },
    Delete { id: String },
    Read { id: String },
}

/// What an operation did.
#[derive(Debug)]
pub struct Done {
    pub status: u16,
    pub version: Option<Arc<Version>>,
    /// Request units.
    pub charge: f64,
}

/// Changes that are not committed yet.
pub struct Draft<'a> {
    pub(crate) container: &'a Container,
    pub(crate) store: &'a mut Store,
    pub(crate) changes: Vec<(Address, Option<Arc<Version>>)>,
    new_documents: u64,
    now: u32,
}

impl<'a> Draft<'a> {
    pub fn new(container: &'a Container, store: &'a mut Store, now: u32) -> Self {
        Self { container, store, changes: Vec::new(), new_documents: 0, now }
    }

    /// Performs one operation; `key` is the request's partition key, when it has one.
    pub fn perform(
        &mut self,
        action: Action,
        conditions: &Conditions,
        key: Option<&[KeyValue]>,
    ) -> Result<Done, Refusal> {
        match action {
            Action::Create { body } => {
                let (address, scanned) = self.scan(&body, key)?;
                self.create(address, scanned)
            }
            Action::Upsert { body } => {
                let (address, scanned) = self.scan(&body, key)?;
                self.upsert(address, scanned, conditions)
            }
            Action::Replace { id, body } => {
                let (address, scanned) = self.scan(&body, key)?;
                if address.id.as_ref() == id {
                    return self.replace(address, scanned, conditions);
                }
                self.rename(&id, address, scanned, conditions)
            }
            Action::Patch { id, patch } => self.patch(&id, &patch, conditions, key),
            Action::Delete { id } => {
                let address = self.address(key, &id)?;
                self.delete(address, conditions)
            }
            Action::Read { id } => {
                let address = self.address(key, &id)?;
                self.read(&address, conditions)
            }
        }
    }

    /// Puts a text in place of a document without looking at it: the service may hold what no client of
    /// today can write.
    pub fn hold(&mut self, address: Address, text: &[u8]) {
        let open = text.trim_ascii_end();
        let scanned = Scanned {
            id: address.id.to_string(),
            key: Vec::new(),
            ttl: None,
            text: open.strip_suffix(b"}").unwrap_or(open).into(),
        };
        let existing = self.get(&address);
        self.put(address, scanned, existing.as_deref());
    }

    /// Writes everything as one transaction; gives its LSN, if anything was written.
    pub fn commit(self) -> Option<u64> {
        if self.changes.is_empty() {
            return None;
        }
        let lsn = self.store.begin();
        for (address, version) in self.changes {
            match version {
                Some(version) => self.store.put(address, version),
                None => drop(self.store.remove(&address, false, self.now)),
            }
        }
        Some(lsn)
    }

    fn scan(&self, body: &[u8], key: Option<&[KeyValue]>) -> Result<(Address, Scanned), Refusal> {
        let scanned = scan(body, &self.container.paths)?;
        if key.is_some_and(|key| key != scanned.key.as_slice()) {
            return Err(Refusal::bad_request(
                "the partition key in the document does not match the request header",
            )
            .with_substatus(1001));
        }
        Ok((self.container.address(&scanned.key, &scanned.id)?, scanned))
    }

    fn address(&self, key: Option<&[KeyValue]>, id: &str) -> Result<Address, Refusal> {
        let key = key.ok_or_else(|| {
            Refusal::bad_request("the x-ms-documentdb-partitionkey header is missing")
        })?;
        self.container.address(key, id)
    }

    /// The latest version, changes of the draft included.
    pub(crate) fn get(&self, address: &Address) -> Option<Arc<Version>> {
        match self.changes.iter().rev().find(|(changed, _)| changed == address) {
            Some((_, version)) => version.clone(),
            None => self.store.get(address).cloned(),
        }
    }

    fn create(&mut self, address: Address, scanned: Scanned) -> Result<Done, Refusal> {
        if self.get(&address).is_some() {
            return Err(conflict());
        }
        self.check_unique(&address, &scanned)?;
        let version = self.put(address, scanned, None);
        Ok(Done { status: 201, charge: charge::create(version.text.len()), version: Some(version) })
    }

    fn upsert(
        &mut self,
        address: Address,
        scanned: Scanned,
        conditions: &Conditions,
    ) -> Result<Done, Refusal> {
        match self.get(&address) {
            Some(_) => self.replace(address, scanned, conditions),
            None => self.create(address, scanned),
        }
    }

    fn replace(
        &mut self,
        address: Address,
        scanned: Scanned,
        conditions: &Conditions,
    ) -> Result<Done, Refusal> {
        let existing = self.get(&address).ok_or_else(not_found)?;
        self.check(&existing, conditions)?;
        self.check_unique(&address, &scanned)?;
        let version = self.put(address, scanned, Some(&existing));
        let charge = charge::replace(version.text.len().max(existing.text.len()));
        Ok(Done { status: 200, charge, version: Some(version) })
    }

    /// A replacement may carry another id; the document then moves within its partition.
    fn rename(
        &mut self,
        from: &str,
        to: Address,
        scanned: Scanned,
        conditions: &Conditions,
    ) -> Result<Done, Refusal> {
        let old = Address { key: to.key.clone(), id: from.into() };
        let existing = self.get(&old).ok_or_else(not_found)?;
        self.check(&existing, conditions)?;
        if self.get(&to).is_some() {
            return Err(conflict());
        }
        self.changes.push((old, None));
        self.check_unique(&to, &scanned)?;
        let version = self.put(to, scanned, Some(&existing));
        let charge = charge::replace(version.text.len().max(existing.text.len()));
        Ok(Done { status: 200, charge, version: Some(version) })
    }

    fn patch(
        &mut self,
        id: &str,
        patch: &Patch,
        conditions: &Conditions,
        key: Option<&[KeyValue]>,
    ) -> Result<Done, Refusal> {
        let address = self.address(key, id)?;
        let existing = self.get(&address).ok_or_else(not_found)?;
        self.check(&existing, conditions)?;
        let mut text = Vec::with_capacity(existing.text.len() + 64);
        self.container.naming.render(&existing, &mut text);
        let patched = patch.apply(&text)?;
        let (patched_address, scanned) = self.scan(&patched, key)?;
        if patched_address != address {
            return Err(Refusal::bad_request("a patch cannot change the id"));
        }
        self.replace(address, scanned, &Conditions::default())
    }

    fn delete(&mut self, address: Address, conditions: &Conditions) -> Result<Done, Refusal> {
        let existing = self.get(&address).ok_or_else(not_found)?;
        self.check(&existing, conditions)?;
        self.changes.push((address, None));
        Ok(Done { status: 204, version: None, charge: charge::delete(existing.text.len()) })
    }

    fn read(&self, address: &Address, conditions: &Conditions) -> Result<Done, Refusal> {
        let version = self.get(address).ok_or_else(not_found)?;
        let charge = charge::read(self.container.naming.size(&version));
        let known = conditions.if_none_match.as_deref();
        let unchanged =
            known.is_some_and(|tag| tag == "*" || tag == self.container.naming.etag(&version));
        let status = if unchanged { 304 } else { 200 };
        Ok(Done { status, version: Some(version), charge })
    }

    fn check(&self, existing: &Version, conditions: &Conditions) -> Result<(), Refusal> {
        let etag = self.container.naming.etag(existing);
        let failed = Err(Refusal::new(412, "one of the specified preconditions is not met"));
        if conditions.if_match.as_deref().is_some_and(|tag| tag != "*" && tag != etag) {
            return failed;
        }
        if conditions.if_none_match.as_deref().is_some_and(|tag| tag == "*" || tag == etag) {
            return failed;
        }
        Ok(())
    }

    fn put(
        &mut self,
        address: Address,
        scanned: Scanned,
        existing: Option<&Version>,
    ) -> Arc<Version> {
        let number = existing.map_or_else(
            || {
                self.new_documents += 1;
                self.store.next_number() + self.new_documents - 1
            },
            |version| version.number,
        );
        let version = Arc::new(Version {
            text: scanned.text,
            lsn: self.store.lsn() + 1,
            index: u16::try_from(self.changes.len()).unwrap_or(u16::MAX),
            written_at: self.now,
            number,
            ttl: scanned.ttl,
        });
        self.changes.push((address, Some(Arc::clone(&version))));
        version
    }
}

/// Reads stored text, which lacks its closing brace, as a tree.
pub(crate) fn parse(text: &[u8]) -> Value {
    let mut whole = Vec::with_capacity(text.len() + 1);
    whole.extend_from_slice(text);
    whole.push(b'}');
    serde_json::from_slice(&whole).unwrap_or(Value::Null)
}

fn conflict() -> Refusal {
    Refusal::new(409, "Entity with the specified id already exists in the system.")
}

fn not_found() -> Refusal {
    Refusal::new(404, "Entity with the specified id does not exist in the system.")
}

impl From<ScanError> for Refusal {
    fn from(error: ScanError) -> Self {
        let status = if error == ScanError::TooLarge { 413 } else { 400 };
        Self::new(status, error.to_string())
    }
}
