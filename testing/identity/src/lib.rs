//! Token endpoints on loopback: those of Microsoft Entra ID (v2, client credentials by secret or
//! assertion), of the instance metadata service, and of App Service; and a key vault that takes the
//! tokens.
//!
//! Assertions are verified as Entra ID verifies them, and tokens are signed, so that a local account
//! can recognise one that it trusts. Failures, token lifetimes and identities are scripted.

#![expect(clippy::unwrap_used, reason = "what fails here is to fail the test")]

mod assertion;
mod keys;
mod proxy;
mod vault;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_emulator::Trust;
use cosmos_bridge_emulator::serve::Server;
use tokio::net::TcpListener;

pub use keys::{ClientCertificate, Cluster};
pub use vault::{LocalVault, Read};
use world::World;
pub use world::{Asked, Failure};

/// The header with which an App Service app authenticates.
pub const IDENTITY_HEADER: &str = "local-identity-header-5eC8e7";

/// The running endpoints; they stop when this is dropped.
pub struct LocalEntra {
    world: Arc<World>,
    entra: Server,
    machine: Server,
    /// The certificate of the authority, in PEM form.
    pub ca: String,
}

impl LocalEntra {
    pub async fn start() -> Self {
        let world: Arc<World> = Arc::default();
        let (tls, ca) = cosmos_bridge_emulator::tls::certified().unwrap();
        let entra =
            Server::start(listener().await, Some(tls), Arc::new(world::Entra(Arc::clone(&world))));
        let machine =
            Server::start(listener().await, None, Arc::new(world::Machine(Arc::clone(&world))));
        let entra = entra.unwrap();
        world.be_at(&format!("https://{}", entra.address));
        Self { world, entra, machine: machine.unwrap(), ca }
    }

    /// The address for tokens of applications, without a trailing slash.
    pub fn authority(&self) -> String {
        format!("https://{}", self.entra.address)
    }

    /// The machine's own endpoint: of App Service at `/msi/token`, and a proxy to that of the
    /// instance metadata service.
    pub fn machine(&self) -> String {
        format!("http://{}", self.machine.address)
    }

    /// The settings for a local account that trusts tokens of a tenant.
    pub fn trust(&self, tenant: &str) -> Trust {
        Trust { tenant: tenant.to_owned(), key: self.world.public_key() }
    }

    /// The keys of all tenants, as a JSON Web Key Set.
    pub fn jwks(&self) -> String {
        self.world.jwks()
    }

    /// Sets the lifetime of new tokens, in whole seconds.
    pub fn lifetime(&self, lifetime: Duration) {
        self.world.state().lifetime = lifetime;
    }

    /// Replaces the application's secret.
    pub fn secret(&self, tenant: &str, client_id: &str, secret: &str) {
        let mut state = self.world.state();
        state.app(tenant, client_id).secret = Some(secret.to_owned());
    }

    /// Replaces the application's certificate.
    pub fn certificate(&self, tenant: &str, client_id: &str, certificate: &ClientCertificate) {
        let mut state = self.world.state();
        state.app(tenant, client_id).certificate = Some(certificate.public());
    }

    /// Replaces the cluster subject that the application trusts.
    pub fn federate(&self, tenant: &str, client_id: &str, cluster: &Cluster, subject: &str) {
        let mut state = self.world.state();
        state.app(tenant, client_id).federated = Some((cluster.public(), subject.to_owned()));
    }

    /// Adds an identity to the machine: system-assigned, or user-assigned with a client id.
    pub fn assign(&self, tenant: &str, client_id: Option<&str>) {
        let mut state = self.world.state();
        state.assigned.insert(client_id.map(str::to_owned), tenant.to_owned());
    }

    /// Sets a failure that every request gets instead of a token; `None` removes it.
    pub fn fail(&self, failure: Option<Failure>) {
        self.world.state().failure = failure;
    }

    /// A token as a client would get it, for callers that do not send a request.
    pub fn token(&self, tenant: &str, client_id: &str, scope: &str) -> (String, u64) {
        self.world.token(tenant, client_id, scope)
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.world.state().asked.clone()
    }

    /// The number of issued tokens of a tenant.
    pub fn issued(&self, tenant: &str) -> usize {
        let is_issued = |asked: &&Asked| asked.tenant == tenant && asked.refused.is_none();
        self.world.state().asked.iter().filter(is_issued).count()
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap()
}
