//! The client of one account, replaced when the account's key has changed.
//!
//! A client of the SDK keeps the key it was built with, so each client has a generation. When the
//! account rejects a request with 401, the key is read again; if it has changed, a client of the
//! next generation is built. Holders of an old client notice at their next request.

use std::sync::Arc;
use std::time::Duration;

use azure_data_cosmos::options::{BinaryEncodingOptions, RoutingStrategy};
use azure_data_cosmos::{AccountEndpoint, AccountReference, CosmosClient, CosmosRuntime};
use parking_lot::RwLock;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;
use tracing::info;

use super::account_options::{connection_pool, operation_options, regions, user_agent};
use super::driver::{Driver, Purpose};
use super::{ConnectError, CosmosError};
use crate::config::{self, Access, Proof};
use crate::identity::{Identities, Identity, pause_of};
use crate::observe::FailureLog;

/// The scope of tokens for Cosmos DB accounts.
const SCOPE: &str = "https://cosmos.azure.com/.default";

/// The client of one account.
pub(super) struct AccountClient {
    name: String,
    config: config::Account,
    /// `Some` if the account is accessed with tokens, which the identity renews.
    identity: Option<Arc<Identity>>,
    identities: Arc<Identities>,
    current: RwLock<Arc<Connected>>,
    /// When the secret was last read. Locked while it is read again, so that one task reads it.
    last_read: Mutex<Instant>,
    renewal: FailureLog,
}

/// An SDK client and the key it was built with.
pub(super) struct Connected {
    pub(super) generation: u64,
    pub(super) client: CosmosClient,
    access: Access,
    drivers: Drivers,
}

/// The drivers with the key of a client, each built when it is needed.
#[derive(Default)]
struct Drivers {
    change_feeds: OnceCell<Driver>,
    writes: OnceCell<Driver>,
}

impl AccountClient {
    pub(super) async fn connect(
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
                // Fetch a token first, so that a failed start names the cause: the SDK reports
                // every token failure with the same status.
                identity.token(SCOPE).await.map_err(no_token)?;
                Some(identity)
            }
        };
        let client = build(&attempt, config, &access, identity.as_ref()).await?;
        let connected = Connected { generation: 0, access, client, drivers: Drivers::default() };
        Ok(Self {
            name: name.to_owned(),
            config: config.clone(),
            identity,
            identities: Arc::clone(identities),
            current: RwLock::new(Arc::new(connected)),
            last_read: Mutex::new(Instant::now()),
            renewal: FailureLog::new(format!("reading the secret of account `{name}` again")),
        })
    }

    /// The endpoint. It does not change while the bridge runs: see [`Self::renew`].
    pub(super) fn endpoint(&self) -> String {
        self.current().access.endpoint.clone()
    }

    pub(super) fn current(&self) -> Arc<Connected> {
        Arc::clone(&self.current.read())
    }

    /// The driver for a purpose with the key of this client, built at the first call.
    pub(super) async fn driver<'c>(
        &self,
        connected: &'c Connected,
        purpose: Purpose,
        attempt: &str,
    ) -> Result<&'c Driver, CosmosError> {
        let Connected { access, drivers, .. } = connected;
        let driver = match purpose {
            Purpose::ChangeFeeds => &drivers.change_feeds,
            Purpose::Writes => &drivers.writes,
        };
        let identity = self.identity.as_ref();
        let build = || Driver::build(attempt, purpose, &self.config, access, identity);
        driver.get_or_try_init(build).await
    }

    /// Reacts to a 401 of the account to a client of this generation: has the token replaced, or
    /// reads the key again and replaces the client if the key has changed.
    pub(super) async fn on_unauthorized(&self, generation: u64) {
        if let Some(identity) = &self.identity {
            identity.refused(SCOPE);
            return;
        }
        // Tasks that waited for this lock find a client of the next generation.
        let mut last_read = self.last_read.lock().await;
        let current = self.current();
        if current.generation != generation || Instant::now() < *last_read + self.pause() {
            return;
        }
        let renewed = self.renew(&current).await;
        *last_read = Instant::now();
        match renewed {
            Ok(None) => self.renewal.recovered(),
            Ok(Some(next)) => {
                *self.current.write() = Arc::new(next);
                self.renewal.recovered();
                info!(account = self.name, "the account's secret has changed; using the new one");
            }
            Err(error) => self.renewal.failed(&error),
        }
    }

    fn pause(&self) -> Duration {
        self.config.secret().as_ref().map_or(Duration::ZERO, pause_of)
    }

    /// Reads the secret and builds a client with it; `None` if the secret has not changed.
    async fn renew(&self, current: &Connected) -> Result<Option<Connected>, String> {
        let access = self.identities.access(&self.config).await;
        let access = access.map_err(|error| format!("{error}. {}", error.hint()))?;
        if access == current.access {
            return Ok(None);
        }
        if access.endpoint != current.access.endpoint {
            return Err("the connection string now names another account. Restart the bridge to \
                        use it"
                .to_owned());
        }
        let attempt = format!("connecting to account `{}` with another key", self.name);
        let client = build(&attempt, &self.config, &access, None).await;
        let client = client.map_err(|error| error.to_string())?;
        let generation = current.generation + 1;
        Ok(Some(Connected { generation, access, client, drivers: Drivers::default() }))
    }
}

async fn build(
    attempt: &str,
    config: &config::Account,
    access: &Access,
    identity: Option<&Arc<Identity>>,
) -> Result<CosmosClient, CosmosError> {
    let endpoint: AccountEndpoint =
        access.endpoint.parse().map_err(|_| CosmosError::invalid(attempt, "invalid endpoint"))?;
    let account = match (&access.proof, identity) {
        (Proof::Key(key), _) => {
            AccountReference::with_authentication_key(endpoint, key.expose().to_owned())
        }
        (Proof::Entra(_), Some(identity)) => {
            AccountReference::with_credential(endpoint, identity.for_sdk())
        }
        (Proof::Entra(name), None) => {
            return Err(CosmosError::invalid(attempt, format!("unknown credential `{name}`")));
        }
    };
    let failed = |error| CosmosError::new(attempt, &error);
    // One runtime per account: connection settings belong to the runtime.
    let pool = connection_pool(config).map_err(failed)?;
    let runtime =
        CosmosRuntime::builder().with_connection_pool(pool).build().await.map_err(failed)?;
    CosmosClient::builder()
        .with_runtime(runtime)
        .with_default_operation_options(operation_options(config))
        .with_binary_encoding_options(BinaryEncodingOptions::default().with_enabled(false))
        .with_user_agent_suffix(user_agent().map_err(failed)?)
        .build(account, RoutingStrategy::PreferredRegions(regions(config)))
        .await
        .map_err(failed)
}
