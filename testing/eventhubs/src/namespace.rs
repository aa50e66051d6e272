//! What all connections share: hubs, the key, faults and counters.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::Options;
use crate::fault::Faults;
use crate::hub::Hub;
use crate::jwt::Trust;
use crate::lock;

#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) key_name: String,
    pub(crate) key: Mutex<String>,
    pub(crate) trust: Mutex<Option<Trust>>,
    pub(crate) message_bytes_max: u64,
    pub(crate) faults: Faults,
    /// Each change of its value ends every connection.
    pub(crate) dropped: watch::Sender<u64>,
    /// Each change of its value lets stalled connections go on.
    pub(crate) resumed: watch::Sender<u64>,
    /// Connections that are open now.
    pub(crate) open: watch::Sender<usize>,
    pub(crate) counters: Counters,
    latency_us: AtomicU64,
    hubs: Mutex<BTreeMap<String, Arc<Hub>>>,
    data: Option<PathBuf>,
    retained: usize,
}

/// The counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) deliveries: AtomicU64,
    pub(crate) tokens: AtomicU64,
}

impl Counters {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Namespace {
    pub(crate) fn new(options: &Options) -> io::Result<Self> {
        let namespace = Self {
            key_name: options.key_name.clone(),
            key: Mutex::new(options.key.clone()),
            trust: Mutex::default(),
            message_bytes_max: options.message_bytes_max,
            faults: Faults::default(),
            dropped: watch::Sender::new(0),
            resumed: watch::Sender::new(0),
            open: watch::Sender::new(0),
            counters: Counters::default(),
            latency_us: AtomicU64::new(0),
            hubs: Mutex::default(),
            data: options.data.clone(),
            retained: options.retained,
        };
        namespace.set_latency(options.latency);
        for (name, partitions) in &options.hubs {
            namespace.create(name, *partitions)?;
        }
        Ok(namespace)
    }

    pub(crate) fn create(&self, name: &str, partitions: usize) -> io::Result<()> {
        let hub = Hub::open(name, partitions.max(1), self.retained, self.data.as_deref())?;
        lock(&self.hubs).insert(name.to_ascii_lowercase(), hub);
        Ok(())
    }

    /// Names of hubs are case-insensitive, as in the service.
    pub(crate) fn hub(&self, name: &str) -> Option<Arc<Hub>> {
        lock(&self.hubs).get(&name.to_ascii_lowercase()).map(Arc::clone)
    }

    pub(crate) fn remove(&self, name: &str) {
        lock(&self.hubs).remove(&name.to_ascii_lowercase());
    }

    pub(crate) fn hubs(&self) -> Vec<Arc<Hub>> {
        lock(&self.hubs).values().map(Arc::clone).collect()
    }

    /// The delay of every answer.
    pub(crate) fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_us.load(Ordering::Relaxed))
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency_us.store(micros, Ordering::Relaxed);
    }
}
