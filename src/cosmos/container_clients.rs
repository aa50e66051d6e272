//! The SDK clients of one container, replaced when the account's client was.

use std::sync::Arc;

use azure_data_cosmos::CosmosError as SdkError;
use azure_data_cosmos::clients::{ContainerClient, DatabaseClient};
use azure_data_cosmos::options::Region;
use azure_data_cosmos_driver::models::partition_key_range::PartitionKeyRange;
use azure_data_cosmos_driver::models::{ContainerReference, CosmosResponse, PartitionKey};
use parking_lot::RwLock;
use tokio::sync::{Mutex, OnceCell};

use super::account_address::account_address;
use super::account_client::{AccountClient, Connected};
use super::default_ttl::seconds_of;
use super::driver::{Driver, PageReader, PageRequest, Purpose, TextWrite};
use super::metadata::MetadataGate;
use super::{CosmosError, PreviousImages};

/// The substatus of a 404 for a container or database that does not exist.
const CONTAINER_MISSING: u32 = 1003;

/// The clients of one container, found by its names in the account.
pub(super) struct ContainerClients {
    account: Arc<AccountClient>,
    database: String,
    container: String,
    gate: Arc<MetadataGate>,
    /// The resource id of the container that was found at the start.
    rid: String,
    current: RwLock<Arc<Clients>>,
    rebuilding: Mutex<()>,
}

/// Clients built from one client of the account.
pub(super) struct Clients {
    generation: u64,
    pub(super) database: DatabaseClient,
    pub(super) container: ContainerClient,
    /// The same container for the drivers.
    reference: OnceCell<ContainerReference>,
    feed_reference: OnceCell<ContainerReference>,
}

/// A container with its physical partitions, in order.
pub(super) struct Partitioned {
    pub(super) clients: Arc<Clients>,
    account: Arc<Connected>,
    pub(super) container: ContainerReference,
    pub(super) ranges: Vec<PartitionKeyRange>,
}

/// A container that was found, with the properties that the bridge uses.
pub(super) struct FoundContainer {
    pub(super) clients: ContainerClients,
    pub(super) rid: String,
    pub(super) key_paths: Vec<String>,
    pub(super) default_ttl: Option<i64>,
    pub(super) previous_images: PreviousImages,
    pub(super) account_address: String,
}

impl ContainerClients {
    /// Finds a container and reads its properties.
    pub(super) async fn find(
        attempt: &str,
        account: Arc<AccountClient>,
        database: &str,
        container: &str,
        gate: Arc<MetadataGate>,
    ) -> Result<FoundContainer, CosmosError> {
        let (current, properties) =
            build(attempt, &account.current(), database, container, &gate).await?;
        let rid = properties.rid.ok_or_else(|| {
            CosmosError::internal(attempt, "the service did not return the container's id")
        })?;
        let clients = Self {
            account,
            database: database.to_owned(),
            container: container.to_owned(),
            gate,
            rid: rid.clone(),
            current: RwLock::new(Arc::new(current)),
            rebuilding: Mutex::default(),
        };
        let Properties { key_paths, default_ttl, previous_images, account_address, .. } =
            properties;
        Ok(FoundContainer {
            clients,
            rid,
            key_paths,
            default_ttl,
            previous_images,
            account_address,
        })
    }

    fn current(&self) -> Arc<Clients> {
        Arc::clone(&self.current.read())
    }

    /// The clients to use now. They are rebuilt after the account's secret has changed.
    ///
    /// # Errors
    ///
    /// The clients cannot be rebuilt, or the name now belongs to another container.
    pub(super) async fn clients(&self, attempt: &str) -> Result<Arc<Clients>, CosmosError> {
        let clients = self.current();
        let account = self.account.current();
        if clients.generation == account.generation {
            return Ok(clients);
        }
        let _turn = self.rebuilding.lock().await;
        let account = self.account.current();
        let clients = self.current();
        if clients.generation == account.generation {
            return Ok(clients);
        }
        let (clients, properties) =
            build(attempt, &account, &self.database, &self.container, &self.gate).await?;
        // Clients are built by name: without this check they could use another container.
        if properties.rid.as_deref() != Some(self.rid.as_str()) {
            return Err(CosmosError::replaced(attempt));
        }
        let clients = Arc::new(clients);
        *self.current.write() = Arc::clone(&clients);
        Ok(clients)
    }

    /// The pages of the change feed, and the clients that they are read with.
    ///
    /// # Errors
    ///
    /// The driver cannot be built or does not find the container or its partitions, or the name now belongs
    /// to another one.
    pub(super) async fn pages(
        &self,
        attempt: &str,
        request: PageRequest,
    ) -> Result<(PageReader, Arc<Clients>), CosmosError> {
        let clients = self.clients(attempt).await?;
        let account = self.account.current();
        let driver = self.driver(&clients, &account, Purpose::ChangeFeeds, attempt).await?;
        let find = || self.reference(attempt, &clients, driver);
        let container = clients.feed_reference.get_or_try_init(find).await?.clone();
        match driver.pages(container, request).await {
            Ok(pages) => Ok((pages, clients)),
            Err(error) => Err(self.failed(&clients, attempt, &error).await),
        }
    }

    /// Writes a document by its text.
    ///
    /// # Errors
    ///
    /// The driver cannot be built or does not find the container, or the name now belongs to another one.
    pub(super) async fn write_text(
        &self,
        attempt: &str,
        write: TextWrite,
    ) -> Result<Result<CosmosResponse, SdkError>, CosmosError> {
        let clients = self.clients(attempt).await?;
        let account = self.account.current();
        let driver = self.driver(&clients, &account, Purpose::Writes, attempt).await?;
        let container = self.reference(attempt, &clients, driver).await?;
        Ok(driver.write(&container, write).await)
    }

    /// Sends the body of a transactional batch.
    ///
    /// # Errors
    ///
    /// The driver cannot be built or does not find the container, or the name now belongs to another one.
    pub(super) async fn write_batch(
        &self,
        attempt: &str,
        key: PartitionKey,
        body: Vec<u8>,
    ) -> Result<Result<CosmosResponse, SdkError>, CosmosError> {
        let clients = self.clients(attempt).await?;
        let account = self.account.current();
        let driver = self.driver(&clients, &account, Purpose::Writes, attempt).await?;
        let find = || self.reference(attempt, &clients, driver);
        let container = clients.reference.get_or_try_init(find).await?;
        Ok(driver.write_batch(container, key, body).await)
    }

    /// A driver, which reads the account when it is built; a 401 then has the account's secret read again.
    async fn driver<'a>(
        &self,
        clients: &Clients,
        account: &'a Connected,
        purpose: Purpose,
        attempt: &str,
    ) -> Result<&'a Driver, CosmosError> {
        let built = self.account.driver(account, purpose, attempt).await;
        if built.as_ref().is_err_and(|error| error.answer.status == 401) {
            self.account.on_unauthorized(clients.generation).await;
        }
        built
    }

    /// Finds the container for the driver.
    async fn reference(
        &self,
        attempt: &str,
        clients: &Clients,
        driver: &Driver,
    ) -> Result<ContainerReference, CosmosError> {
        self.gate.ready().await;
        let container = match driver.container(&self.database, &self.container).await {
            Ok(container) => container,
            Err(error) => {
                let mut error = self.failed(clients, attempt, &error).await;
                if error.answer.status == 404 {
                    // It is the container that is missing, not the document.
                    error.answer.sub_status = CONTAINER_MISSING;
                }
                return Err(error);
            }
        };
        if container.rid() == self.rid {
            Ok(container)
        } else {
            Err(CosmosError::replaced(attempt))
        }
    }

    /// The container and its physical partitions, which are read again if `refresh` is set.
    ///
    /// # Errors
    ///
    /// The driver cannot be built or does not find the container or its partitions, or the name now belongs
    /// to another one.
    pub(super) async fn partitions(
        &self,
        attempt: &str,
        refresh: bool,
    ) -> Result<Partitioned, CosmosError> {
        let clients = self.clients(attempt).await?;
        let account = self.account.current();
        let driver = self.driver(&clients, &account, Purpose::Writes, attempt).await?;
        let find = || self.reference(attempt, &clients, driver);
        let container = clients.reference.get_or_try_init(find).await?.clone();
        if refresh {
            self.gate.ready().await;
        }
        let ranges = match driver.partitions(&container, refresh).await {
            Ok(ranges) => ranges,
            Err(error) => return Err(self.failed(&clients, attempt, &error).await),
        };
        let ranges = ranges.ok_or_else(|| CosmosError::no_partitions(attempt))?;
        Ok(Partitioned { clients, account, container, ranges })
    }

    /// Sends a request with documents of several keys to one of the partitions.
    ///
    /// # Errors
    ///
    /// The driver cannot be built.
    pub(super) async fn write_bulk(
        &self,
        attempt: &str,
        partitioned: &Partitioned,
        range: &str,
        body: Vec<u8>,
    ) -> Result<Result<CosmosResponse, SdkError>, CosmosError> {
        let Partitioned { clients, account, .. } = partitioned;
        let driver = self.driver(clients, account, Purpose::Writes, attempt).await?;
        Ok(driver.write_bulk(&partitioned.container, range, body).await)
    }

    /// Converts an error of the SDK; a 401 also has the account's secret read again.
    pub(super) async fn failed(
        &self,
        clients: &Clients,
        attempt: &str,
        error: &SdkError,
    ) -> CosmosError {
        self.check_credential(clients, error).await;
        CosmosError::new(attempt, error)
    }

    /// Has the account's secret read again if the account answered 401.
    pub(super) async fn check_credential(&self, clients: &Clients, error: &SdkError) {
        if u16::from(error.status().status_code()) == 401 {
            self.account.on_unauthorized(clients.generation).await;
        }
    }
}

struct Properties {
    rid: Option<String>,
    key_paths: Vec<String>,
    default_ttl: Option<i64>,
    previous_images: PreviousImages,
    /// See [`account_address`].
    account_address: String,
}

async fn build(
    attempt: &str,
    account: &Connected,
    database: &str,
    container: &str,
    gate: &MetadataGate,
) -> Result<(Clients, Properties), CosmosError> {
    let failed = |error| CosmosError::new(attempt, &error);
    let database = account.client.database_client(database.to_owned());
    gate.ready().await;
    let container = database.container_client(container.to_owned(), None).await.map_err(failed)?;
    gate.ready().await;
    let response = container.read(None).await.map_err(failed)?;
    let requests = response.diagnostics().requests();
    let address = requests
        .last()
        .map(|request| account_address(request.endpoint(), request.region().map(Region::as_str)));
    let properties = response.into_model().map_err(failed)?;
    // What the client library does not know is in its JSON only.
    let previous_images =
        PreviousImages::read(&serde_json::to_value(&properties).unwrap_or_default());
    let read = Properties {
        rid: properties.system_properties.resource_id,
        key_paths: properties.partition_key.paths().iter().map(ToString::to_string).collect(),
        default_ttl: seconds_of(&properties.default_ttl),
        previous_images,
        account_address: address.unwrap_or_default(),
    };
    let (reference, feed_reference) = (OnceCell::new(), OnceCell::new());
    let generation = account.generation;
    Ok((Clients { generation, database, container, reference, feed_reference }, read))
}
