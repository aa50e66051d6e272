//! One connection to the namespace. It is opened when it is needed, and given up when it fails.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::Mutex;
use fe2o3_amqp::Connection as Amqp;
use fe2o3_amqp::connection::{ConnectionHandle, OpenError};
use fe2o3_amqp::sasl_profile::SaslProfile;
use futures::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use crate::access::HubToken;
use crate::failure::Failure;
use crate::partition_link::PartitionLink;
use crate::requests::Nodes;
use crate::session::Sessions;
use crate::settings::Settings;
use crate::socket::{self, SocketGuard};
use crate::tls;

/// Half of the time after which the service closes a silent connection. A dead connection is
/// detected after this time at the latest.
const IDLE: Duration = Duration::from_mins(1);

/// An open connection that is authorized for the hub.
pub(crate) struct Connection {
    sessions: Arc<Sessions>,
    nodes: AsyncMutex<Nodes>,
    /// The token that was put last.
    token: Mutex<HubToken>,
    pub(crate) partitions: Vec<String>,
    links: Mutex<HashMap<String, Arc<PartitionLink>>>,
    timeout: Duration,
    socket: SocketGuard,
}

impl Connection {
    /// Opens a connection, puts a token, and reads the partitions of the hub.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Failure> {
        // The client panics at frames that no service sends, such as one that is shorter than its header.
        // What was opened so far is dropped.
        let opening = AssertUnwindSafe(Self::open_now(settings)).catch_unwind();
        match timeout(settings.options.request_timeout, opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(_panic)) => Err(Failure::broken("no AMQP connection: the answer is not AMQP")),
            Err(_) => {
                let seconds = settings.options.request_timeout.as_secs_f64();
                Err(Failure::broken(format!("no connection within {seconds} s")))
            }
        }
    }

    async fn open_now(settings: &Settings) -> Result<Self, Failure> {
        let token = settings.access.token(&settings.hub).await?;
        let target = settings.access.namespace();
        let unreachable =
            |error: io::Error| Failure::broken(format!("{target} cannot be reached: {error}"));
        let address = (target.host.trim_matches(['[', ']']), target.port);
        // Every return but the last drops the guard, which ends the connection.
        let (stream, socket) = socket::connect(address).await.map_err(unreachable)?;
        let amqp = if target.tls {
            let stream = tls::connect(&target.host, stream).await.map_err(unreachable)?;
            open_on(stream, &target.host).await
        } else {
            open_on(stream, &target.host).await
        };
        let amqp = amqp.map_err(|error| Failure::broken(format!("no AMQP connection: {error}")))?;
        let sessions = Arc::new(Sessions::new(amqp));
        let mut nodes = Nodes::attach(sessions.begin().await?).await?;
        nodes.authorize(&target.resource(&settings.hub), &token).await?;
        let partitions = nodes.partitions(&settings.hub).await?;
        Ok(Self {
            sessions,
            nodes: AsyncMutex::new(nodes),
            token: Mutex::new(token),
            partitions,
            links: Mutex::default(),
            timeout: settings.options.request_timeout,
            socket,
        })
    }

    /// Puts a new token before the last one expires.
    pub(crate) async fn keep_authorized(&self, settings: &Settings) -> Result<(), Failure> {
        let Settings { access, hub, .. } = settings;
        let held = self.token.lock().clone();
        if access.successor(&held, hub).await?.is_none() {
            return Ok(());
        }
        let mut nodes = self.nodes.lock().await;
        // Another write may have put a new token while this one waited for the lock.
        let held = self.token.lock().clone();
        let Some(next) = access.successor(&held, hub).await? else { return Ok(()) };
        let resource = access.namespace().resource(hub);
        let put =
            timeout(settings.options.request_timeout, nodes.authorize(&resource, &next)).await;
        put.unwrap_or_else(|_| Err(Failure::broken("no answer to a token")))?;
        *self.token.lock() = next;
        Ok(())
    }

    /// True if no new token was put in time. The service has given up the connection then.
    pub(crate) fn has_expired(&self) -> bool {
        self.token.lock().has_expired()
    }

    /// The link to an address. All writes to this address share it.
    pub(crate) fn link(&self, address: &str) -> Arc<PartitionLink> {
        let mut links = self.links.lock();
        let link = links.entry(address.to_owned()).or_insert_with(|| {
            let sessions = Arc::clone(&self.sessions);
            Arc::new(PartitionLink::new(sessions, address.to_owned(), self.timeout))
        });
        Arc::clone(link)
    }

    /// Ends the connection for all writes that use it. Data that was not sent yet is discarded.
    pub(crate) fn shut_down(&self) {
        self.socket.shut_down();
    }

    pub(crate) async fn close(&self) {
        self.sessions.close(self.timeout).await;
    }
}

async fn open_on(
    stream: impl AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin + 'static,
    host: &str,
) -> Result<ConnectionHandle<()>, OpenError> {
    // The container ids of connections must differ.
    let name = format!("cosmos-bridge-{:016x}", RandomState::new().hash_one(0));
    Amqp::builder()
        .container_id(name)
        .hostname(host)
        .scheme("amqp")
        .sasl_profile(SaslProfile::Anonymous)
        // Each partition needs a session; the client's default limit is 256.
        .channel_max(u16::MAX)
        .idle_time_out(u32::try_from(IDLE.as_millis()).unwrap_or(u32::MAX))
        .open_with_stream(stream)
        .await
}
