//! Connects to accounts, once each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use azure_data_cosmos::clients::{ContainerClient, DatabaseClient};
use azure_data_cosmos::options::{
    BinaryEncodingOptions, ConnectionPoolOptions, ContentResponseOnWrite,
    EndToEndOperationLatencyPolicy, OperationOptions, OperationOptionsBuilder, PriorityLevel,
    ReadFeedRangesOptions, Region, RoutingStrategy, ThrottlingRetryOptionsBuilder,
    ThroughputControlOptions, ThroughputControlOptionsBuilder, UserAgentSuffix,
};
use azure_data_cosmos::{AccountEndpoint, AccountReference, CosmosClient, CosmosRuntime};
use tokio::sync::Mutex;

use super::metadata::MetadataGate;
use super::partition::{PartitionId, PartitionIds};
use super::slow::Slow;
use super::{Fault, FaultKind};
use crate::config;
use crate::source::FeedRange;

/// One account of the configuration, connected.
pub struct Account {
    name: String,
    client: CosmosClient,
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
pub struct Located {
    pub(super) client: Arc<ContainerClient>,
    pub(super) database: Arc<DatabaseClient>,
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
    open: Mutex<HashMap<String, Arc<Account>>>,
    /// By the account's address in one spelling.
    shared: StdMutex<HashMap<String, Arc<Shared>>>,
    /// From how long on an operation is told of.
    slow: Duration,
}

impl Connections {
    pub fn new(config: &config::Config) -> Self {
        let accounts = config.accounts.iter().map(|(n, a)| (n.clone(), a.clone())).collect();
        let slow = config.log.slow;
        Self { accounts, open: Mutex::default(), shared: StdMutex::default(), slow }
    }

    /// The account of that name, which the configuration's rules have proved to exist.
    ///
    /// # Errors
    ///
    /// The account cannot be reached, refuses the credential, or its secret cannot be read.
    pub async fn account(&self, name: &str) -> Result<Arc<Account>, Fault> {
        let mut open = self.open.lock().await;
        if let Some(account) = open.get(name) {
            return Ok(Arc::clone(account));
        }
        let config = self.accounts.get(name).ok_or_else(|| {
            Fault::ours(format!("account `{name}`"), "no such account in the configuration")
        })?;
        let account = Arc::new(Account::connect(name, config, |at| self.shared(at)).await?);
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
        shared: impl FnOnce(&str) -> Arc<Shared>,
    ) -> Result<Self, Fault> {
        let secret = config.credential().map_err(|problem| {
            Fault::ours(format!("connecting to account `{name}`"), problem.to_string())
        })?;
        let place = secret.endpoint.trim_end_matches('/');
        let attempt = &format!("connecting to account `{name}` at {place}");
        let endpoint: AccountEndpoint =
            secret.endpoint.parse().map_err(|_| Fault::ours(attempt, "this is no endpoint"))?;
        let account =
            AccountReference::with_authentication_key(endpoint, secret.key.expose().to_owned());
        let regions: Vec<_> = config.regions.iter().map(|r| Region::new(r.clone())).collect();
        let fault = |error| Fault::new(attempt, &error);
        // Each account has a runtime of its own: connection settings belong to the runtime.
        let pool = ConnectionPoolOptions::builder()
            .with_is_http2_allowed(config.http2)
            .build()
            .map_err(fault)?;
        let runtime =
            CosmosRuntime::builder().with_connection_pool(pool).build().await.map_err(fault)?;
        let client = CosmosClient::builder()
            .with_runtime(runtime)
            .with_default_operation_options(operation_options(config))
            .with_binary_encoding_options(BinaryEncodingOptions::default().with_enabled(false))
            .with_user_agent_suffix(UserAgentSuffix::try_from("cosmos-bridge").map_err(fault)?)
            .build(account, RoutingStrategy::PreferredRegions(regions))
            .await
            .map_err(fault)?;
        Ok(Self { name: name.to_owned(), client, shared: shared(&secret.endpoint) })
    }

    /// Finds a container and reads what identifies it.
    ///
    /// # Errors
    ///
    /// The database or container does not exist, or cannot be read.
    pub async fn locate(&self, database: &str, container: &str) -> Result<Located, Fault> {
        let name = format!("{}/{database}/{container}", self.name);
        let attempt = format!("opening container `{name}`");
        let gate = &self.shared.gate;
        let database = self.client.database_client(database.to_owned());
        gate.ready().await;
        let client = database
            .container_client(container.to_owned(), None)
            .await
            .map_err(|error| Fault::new(&attempt, &error))?;
        gate.ready().await;
        let properties = client
            .read(None)
            .await
            .and_then(azure_data_cosmos::models::ResourceResponse::into_model)
            .map_err(|error| Fault::new(&attempt, &error))?;
        let rid = properties.system_properties.resource_id.ok_or_else(|| {
            Fault::defect(&attempt, "the service did not tell the container's id")
        })?;
        let key_paths = properties.partition_key.paths().iter().map(ToString::to_string).collect();
        Ok(Located {
            client: Arc::new(client),
            database: Arc::new(database),
            gate: Arc::clone(gate),
            partitions: self.shared.partitions(&rid),
            slow: Arc::clone(&self.shared.slow),
            rid,
            key_paths,
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
fn operation_options(config: &config::Account) -> OperationOptions {
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

impl Located {
    /// Whether the container of that name is still this one.
    ///
    /// # Errors
    ///
    /// It cannot be read, or no longer exists.
    pub async fn is_unchanged(&self) -> Result<bool, Fault> {
        let attempt = format!("reading container `{}`", self.name);
        self.gate.ready().await;
        let properties = self
            .client
            .read(None)
            .await
            .and_then(azure_data_cosmos::models::ResourceResponse::into_model)
            .map_err(|error| Fault::new(&attempt, &error))?;
        Ok(properties.system_properties.resource_id.as_deref() == Some(self.rid.as_str()))
    }

    /// The container's feed ranges as the service has them now, in order; one for each physical
    /// partition.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub async fn ranges(&self) -> Result<Vec<FeedRange>, Fault> {
        self.gate.ready().await;
        let options = ReadFeedRangesOptions::default().with_force_refresh(true);
        let attempt = format!("reading the feed ranges of `{}`", self.name);
        let ranges = self
            .client
            .read_feed_ranges(Some(options))
            .await
            .map_err(|error| Fault::new(attempt, &error))?;
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

impl Fault {
    /// The exit code of a start that ends in this fault.
    pub fn exit_code(&self) -> u8 {
        use crate::exit;
        match self.kind() {
            FaultKind::Denied => exit::DENIED,
            FaultKind::Unreachable | FaultKind::Unready | FaultKind::Throttled => exit::UNREACHABLE,
            FaultKind::Missing => exit::MISSING,
            FaultKind::Other => exit::FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use azure_data_cosmos::options::PriorityLevel;

    use super::operation_options;
    use crate::config::{Account, CredentialRef, Endpoint, Priority, SecretRef};

    #[test]
    fn priority_and_throughput_bucket_are_sent_where_they_are_configured() {
        let account = Account {
            endpoint: Endpoint::FromConnectionString,
            address: String::new(),
            credential: CredentialRef::Key(SecretRef::File(PathBuf::new())),
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
