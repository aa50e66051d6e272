//! One account: its endpoint, its key, its containers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::answer::Refusal;
use crate::auth::Credentials;
use crate::backend::{Backend, BackendError};
use crate::clock::Clock;
use crate::container::{Container, Range};
use crate::fault::Faults;
use crate::key::EffectiveKey;
use crate::recorder::Recorder;
use crate::regions::Regions;
use crate::stats::ContainerStats;
use crate::store::KeyRange;
use crate::throttle::Throughput;

/// One local account.
pub struct Account {
    pub name: String,
    /// With a trailing slash.
    pub endpoint: String,
    pub credentials: Credentials,
    pub backend: Backend,
    pub clock: Arc<Clock>,
    pub faults: Arc<Faults>,
    pub regions: Regions,
    pub recorder: Recorder,
    /// Counters of requests that concern no container.
    pub stats: Mutex<ContainerStats>,
    pub made: Instant,
    containers: RwLock<BTreeMap<(String, String), Arc<Container>>>,
    /// Databases that have a throughput for their containers to share, by name.
    shared: RwLock<BTreeMap<String, SharedThroughput>>,
    /// Serialises changes of metadata.
    pub control: tokio::sync::Mutex<()>,
    nonces: AtomicU32,
    /// The seconds of history of every container that does not say otherwise, as continuous backup
    /// gives it in the service.
    history: RwLock<Option<u32>>,
}

/// The throughput of a database. It is shown, and nothing is throttled at it.
#[derive(Clone, Debug)]
pub struct SharedThroughput {
    pub rid: String,
    /// With a trailing slash.
    pub self_link: String,
    pub throughput: Throughput,
}

impl Account {
    pub fn new(
        name: &str,
        endpoint: &str,
        credentials: Credentials,
        clock: Arc<Clock>,
        faults: Arc<Faults>,
        regions: Regions,
    ) -> Result<Self, BackendError> {
        Ok(Self {
            name: name.to_owned(),
            endpoint: endpoint.to_owned(),
            credentials,
            backend: Backend::start(name, endpoint)?,
            clock,
            faults,
            regions,
            recorder: Recorder::default(),
            stats: Mutex::default(),
            made: Instant::now(),
            containers: RwLock::default(),
            shared: RwLock::default(),
            control: tokio::sync::Mutex::new(()),
            nonces: AtomicU32::new(0x1a00_0000),
            history: RwLock::default(),
        })
    }

    /// A container by its names, or by its `_rid` in place of its name.
    pub fn container(&self, database: &str, id: &str) -> Result<Arc<Container>, Refusal> {
        let containers = self.containers.read().unwrap_or_else(PoisonError::into_inner);
        let named = containers.get(&(database.to_owned(), id.to_owned()));
        let found = named.or_else(|| containers.values().find(|container| container.rid == id));
        found.cloned().ok_or_else(|| {
            let refusal = Refusal::new(404, format!("container `{database}/{id}` does not exist"));
            // An address by rid that leads nowhere belongs to a container that was deleted.
            if id.ends_with('=') { refusal.with_substatus(1003) } else { refusal }
        })
    }

    pub fn containers(&self) -> Vec<Arc<Container>> {
        let containers = self.containers.read().unwrap_or_else(PoisonError::into_inner);
        containers.values().cloned().collect()
    }

    pub fn history(&self) -> Option<u32> {
        *self.history.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on containers keep this much history; with `None`, only those that ask for it.
    pub fn keep_history(&self, seconds: Option<u32>) {
        *self.history.write().unwrap_or_else(PoisonError::into_inner) = seconds;
        for container in self.containers() {
            container.set_history(seconds);
        }
    }

    /// Takes up a container that the vendor has just created; with `system_key` it is one without a
    /// partition key.
    pub async fn adopt(
        &self,
        database: &str,
        id: &str,
        settings: Map<String, Value>,
        system_key: bool,
    ) -> Result<Arc<Container>, BackendError> {
        let path = container_path(database, id);
        let metadata = self.backend.send("GET", &path, &[], Bytes::new()).await?;
        let metadata: Value = serde_json::from_slice(&metadata.body).unwrap_or_default();
        let nonce = self.nonces.fetch_add(1, Ordering::Relaxed);
        let mut container = Container::new(database, &metadata, settings, self.history(), nonce)?;
        container.system_key = system_key;
        let container = Arc::new(container);
        self.refresh_ranges(&container).await?;
        let name = (database.to_owned(), id.to_owned());
        let mut containers = self.containers.write().unwrap_or_else(PoisonError::into_inner);
        containers.insert(name, Arc::clone(&container));
        Ok(container)
    }

    /// Forgets containers the vendor has deleted: one, or all of a database.
    pub fn forget(&self, database: &str, id: Option<&str>) {
        let mut containers = self.containers.write().unwrap_or_else(PoisonError::into_inner);
        containers.retain(|(in_database, name), _| {
            in_database != database || id.is_some_and(|id| id != name)
        });
        if id.is_none() {
            self.shared.write().unwrap_or_else(PoisonError::into_inner).remove(database);
        }
    }

    /// The databases with shared throughput, by name.
    pub fn shared(&self) -> BTreeMap<String, SharedThroughput> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn database_throughput(&self, database: &str) -> Option<Throughput> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        shared.get(database).map(|shared| shared.throughput)
    }

    /// Gives a database that exists a throughput, or another one.
    pub async fn share(&self, database: &str, throughput: Throughput) -> Result<(), BackendError> {
        let path = format!("/dbs/{}", encode(database));
        let answer = self.backend.send("GET", &path, &[], Bytes::new()).await?;
        let metadata: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
        let shared = SharedThroughput { rid: text("_rid"), self_link: text("_self"), throughput };
        let mut all = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(database.to_owned(), shared);
        Ok(())
    }

    /// Reads the physical ranges from the vendor.
    pub async fn refresh_ranges(&self, container: &Container) -> Result<(), BackendError> {
        let path = format!("{}/pkranges", container_path(&container.database, &container.id));
        let answer = self.backend.send("GET", &path, &[], Bytes::new()).await?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let mut ranges: Vec<Range> = body["PartitionKeyRanges"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(read_range)
            .collect();
        ranges.sort_by(|a, b| a.keys.min.cmp(&b.keys.min));
        container.set_ranges(ranges);
        Ok(())
    }
}

fn read_range(range: &Value) -> Option<Range> {
    let bound = |name: &str| EffectiveKey::from_hex(range[name].as_str()?).ok();
    let keys = KeyRange { min: bound("minInclusive")?, max: bound("maxExclusive")? };
    Some(Range { id: range["id"].as_str()?.to_owned(), keys })
}

/// The path of a container, percent-encoded.
pub fn container_path(database: &str, id: &str) -> String {
    format!("/dbs/{}/colls/{}", encode(database), encode(id))
}

/// Percent-encodes one segment of a path.
pub fn encode(segment: &str) -> String {
    percent_encoding::utf8_percent_encode(segment, percent_encoding::NON_ALPHANUMERIC).to_string()
}
