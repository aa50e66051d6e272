//! Connects to accounts, once each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use azure_data_cosmos::options::{
    ContentResponseOnWrite, EndToEndOperationLatencyPolicy, OperationOptions,
    OperationOptionsBuilder, PriorityLevel, ReadFeedRangesOptions, ThrottlingRetryOptionsBuilder,
    ThroughputControlOptions, ThroughputControlOptionsBuilder,
};
use tokio::sync::Mutex;

use super::link::{ContainerLink, Link};
use super::metadata::MetadataGate;
use super::partition::PartitionIds;
use super::slow::Slow;
use super::{ConnectError, CosmosError, CosmosErrorKind};
use crate::config;
use crate::identity::Identities;
use crate::model::{FeedRange, PartitionId};

/// One account of the configuration, connected.
pub struct Account {
    name: String,
    link: Arc<Link>,
    shared: Arc<Shared>,
}

/// What all connections to one account have in common, by whatever names it is configured.
struct Shared {
    gate: Arc<MetadataGate>,
    slow: Arc<Slow>,
    /// By the service's id of the container.
    partitions: StdMutex<HashMap<String, Arc<PartitionIds>>>,
}

impl Shared {
    fn new(slow: Duration) -> Self {
        let (gate, partitions) = (Arc::default(), StdMutex::default());
        Self { gate, slow: Arc::new(Slow::new(slow)), partitions }
    }

    fn partitions(&self, rid: &str) -> Arc<PartitionIds> {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(partitions.entry(rid.to_owned()).or_default())
    }
}

/// A container that was found, and what identifies it.
#[derive(Clone)]
pub struct ContainerHandle {
    pub(super) link: Arc<ContainerLink>,
    pub(super) gate: Arc<MetadataGate>,
    pub(super) partitions: Arc<PartitionIds>,
    pub(super) slow: Arc<Slow>,
    /// The service's id of this very container; another one after it is deleted and recreated.
    pub rid: String,
    /// Its partition key paths as the service writes them, `/tenant/id`; one to three.
    pub key_paths: Vec<String>,
    /// `account/database/container`, for people.
    pub name: String,
}

/// Every account of one configuration, connected when first asked for.
pub struct Connections {
    accounts: HashMap<String, config::Account>,
    identities: Arc<Identities>,
    open: Mutex<HashMap<String, Arc<Account>>>,
    /// By the account's address in one spelling.
    shared: StdMutex<HashMap<String, Arc<Shared>>>,
    /// From how long on an operation is told of.
    slow: Duration,
}

impl Connections {
    pub fn new(config: &config::Config) -> Self {
        let accounts = config.accounts.iter().map(|(n, a)| (n.clone(), a.clone())).collect();
        let identities = Arc::new(Identities::new(config));
        let slow = config.log.slow;
        Self { accounts, identities, open: Mutex::default(), shared: StdMutex::default(), slow }
    }

    /// Who the bridge is, for accounts and for whatever else asks.
    pub fn identities(&self) -> &Arc<Identities> {
        &self.identities
    }

    /// The account of that name, which the configuration's rules have proved to exist.
    ///
    /// # Errors
    ///
    /// The account cannot be reached, refuses the credential, or its secret cannot be read.
    pub async fn account(&self, name: &str) -> Result<Arc<Account>, ConnectError> {
        let mut open = self.open.lock().await;
        if let Some(account) = open.get(name) {
            return Ok(Arc::clone(account));
        }
        let config = self.accounts.get(name).ok_or_else(|| {
            CosmosError::ours(format!("account `{name}`"), "no such account in the configuration")
        })?;
        let shared = |at: &str| self.shared(at);
        let account = Account::connect(name, config, &self.identities, shared).await?;
        let account = Arc::new(account);
        open.insert(name.to_owned(), Arc::clone(&account));
        Ok(account)
    }

    fn shared(&self, endpoint: &str) -> Arc<Shared> {
        let address = url::Url::parse(endpoint).map_or(endpoint.to_owned(), String::from);
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Shared::new(self.slow));
        Arc::clone(shared.entry(address).or_insert_with(new))
    }
}

impl Account {
    async fn connect(
        name: &str,
        config: &config::Account,
        identities: &Arc<Identities>,
        shared: impl FnOnce(&str) -> Arc<Shared>,
    ) -> Result<Self, ConnectError> {
        let link = Link::open(name, config, identities).await?;
        let shared = shared(&link.endpoint());
        Ok(Self { name: name.to_owned(), link: Arc::new(link), shared })
    }

    /// Finds a container and reads what identifies it.
    ///
    /// # Errors
    ///
    /// The database or container does not exist, or cannot be read.
    pub async fn locate(
        &self,
        database: &str,
        container: &str,
    ) -> Result<ContainerHandle, CosmosError> {
        let name = format!("{}/{database}/{container}", self.name);
        let attempt = format!("opening container `{name}`");
        let gate = Arc::clone(&self.shared.gate);
        let link = Arc::clone(&self.link);
        let found =
            ContainerLink::find(&attempt, link, database, container, Arc::clone(&gate)).await?;
        Ok(ContainerHandle {
            link: Arc::new(found.link),
            gate,
            partitions: self.shared.partitions(&found.rid),
            slow: Arc::clone(&self.shared.slow),
            rid: found.rid,
            key_paths: found.key_paths,
            name,
        })
    }
}

/// Options of every request to an account.
///
/// The SDK's own throttle retries are off: it would wait up to 270 s inside one call and hide from
/// the bridge what the budget costs. Text bodies, so that numbers and text stay as the service
/// holds them; no document is sent back after a write; sessions are of no use to a reader that
/// follows its own position.
pub(super) fn operation_options(config: &config::Account) -> OperationOptions {
    OperationOptionsBuilder::new()
        .with_throttling_retry_options(
            ThrottlingRetryOptionsBuilder::new().with_max_retry_count(0).build(),
        )
        .with_content_response_on_write(ContentResponseOnWrite::Disabled)
        .with_end_to_end_latency_policy(EndToEndOperationLatencyPolicy::new(config.request_timeout))
        .with_session_capturing_disabled(true)
        .with_throughput_control(throughput_control(config))
        .build()
}

fn throughput_control(config: &config::Account) -> ThroughputControlOptions {
    let mut options = ThroughputControlOptionsBuilder::new();
    if let Some(priority) = config.priority {
        options = options.with_priority_level(match priority {
            config::Priority::Low => PriorityLevel::Low,
            config::Priority::High => PriorityLevel::High,
        });
    }
    if let Some(bucket) = config.throughput_bucket {
        options = options.with_throughput_bucket(bucket);
    }
    options.build()
}

impl ContainerHandle {
    /// Whether the container of that name is still this one.
    ///
    /// # Errors
    ///
    /// It cannot be read, or no longer exists.
    pub async fn is_unchanged(&self) -> Result<bool, CosmosError> {
        let attempt = format!("reading container `{}`", self.name);
        let clients = self.link.clients(&attempt).await?;
        self.gate.ready().await;
        let read = clients.container.read(None).await;
        let read = read.and_then(azure_data_cosmos::models::ResourceResponse::into_model);
        let properties = match read {
            Ok(properties) => properties,
            Err(error) => return Err(self.link.failed(&clients, &attempt, &error).await),
        };
        Ok(properties.system_properties.resource_id.as_deref() == Some(self.rid.as_str()))
    }

    /// The container's feed ranges as the service has them now, in order; one for each physical
    /// partition.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub async fn ranges(&self) -> Result<Vec<FeedRange>, CosmosError> {
        let attempt = format!("reading the feed ranges of `{}`", self.name);
        let clients = self.link.clients(&attempt).await?;
        self.gate.ready().await;
        let options = ReadFeedRangesOptions::default().with_force_refresh(true);
        let ranges = match clients.container.read_feed_ranges(Some(options)).await {
            Ok(ranges) => ranges,
            Err(error) => return Err(self.link.failed(&clients, &attempt, &error).await),
        };
        let mut ranges: Vec<_> = ranges
            .iter()
            .map(|range| FeedRange {
                min: range.min_inclusive().to_hex(),
                max: range.max_exclusive().to_hex(),
            })
            .collect();
        ranges.sort();
        Ok(ranges)
    }

    /// The physical partition that a feed range is, as long as the range is exactly one.
    pub fn partition(&self, range: &FeedRange) -> PartitionId {
        self.partitions.of(range)
    }
}

impl CosmosError {
    /// The exit code of a start that ends in this fault.
    pub fn exit_code(&self) -> u8 {
        use crate::exit_code;
        match self.kind() {
            CosmosErrorKind::Denied => exit_code::DENIED,
            CosmosErrorKind::Unreachable
            | CosmosErrorKind::Unready
            | CosmosErrorKind::Throttled => exit_code::UNREACHABLE,
            CosmosErrorKind::Missing => exit_code::MISSING,
            CosmosErrorKind::Other => exit_code::FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use azure_data_cosmos::options::PriorityLevel;

    use super::operation_options;
    use crate::config::{Account, AccountCredential, Endpoint, LocalSecret, Priority, SecretRef};

    #[test]
    fn priority_and_throughput_bucket_are_sent_where_they_are_configured() {
        let account = Account {
            endpoint: Endpoint::FromConnectionString,
            address: String::new(),
            credential: AccountCredential::Key(SecretRef::Local(LocalSecret::File(PathBuf::new()))),
            regions: vec![],
            http2: true,
            request_timeout: Duration::from_secs(1),
            priority: None,
            throughput_bucket: None,
        };
        for (priority, bucket, level) in [
            (None, None, None),
            (Some(Priority::Low), None, Some(PriorityLevel::Low)),
            (Some(Priority::High), Some(1), Some(PriorityLevel::High)),
            (None, Some(5), None),
        ] {
            let account = Account { priority, throughput_bucket: bucket, ..account.clone() };
            let sent = operation_options(&account).throughput_control.unwrap();
            assert_eq!((sent.priority_level, sent.throughput_bucket), (level, bucket));
        }
    }
}
