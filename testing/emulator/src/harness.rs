//! Local accounts in this process, for the binary and for tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::account::Account;
use crate::auth::{Credentials, Trust};
use crate::contents::{self, Checksum};
use crate::fault::FaultRule;
use crate::management::Management;
pub use crate::options::{Options, StartError};
use crate::regions::{self, Regions, Waiting};
use crate::serve::Server;
use crate::world::{ContainerSettings, ContainerState, ControlError, World};

/// Running accounts and their management interface. Everything stops when this is dropped.
pub struct LocalAccounts {
    pub world: Arc<World>,
    servers: BTreeMap<String, (SocketAddr, Option<Server>)>,
    /// Those of single regions.
    _regional: Vec<Server>,
    management: Server,
    /// With the certificate in PEM form.
    tls: Option<(TlsAcceptor, String)>,
    ready: Value,
}

impl LocalAccounts {
    /// Starts accounts with these names on free ports of 127.0.0.1.
    pub async fn start(accounts: &[&str]) -> Result<Self, StartError> {
        let accounts = accounts.iter().map(|name| (*name).to_owned()).collect();
        Self::start_with(Options { accounts, ..Options::default() }).await
    }

    pub async fn start_with(options: Options) -> Result<Self, StartError> {
        if !options.address.is_loopback() {
            return Err(StartError::NotLoopback(options.address));
        }
        let tls = if options.tls { Some(crate::tls::certified()?) } else { None };
        let scheme = if options.tls { "https" } else { "http" };
        let mut world = World::default();
        let mut listeners = Vec::new();
        for (offset, name) in (0_u16..).zip(&options.accounts) {
            let port = if options.port == 0 { 0 } else { options.port + offset };
            let listener = listen(SocketAddr::new(options.address, port)).await?;
            let address = listener.local_addr().map_err(|error| {
                StartError::Listen(SocketAddr::new(options.address, port), error)
            })?;
            let credentials = Credentials::new(&key_of(name), options.token.clone())?;
            let endpoint = format!("{scheme}://{address}/");
            let waiting = Waiting::listen(&options).await?;
            let mut places: Vec<_> = waiting.iter().map(|region| region.place(scheme)).collect();
            if places.is_empty() {
                let name = options.regions.first().map_or(regions::ONLY, String::as_str);
                places.push((name.to_owned(), endpoint.clone()));
            }
            let account = Account::new(
                name,
                &endpoint,
                credentials,
                Arc::clone(&world.clock),
                Arc::clone(&world.faults),
                Regions::new(places, options.multiple_writes),
            )?;
            account.keep_history(options.history_seconds);
            world.accounts.insert(name.clone(), Arc::new(account));
            listeners.push((name.clone(), address, listener, waiting));
        }
        let world = Arc::new(world);
        let (mut servers, mut regional) = (BTreeMap::new(), Vec::new());
        for (name, address, listener, waiting) in listeners {
            let Some(account) = world.accounts.get(&name) else { continue };
            let acceptor = tls.as_ref().map(|(acceptor, _)| acceptor.clone());
            for region in waiting {
                regional.push(region.serve(account, acceptor.clone())?);
            }
            let server = Server::start(listener, acceptor, Arc::clone(account))
                .map_err(|error| StartError::Listen(address, error))?;
            servers.insert(name, (address, Some(server)));
        }
        let address = SocketAddr::new(options.address, options.management_port);
        let listener = listen(address).await?;
        let address = listener.local_addr().map_err(|error| StartError::Listen(address, error))?;
        let ready = ready(&world, &options.accounts, address);
        let management = Arc::new(Management::new(Arc::clone(&world), ready.clone()));
        let management = Server::start(listener, None, management)
            .map_err(|error| StartError::Listen(address, error))?;
        Ok(Self { world, servers, _regional: regional, management, tls, ready })
    }

    /// The object that names all endpoints; the binary prints it as its one line.
    pub fn ready(&self) -> Value {
        self.ready.clone()
    }

    /// The account's endpoint, with a trailing slash.
    pub fn endpoint(&self, account: &str) -> String {
        self.world.account(account).map(|account| account.endpoint.clone()).unwrap_or_default()
    }

    /// The certificate of accounts that are served over TLS, in PEM form.
    pub fn certificate(&self) -> Option<&str> {
        self.tls.as_ref().map(|(_, certificate)| certificate.as_str())
    }

    /// The account's key in base64.
    pub fn key(&self, account: &str) -> String {
        let account = self.world.account(account);
        account.map(|account| account.credentials.key()).unwrap_or_default()
    }

    /// Gives an account another key, as when it is regenerated; the one before is refused.
    pub fn rotate_key(&self, account: &str) -> Result<String, StartError> {
        let key = STANDARD.encode(Sha512::digest(self.key(account)));
        if let Ok(account) = self.world.account(account) {
            account.credentials.replace_key(&key)?;
        }
        Ok(key)
    }

    /// Lets an account accept the tokens of an authority, in addition to its key.
    pub fn trust(&self, account: &str, trust: Trust) {
        if let Ok(account) = self.world.account(account) {
            account.credentials.trust(Some(trust));
        }
    }

    /// Lets the containers of an account keep history, or no longer.
    pub fn keep_history(&self, account: &str, seconds: Option<u32>) {
        if let Ok(account) = self.world.account(account) {
            account.keep_history(seconds);
        }
    }

    /// The base of the management interface, without a trailing slash.
    pub fn management_url(&self) -> String {
        format!("http://{}", self.management.address)
    }

    pub async fn create_container(
        &self,
        account: &str,
        database: &str,
        id: &str,
        settings: &ContainerSettings,
    ) -> Result<(), ControlError> {
        self.world.create_container(account, database, id, settings).await
    }

    pub fn state(
        &self,
        account: &str,
        database: &str,
        id: &str,
    ) -> Result<ContainerState, ControlError> {
        self.world.state(account, database, id)
    }

    /// Splits the fullest range.
    pub async fn split(
        &self,
        account: &str,
        database: &str,
        id: &str,
    ) -> Result<Vec<String>, ControlError> {
        self.world.split(account, database, id, None, false).await
    }

    pub async fn merge(
        &self,
        account: &str,
        database: &str,
        id: &str,
        ranges: [&str; 2],
    ) -> Result<Vec<String>, ControlError> {
        self.world.merge(account, database, id, ranges, false).await
    }

    /// Adds a fault rule; gives its id.
    pub fn fault(&self, rule: FaultRule) -> u64 {
        self.world.faults.add(rule)
    }

    pub fn clear_faults(&self) {
        self.world.faults.clear();
    }

    pub fn advance_clock(&self, seconds: u64) {
        self.world.clock.advance(seconds);
    }

    /// Upserts JSON Lines without cost.
    pub fn seed(
        &self,
        account: &str,
        database: &str,
        id: &str,
        lines: &str,
    ) -> Result<usize, ControlError> {
        let container = self.world.container(account, database, id)?;
        contents::seed(&container, lines.as_bytes(), self.world.clock.now())
            .map_err(|refusal| ControlError::Invalid(refusal.to_string()))
    }

    /// Holds a text as a document, byte for byte, also if it is not JSON. The key is as in the request
    /// header: `["a"]`.
    pub fn hold(
        &self,
        account: &str,
        container: [&str; 2],
        key: &str,
        id: &str,
        text: &[u8],
    ) -> Result<(), ControlError> {
        let invalid = |error: &dyn std::fmt::Display| ControlError::Invalid(error.to_string());
        let container = self.world.container(account, container[0], container[1])?;
        let key = crate::key::parse_header(key).map_err(|error| invalid(&error))?;
        contents::hold(&container, &key, id, text, self.world.clock.now())
            .map_err(|refusal| invalid(&refusal))
    }

    /// All documents without system properties, one per line, in their stable order.
    pub fn documents(
        &self,
        account: &str,
        database: &str,
        id: &str,
    ) -> Result<Vec<String>, ControlError> {
        let container = self.world.container(account, database, id)?;
        let lines = contents::list(&container, 0, usize::MAX, false, self.world.clock.now());
        Ok(String::from_utf8_lossy(&lines).lines().map(str::to_owned).collect())
    }

    pub fn checksum(
        &self,
        account: &str,
        database: &str,
        id: &str,
    ) -> Result<Checksum, ControlError> {
        let container = self.world.container(account, database, id)?;
        Ok(contents::checksum(&container, self.world.clock.now()))
    }

    /// Closes an account's port and connections; its data stays.
    pub async fn stop_listener(&mut self, account: &str) {
        if let Some((_, server)) = self.servers.get_mut(account)
            && let Some(server) = server.take()
        {
            server.stop().await;
        }
    }

    /// Listens again on the same port.
    pub async fn restart_listener(&mut self, account: &str) -> Result<(), StartError> {
        let Ok(handler) = self.world.account(account) else { return Ok(()) };
        let handler = Arc::clone(handler);
        if let Some((address, server)) = self.servers.get_mut(account)
            && server.is_none()
        {
            let listener = listen(*address).await?;
            let acceptor = self.tls.as_ref().map(|(acceptor, _)| acceptor.clone());
            let started = Server::start(listener, acceptor, handler)
                .map_err(|error| StartError::Listen(*address, error))?;
            *server = Some(started);
        }
        Ok(())
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen(address, error))
}

/// A key that depends on the account's name alone, so that examples stay valid.
fn key_of(account: &str) -> String {
    STANDARD.encode(Sha512::digest(format!("local account {account}")))
}

fn ready(world: &World, names: &[String], management: SocketAddr) -> Value {
    let accounts: Vec<Value> = names
        .iter()
        .filter_map(|name| world.accounts.get(name))
        .map(|account| {
            let (endpoint, key) = (&account.endpoint, account.credentials.key());
            json!({
                "name": account.name,
                "endpoint": endpoint,
                "key": key,
                "connection_string": format!("AccountEndpoint={endpoint};AccountKey={key};"),
            })
        })
        .collect();
    json!({"accounts": accounts, "management": format!("http://{management}")})
}
