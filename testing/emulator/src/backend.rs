//! The vendor's in-memory emulator, and the only file that names it.
//!
//! It supplies what must not be invented twice: account, database and container metadata, partition
//! key ranges through splits and merges, the hash of partition keys, the query engine, and the
//! binary form of JSON. Documents live in our own store; the vendor sees copies of them for queries.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use azure_core::http::headers::{HeaderName, HeaderValue};
use azure_core::http::{Method, Request, Url};
use azure_data_cosmos_driver::binary_json;
use azure_data_cosmos_driver::in_memory_emulator::{
    ConsistencyLevel, ContainerConfig, EmulatorStore, InMemoryEmulatorHttpClient,
    ManualControlPlaneOperation, ManualControlPlaneResult, VirtualAccountConfig, VirtualRegion,
};
use azure_data_cosmos_driver::models::{
    FeedRange, PartitionKey, PartitionKeyDefinition, PartitionKeyValue, PartitionKeyVersion,
};
use bytes::Bytes;

use crate::key::{EffectiveKey, KeyValue};

/// What the vendor's emulator refused or could not do.
#[derive(Debug, thiserror::Error)]
#[error("the vendor's emulator failed: {0}")]
pub struct BackendError(String);

impl BackendError {
    fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// One answer of the vendor's emulator.
#[derive(Debug)]
pub struct BackendAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl BackendAnswer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// One account in the vendor's emulator.
pub struct Backend {
    client: InMemoryEmulatorHttpClient,
    store: Arc<EmulatorStore>,
    endpoint: Url,
}

/// A split or merge whose window is held open.
pub struct HeldTransition(ManualControlPlaneOperation);

impl Backend {
    /// Starts an empty account that names `endpoint` as its only region.
    pub fn start(account: &str, endpoint: &str) -> Result<Self, BackendError> {
        let endpoint = Url::parse(endpoint).map_err(BackendError::new)?;
        let region = VirtualRegion::new("Local", endpoint.clone());
        let config = VirtualAccountConfig::new(vec![region])
            .map_err(BackendError::new)?
            .with_account_id(account)
            .with_consistency(ConsistencyLevel::Session);
        let client = InMemoryEmulatorHttpClient::try_new(config).map_err(BackendError::new)?;
        let store = client.store();
        Ok(Self { client, store, endpoint })
    }

    /// Sends one request; `path` is percent-encoded and starts with a slash.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<BackendAnswer, BackendError> {
        let url = self.endpoint.join(path).map_err(BackendError::new)?;
        let method = method.parse::<Method>().map_err(BackendError::new)?;
        let mut request = Request::new(url, method);
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(HeaderName::from(name.clone()), HeaderValue::from(value.clone()));
        }
        if !body.is_empty() {
            request.set_body(body);
        }
        let answer = self.client.execute_request(&request).await.map_err(BackendError::new)?;
        let raw = answer.try_into_raw_response().await.map_err(BackendError::new)?;
        let headers = raw
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()))
            .collect();
        Ok(BackendAnswer {
            status: u16::from(raw.status()),
            headers,
            body: Bytes::copy_from_slice(raw.body().as_ref()),
        })
    }

    /// Creates a container with a number of physical partitions that HTTP cannot ask for. The
    /// database must exist.
    pub fn create_container(
        &self,
        database: &str,
        id: &str,
        paths: &[String],
        version: u32,
        partitions: u32,
    ) -> Result<(), BackendError> {
        let version = PartitionKeyVersion::try_from(version).map_err(BackendError::new)?;
        let config = ContainerConfig::new()
            .with_partition_count(partitions)
            .build()
            .map_err(BackendError::new)?;
        let paths = paths.iter().map(|path| Cow::Owned(path.clone())).collect();
        let definition = PartitionKeyDefinition::new(paths).with_version(version);
        self.store.create_container_with_config(database, id, definition, config);
        Ok(())
    }

    /// Splits one range in the middle; with `hold` its window stays open.
    pub async fn split(
        &self,
        database: &str,
        id: &str,
        range: u32,
        hold: bool,
    ) -> Result<Transition, BackendError> {
        let middle =
            self.store.midpoint_split_epk(database, id, range).map_err(BackendError::new)?;
        if hold {
            let operation = self
                .store
                .begin_manual_split_partition(database, id, range, middle)
                .map_err(BackendError::new)?;
            return Ok(Transition::Held(HeldTransition(operation)));
        }
        self.store
            .split_partition_and_wait(database, id, range, middle, Duration::ZERO)
            .await
            .map(Transition::Done)
            .map_err(BackendError::new)
    }

    /// Merges two adjacent ranges; with `hold` their window stays open.
    pub async fn merge(
        &self,
        database: &str,
        id: &str,
        ranges: [u32; 2],
        hold: bool,
    ) -> Result<Transition, BackendError> {
        let [a, b] = ranges;
        if hold {
            let operation = self
                .store
                .begin_manual_merge_partitions(database, id, a, b)
                .map_err(BackendError::new)?;
            return Ok(Transition::Held(HeldTransition(operation)));
        }
        self.store
            .merge_partitions_and_wait(database, id, a, b, Duration::ZERO)
            .await
            .map(|child| Transition::Done(vec![child]))
            .map_err(BackendError::new)
    }
}

/// The state of a split or merge.
pub enum Transition {
    Done(Vec<u32>),
    Held(HeldTransition),
}

impl HeldTransition {
    /// Closes the window; gives the new range ids.
    pub async fn complete(self) -> Result<Vec<u32>, BackendError> {
        match self.0.complete().await.map_err(BackendError::new)? {
            ManualControlPlaneResult::Split(children) => Ok(children.to_vec()),
            ManualControlPlaneResult::Merge(child) => Ok(vec![child]),
        }
    }
}

/// Hashes partition keys of one container.
pub struct KeyHasher {
    definition: PartitionKeyDefinition,
}

impl KeyHasher {
    /// Reads the `partitionKey` property of a container.
    pub fn new(definition: &serde_json::Value) -> Result<Self, BackendError> {
        let definition = serde_json::from_value(definition.clone()).map_err(BackendError::new)?;
        Ok(Self { definition })
    }

    /// The effective keys from the first to before the second; equal for a full key.
    pub fn range(&self, values: &[KeyValue]) -> Result<(EffectiveKey, EffectiveKey), BackendError> {
        let values = values
            .iter()
            .map(|value| match value {
                KeyValue::Undefined => Ok(PartitionKeyValue::UNDEFINED),
                KeyValue::Null => Ok(PartitionKeyValue::from(Option::<&'static str>::None)),
                KeyValue::Bool(value) => Ok(PartitionKeyValue::from(*value)),
                KeyValue::Text(text) => Ok(PartitionKeyValue::from(text.clone())),
                KeyValue::Number(number) => {
                    PartitionKeyValue::try_from(*number).map_err(BackendError::new)
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        let key = PartitionKey::try_from(values).map_err(BackendError::new)?;
        let range = FeedRange::for_partition(key, &self.definition);
        let bound = |hex: String| EffectiveKey::from_hex(&hex).map_err(BackendError::new);
        Ok((bound(range.min_inclusive().to_hex())?, bound(range.max_exclusive().to_hex())?))
    }
}

/// Turns binary JSON into text; text is returned as it is.
pub fn to_text(body: Bytes) -> Result<Bytes, BackendError> {
    if binary_json::is_binary(&body) {
        binary_json::transcode_to_text(&body).map(Bytes::from).map_err(BackendError::new)
    } else {
        Ok(body)
    }
}
