//! The way to one account, and to one container in it, made anew when the account's secret was.
//!
//! The SDK's clients keep the key that they are made with. So a client has a generation: when the
//! account refuses a request, the key is read again from where it stands, and if it is another one
//! there is another client. What held the old one finds out at its next request.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use azure_data_cosmos::clients::{ContainerClient, DatabaseClient};
use azure_data_cosmos::options::{
    BinaryEncodingOptions, ConnectionPoolOptions, Region, RoutingStrategy, UserAgentSuffix,
};
use azure_data_cosmos::{
    AccountEndpoint, AccountReference, CosmosClient, CosmosError as SdkError, CosmosRuntime,
};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::info;

use super::account::operation_options;
use super::metadata::MetadataGate;
use super::{ConnectError, CosmosError};
use crate::config::{self, Access, Proof};
use crate::identity::{Identities, Identity, TokenProblem, pause_of};
use crate::observe::FailureLog;

/// What the SDK asks tokens of accounts for.
const SCOPE: &str = "https://cosmos.azure.com/.default";

/// The client of one account.
pub(super) struct Link {
    name: String,
    config: config::Account,
    /// Where the account is opened with tokens, which are renewed by themselves.
    identity: Option<Arc<Identity>>,
    identities: Arc<Identities>,
    current: RwLock<Arc<Connected>>,
    /// When the secret was read last. Held while it is read again: one at a time.
    renewing: Mutex<Instant>,
    renewal: FailureLog,
}

struct Connected {
    generation: u64,
    access: Access,
    client: CosmosClient,
}

impl Link {
    pub(super) async fn open(
        name: &str,
        config: &config::Account,
        identities: &Arc<Identities>,
    ) -> Result<Self, ConnectError> {
        let access = identities.access(config).await;
        let access =
            access.map_err(|source| ConnectError::Secret { account: name.to_owned(), source })?;
        let place = access.endpoint.trim_end_matches('/');
        let attempt = format!("connecting to account `{name}` at {place}");
        let identity = match &access.proof {
            Proof::Key(_) => None,
            Proof::Entra(credential) => {
                let no_token = |error| CosmosError::no_token(&attempt, &error);
                let identity = identities.named(credential).map_err(no_token)?;
                // Asked first, so that a start which cannot work says why: the SDK has one status
                // for all that can be wrong here.
                identity.token(SCOPE).await.map_err(no_token)?;
                Some(identity)
            }
        };
        let client = connect(&attempt, config, &access, identity.as_ref()).await?;
        let connected = Connected { generation: 0, access, client };
        Ok(Self {
            name: name.to_owned(),
            config: config.clone(),
            identity,
            identities: Arc::clone(identities),
            current: RwLock::new(Arc::new(connected)),
            renewing: Mutex::new(Instant::now()),
            renewal: FailureLog::new(format!("reading the secret of account `{name}` again")),
        })
    }

    /// As it was at the start, whatever the connection string says by now.
    pub(super) fn endpoint(&self) -> String {
        self.current().access.endpoint.clone()
    }

    fn current(&self) -> Arc<Connected> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The account answered 401 to a client of this generation.
    async fn refused(&self, generation: u64) {
        if let Some(identity) = &self.identity {
            identity.refused(SCOPE);
            return;
        }
        // One at a time; who waited finds the work done.
        let mut looked = self.renewing.lock().await;
        let current = self.current();
        if current.generation != generation || Instant::now() < *looked + self.pause() {
            return;
        }
        let renewed = self.renew(&current).await;
        *looked = Instant::now();
        match renewed {
            Ok(None) => self.renewal.recovered(),
            Ok(Some(next)) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
                self.renewal.recovered();
                info!(
                    account = self.name,
                    "the account's secret has changed and is used from now on"
                );
            }
            Err(error) => self.renewal.failed(&error),
        }
    }

    fn pause(&self) -> Duration {
        self.config.credential.secret().as_ref().map_or(Duration::ZERO, pause_of)
    }

    /// A client with the secret as it is now; none if it is the same one.
    async fn renew(&self, current: &Connected) -> Result<Option<Connected>, String> {
        let access = self.identities.access(&self.config).await;
        let access = access.map_err(|error| format!("{error}. {}", error.hint()))?;
        if access == current.access {
            return Ok(None);
        }
        if access.endpoint != current.access.endpoint {
            return Err("the connection string is of another account now: restart".to_owned());
        }
        let attempt = format!("connecting to account `{}` with another key", self.name);
        let client = connect(&attempt, &self.config, &access, None).await;
        let client = client.map_err(|fault| fault.to_string())?;
        Ok(Some(Connected { generation: current.generation + 1, access, client }))
    }
}

async fn connect(
    attempt: &str,
    config: &config::Account,
    access: &Access,
    identity: Option<&Arc<Identity>>,
) -> Result<CosmosClient, CosmosError> {
    let endpoint: AccountEndpoint =
        access.endpoint.parse().map_err(|_| CosmosError::ours(attempt, "this is no endpoint"))?;
    let account = match (&access.proof, identity) {
        (Proof::Key(key), _) => {
            AccountReference::with_authentication_key(endpoint, key.expose().to_owned())
        }
        (Proof::Entra(_), Some(identity)) => {
            AccountReference::with_credential(endpoint, identity.for_sdk())
        }
        (Proof::Entra(name), None) => {
            return Err(CosmosError::ours(attempt, format!("no credential is named `{name}`")));
        }
    };
    let regions: Vec<_> = config.regions.iter().map(|r| Region::new(r.clone())).collect();
    let fault = |error| CosmosError::new(attempt, &error);
    // Each account has a runtime of its own: connection settings belong to the runtime.
    let pool = ConnectionPoolOptions::builder()
        .with_is_http2_allowed(config.http2)
        .build()
        .map_err(fault)?;
    let runtime =
        CosmosRuntime::builder().with_connection_pool(pool).build().await.map_err(fault)?;
    CosmosClient::builder()
        .with_runtime(runtime)
        .with_default_operation_options(operation_options(config))
        .with_binary_encoding_options(BinaryEncodingOptions::default().with_enabled(false))
        .with_user_agent_suffix(UserAgentSuffix::try_from("cosmos-bridge").map_err(fault)?)
        .build(account, RoutingStrategy::PreferredRegions(regions))
        .await
        .map_err(fault)
}

/// The clients of one container, by its names in the account.
pub(super) struct ContainerLink {
    link: Arc<Link>,
    database: String,
    container: String,
    gate: Arc<MetadataGate>,
    /// The service's id of the container that was found first.
    rid: String,
    current: RwLock<Arc<Clients>>,
    remaking: Mutex<()>,
}

/// Clients that go together.
pub(super) struct Clients {
    generation: u64,
    pub(super) database: DatabaseClient,
    pub(super) container: ContainerClient,
}

/// A container that was found, and what the service says about it.
pub(super) struct Found {
    pub(super) link: ContainerLink,
    pub(super) rid: String,
    pub(super) key_paths: Vec<String>,
}

impl ContainerLink {
    /// Finds a container and reads what identifies it.
    pub(super) async fn find(
        attempt: &str,
        link: Arc<Link>,
        database: &str,
        container: &str,
        gate: Arc<MetadataGate>,
    ) -> Result<Found, CosmosError> {
        let (clients, properties) =
            make(attempt, &link.current(), database, container, &gate).await?;
        let rid = properties.rid.ok_or_else(|| {
            CosmosError::defect(attempt, "the service did not tell the container's id")
        })?;
        let link = Self {
            link,
            database: database.to_owned(),
            container: container.to_owned(),
            gate,
            rid: rid.clone(),
            current: RwLock::new(Arc::new(clients)),
            remaking: Mutex::default(),
        };
        Ok(Found { link, rid, key_paths: properties.key_paths })
    }

    fn current(&self) -> Arc<Clients> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The clients to use now: the same ones, until the account has another secret.
    ///
    /// # Errors
    ///
    /// New ones are due and cannot be made, or lead to another container.
    pub(super) async fn clients(&self, attempt: &str) -> Result<Arc<Clients>, CosmosError> {
        let clients = self.current();
        let account = self.link.current();
        if clients.generation == account.generation {
            return Ok(clients);
        }
        let _turn = self.remaking.lock().await;
        let account = self.link.current();
        let clients = self.current();
        if clients.generation == account.generation {
            return Ok(clients);
        }
        let (clients, properties) =
            make(attempt, &account, &self.database, &self.container, &self.gate).await?;
        // New clients would read and write whatever has the name now.
        if properties.rid.as_deref() != Some(self.rid.as_str()) {
            return Err(CosmosError::replaced(attempt));
        }
        let clients = Arc::new(clients);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&clients);
        Ok(clients)
    }

    /// Says what an error means, and sees to another secret where the account refused this one.
    pub(super) async fn failed(
        &self,
        clients: &Clients,
        attempt: &str,
        error: &SdkError,
    ) -> CosmosError {
        self.look_at(clients, error).await;
        CosmosError::new(attempt, error)
    }

    pub(super) async fn look_at(&self, clients: &Clients, error: &SdkError) {
        if u16::from(error.status().status_code()) == 401 {
            self.link.refused(clients.generation).await;
        }
    }
}

struct Properties {
    rid: Option<String>,
    key_paths: Vec<String>,
}

async fn make(
    attempt: &str,
    account: &Connected,
    database: &str,
    container: &str,
    gate: &MetadataGate,
) -> Result<(Clients, Properties), CosmosError> {
    let fault = |error| CosmosError::new(attempt, &error);
    let database = account.client.database_client(database.to_owned());
    gate.ready().await;
    let container = database.container_client(container.to_owned(), None).await.map_err(fault)?;
    gate.ready().await;
    let properties = container
        .read(None)
        .await
        .and_then(azure_data_cosmos::models::ResourceResponse::into_model)
        .map_err(fault)?;
    let read = Properties {
        rid: properties.system_properties.resource_id,
        key_paths: properties.partition_key.paths().iter().map(ToString::to_string).collect(),
    };
    Ok((Clients { generation: account.generation, database, container }, read))
}

impl CosmosError {
    /// No token for an account, before it was asked anything.
    fn no_token(attempt: &str, error: &crate::identity::TokenError) -> Self {
        let mut fault = Self::ours(attempt, format!("{error}. {}", error.hint()));
        // The SDK's own statuses for the same.
        let (status, sub_status) = match error.problem {
            TokenProblem::Unreachable => (503, 20_003),
            TokenProblem::Refused | TokenProblem::Setup => (401, 20_402),
        };
        fault.answer.status = status;
        fault.answer.sub_status = sub_status;
        fault
    }
}
