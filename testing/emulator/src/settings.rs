//! Settings of a new container, as tests, the command line and the management interface give them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::images::{self, DeleteCurrent, PreviousImages};
use crate::throttle::Throughput;

/// Settings of a new container.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerSettings {
    /// One to three paths; none with `system_key`.
    #[serde(default)]
    pub partition_key: Vec<String>,
    /// The version of the hash of the key: 2, or 1 as in containers that ask for none.
    #[serde(default = "two")]
    pub partition_key_version: u32,
    /// A container from the time before every container had a partition key. It shows one that is
    /// named `/_partitionKey`, and the key of documents without this property is undefined.
    #[serde(default)]
    pub system_key: bool,
    #[serde(default = "one")]
    pub partitions: u32,
    /// Request units per second, provisioned by hand. With neither this nor `autoscale` the
    /// container has no offer and no limit.
    #[serde(default)]
    pub throughput: Option<u32>,
    /// The most request units per second that autoscale reaches; excludes `throughput`.
    #[serde(default)]
    pub autoscale: Option<u32>,
    /// Request units per second that the database shares among its containers. Only its offer is
    /// shown: nothing throttles at it.
    #[serde(default)]
    pub database_throughput: Option<u32>,
    /// Each charge about documents is multiplied by a factor of 1 plus or minus this; from 0 to
    /// below 1.
    #[serde(default)]
    pub charge_variation: Option<f64>,
    /// Seconds; -1 turns expiry on without a default.
    #[serde(default)]
    pub default_ttl: Option<i32>,
    #[serde(default)]
    pub unique_keys: Vec<Vec<String>>,
    /// Seconds of history for the all-versions-and-deletes feed; none: as many as the account keeps,
    /// which is none by default; zero: none at all.
    #[serde(default)]
    pub retention_seconds: Option<u32>,
    /// The changes whose items carry the image before them.
    #[serde(default)]
    pub previous_images: PreviousImages,
    /// The paths that such an image has; none: the whole document.
    #[serde(default)]
    pub included_paths: Vec<String>,
    /// What a delete's item has as `current`.
    #[serde(default)]
    pub delete_current: DeleteCurrent,
}

fn one() -> u32 {
    1
}

fn two() -> u32 {
    2
}

/// The key path of containers without a partition key.
const SYSTEM_KEY: &str = "/_partitionKey";

impl ContainerSettings {
    /// A container with these key paths and this many physical ranges.
    pub fn new(partition_key: &[&str], partitions: u32) -> Self {
        Self {
            partition_key: partition_key.iter().map(|path| (*path).to_owned()).collect(),
            partition_key_version: 2,
            system_key: false,
            partitions,
            throughput: None,
            autoscale: None,
            database_throughput: None,
            charge_variation: None,
            default_ttl: None,
            unique_keys: Vec::new(),
            retention_seconds: None,
            previous_images: PreviousImages::None,
            included_paths: Vec::new(),
            delete_current: DeleteCurrent::Empty,
        }
    }

    /// A container without a partition key, which has one physical range.
    pub fn without_key() -> Self {
        Self { system_key: true, ..Self::new(&[], 1) }
    }

    /// The paths that the container shows.
    pub fn key_paths(&self) -> Vec<String> {
        if self.system_key { vec![SYSTEM_KEY.to_owned()] } else { self.partition_key.clone() }
    }

    pub fn key_version(&self) -> u32 {
        if self.system_key { 1 } else { self.partition_key_version }
    }

    /// What is wrong with the settings, if anything is.
    pub fn problem(&self) -> Option<&'static str> {
        let levels = self.partition_key.len();
        if self.system_key && (levels > 0 || self.partitions > 1) {
            return Some("a container without a partition key names none and has one partition");
        }
        if !self.system_key && (levels == 0 || levels > 3) {
            return Some("a partition key has one to three paths");
        }
        if self.partition_key_version == 1 && levels > 1 || self.partition_key_version > 2 {
            return Some("the version of a partition key is 2, or 1 for a single path");
        }
        if self.partition_key.iter().any(|path| !path.starts_with('/')) {
            return Some("a partition key path starts with /");
        }
        if self.throughput.is_some() && self.autoscale.is_some() {
            return Some("a container has either throughput or autoscale");
        }
        if self.charge_variation.is_some_and(|share| !(0.0..1.0).contains(&share)) {
            return Some("charge_variation is from 0 to below 1");
        }
        None
    }

    /// The container's own throughput.
    pub fn offered(&self) -> Option<Throughput> {
        let manual = self.throughput.map(Throughput::Manual);
        manual.or(self.autoscale.map(Throughput::Autoscale))
    }

    /// The settings that stand in the container's JSON.
    pub fn to_properties(&self) -> Map<String, Value> {
        let mut properties = Map::new();
        if let Some(ttl) = self.default_ttl {
            properties.insert("defaultTtl".to_owned(), ttl.into());
        }
        if !self.unique_keys.is_empty() {
            let keys: Vec<Value> =
                self.unique_keys.iter().map(|paths| json!({"paths": paths})).collect();
            properties.insert("uniqueKeyPolicy".to_owned(), json!({"uniqueKeys": keys}));
        }
        let mut feed = Map::new();
        if let Some(seconds) = self.retention_seconds {
            feed.insert("retentionDuration".to_owned(), seconds.div_ceil(60).into());
            feed.insert("retentionSeconds".to_owned(), seconds.into());
        }
        if self.delete_current != DeleteCurrent::Empty {
            feed.insert("deleteCurrent".to_owned(), json!(self.delete_current));
        }
        if !feed.is_empty() {
            properties.insert("changeFeedPolicy".to_owned(), feed.into());
        }
        if self.previous_images != PreviousImages::None {
            let policy = self.previous_images.to_property(&self.included_paths);
            properties.insert(images::POLICY.to_owned(), policy);
        }
        properties
    }
}
