//! Connects to accounts, once each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex as SyncMutex;
use tokio::sync::Mutex;

use super::account_client::AccountClient;
use super::container::ContainerHandle;
use super::container_clients::ContainerClients;
use super::default_ttl::DefaultTtl;
use super::metadata::MetadataGate;
use super::partition_ids::PartitionIds;
use super::slow::SlowOperations;
use super::{ConnectError, CosmosError};
use crate::config;
use crate::identity::Identities;

/// A connected account of the configuration.
pub struct Account {
    name: String,
    client: Arc<AccountClient>,
    shared: Arc<Shared>,
}

/// State that is shared by all connections to one account, even if it is configured under several
/// names.
struct Shared {
    gate: Arc<MetadataGate>,
    slow: Arc<SlowOperations>,
    /// By the resource id of the container.
    partitions: SyncMutex<HashMap<String, Arc<PartitionIds>>>,
}

impl Shared {
    fn new(slow: Duration) -> Self {
        let (gate, partitions) = (Arc::default(), SyncMutex::default());
        Self { gate, slow: Arc::new(SlowOperations::new(slow)), partitions }
    }

    fn partitions(&self, rid: &str) -> Arc<PartitionIds> {
        let mut partitions = self.partitions.lock();
        Arc::clone(partitions.entry(rid.to_owned()).or_default())
    }
}

/// All accounts of one configuration, each connected when it is first requested.
pub struct Connections {
    accounts: HashMap<String, config::Account>,
    identities: Arc<Identities>,
    connected: Mutex<HashMap<String, Arc<Account>>>,
    /// By the normalized endpoint of the account.
    shared: SyncMutex<HashMap<String, Arc<Shared>>>,
    /// Operations that take at least this long are logged.
    slow: Duration,
}

impl Connections {
    pub fn new(config: &config::Config) -> Self {
        let accounts = config.accounts.iter().map(|(n, a)| (n.clone(), a.clone())).collect();
        let identities = Arc::new(Identities::new(config));
        let (connected, shared) = (Mutex::default(), SyncMutex::default());
        Self { accounts, identities, connected, shared, slow: config.log.slow }
    }

    /// The identities of the configuration, for accounts, sinks and traces.
    pub fn identities(&self) -> &Arc<Identities> {
        &self.identities
    }

    /// The account of that name. The rules of the configuration guarantee that it exists.
    ///
    /// # Errors
    ///
    /// The account cannot be reached, rejects the credential, or its secret cannot be read.
    pub async fn account(&self, name: &str) -> Result<Arc<Account>, ConnectError> {
        let mut connected = self.connected.lock().await;
        if let Some(account) = connected.get(name) {
            return Ok(Arc::clone(account));
        }
        let config = self.accounts.get(name).ok_or_else(|| {
            CosmosError::invalid(
                format!("account `{name}`"),
                "no such account in the configuration",
            )
        })?;
        let client = AccountClient::connect(name, config, &self.identities).await?;
        let shared = self.shared(&client.endpoint());
        let account = Arc::new(Account { name: name.to_owned(), client: Arc::new(client), shared });
        connected.insert(name.to_owned(), Arc::clone(&account));
        Ok(account)
    }

    fn shared(&self, endpoint: &str) -> Arc<Shared> {
        let address = url::Url::parse(endpoint).map_or(endpoint.to_owned(), String::from);
        let mut shared = self.shared.lock();
        let new = || Arc::new(Shared::new(self.slow));
        Arc::clone(shared.entry(address).or_insert_with(new))
    }
}

impl Account {
    /// Finds a container and reads its id and key paths.
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
        let client = Arc::clone(&self.client);
        let found =
            ContainerClients::find(&attempt, client, database, container, Arc::clone(&gate))
                .await?;
        Ok(ContainerHandle {
            clients: Arc::new(found.clients),
            gate,
            partitions: self.shared.partitions(&found.rid),
            slow: Arc::clone(&self.shared.slow),
            rid: found.rid,
            account_address: found.account_address,
            key_paths: found.key_paths,
            default_ttl: Arc::new(DefaultTtl::new(found.default_ttl)),
            previous_images: found.previous_images,
            name,
        })
    }
}
