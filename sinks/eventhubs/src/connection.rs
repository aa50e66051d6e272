//! The client: a connection that is opened when it is needed, and given up when it fails.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fe2o3_amqp::connection::{ConnectionHandle, OpenError};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Connection as Amqp, Session};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use crate::access::Permit;
use crate::lane::Lane;
use crate::problem::Problem;
use crate::requests::Nodes;
use crate::settings::Settings;
use crate::socket::{self, Cut};
use crate::tls;

/// Half of what the service waits for before it ends a silent connection, and how long a dead one
/// is held for a live one at most.
const IDLE: Duration = Duration::from_mins(1);

/// An open connection with a token for the hub.
pub(crate) struct Connection {
    amqp: AsyncMutex<ConnectionHandle<()>>,
    nodes: AsyncMutex<Nodes>,
    /// What was put last.
    permit: Mutex<Permit>,
    pub(crate) partitions: Vec<String>,
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
    patience: Duration,
    cut: Cut,
}

impl Connection {
    /// Opens one, puts a token, and reads the hub.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Problem> {
        let opening = timeout(settings.timeout, Self::open_now(settings)).await;
        opening.unwrap_or_else(|_| {
            let seconds = settings.timeout.as_secs_f64();
            Err(Problem::broken(format!("no connection within {seconds} s")))
        })
    }

    async fn open_now(settings: &Settings) -> Result<Self, Problem> {
        let permit = settings.access.permit(&settings.hub).await?;
        let target = settings.access.namespace();
        let unreachable =
            |error: io::Error| Problem::broken(format!("{target} cannot be reached: {error}"));
        let address = (target.host.trim_matches(['[', ']']), target.port);
        // Dropped on every way out of here but the last.
        let (stream, cut) = socket::connect(address).await.map_err(unreachable)?;
        let amqp = if target.tls {
            let stream = tls::connect(&target.host, stream).await.map_err(unreachable)?;
            open_on(stream, &target.host).await
        } else {
            open_on(stream, &target.host).await
        };
        let mut amqp =
            amqp.map_err(|error| Problem::broken(format!("no AMQP connection: {error}")))?;
        let session = begin(&mut amqp).await?;
        let mut nodes = Nodes::attach(session).await?;
        nodes.authorize(&target.resource(&settings.hub), &permit).await?;
        let partitions = nodes.partitions(&settings.hub).await?;
        let (nodes, permit) = (AsyncMutex::new(nodes), Mutex::new(permit));
        let (amqp, lanes) = (AsyncMutex::new(amqp), Mutex::default());
        Ok(Self { amqp, nodes, permit, partitions, lanes, patience: settings.timeout, cut })
    }

    /// Puts another token where there is one, ahead of the end of the last.
    pub(crate) async fn keep_authorized(&self, settings: &Settings) -> Result<(), Problem> {
        let Settings { access, hub, .. } = settings;
        let held = self.permit().clone();
        if access.successor(&held, hub).await?.is_none() {
            return Ok(());
        }
        let mut nodes = self.nodes.lock().await;
        // Whoever was here before may have put it.
        let held = self.permit().clone();
        let Some(next) = access.successor(&held, hub).await? else { return Ok(()) };
        let resource = access.namespace().resource(hub);
        let put = timeout(settings.timeout, nodes.authorize(&resource, &next)).await;
        put.unwrap_or_else(|_| Err(Problem::broken("no answer to a token")))?;
        *self.permit() = next;
        Ok(())
    }

    /// Whether nobody came to put another token in time, so that the service has given it up.
    pub(crate) fn has_expired(&self) -> bool {
        self.permit().has_ended()
    }

    fn permit(&self) -> MutexGuard<'_, Permit> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn session(&self) -> Result<SessionHandle<()>, Problem> {
        begin(&mut *self.amqp.lock().await).await
    }

    /// The link to an address, shared by all who write there.
    pub(crate) fn lane(&self, address: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(address.to_owned());
        Arc::clone(lane.or_insert_with(|| Arc::new(Lane::new(address.to_owned(), self.patience))))
    }

    /// Ends it for all who use it, with whatever was not sent.
    pub(crate) fn cut(&self) {
        self.cut.now();
    }

    pub(crate) async fn close(&self) {
        // Everything has been answered; whether the service says goodbye changes nothing.
        drop(timeout(self.patience, async { self.amqp.lock().await.close().await }).await);
    }
}

async fn begin(amqp: &mut ConnectionHandle<()>) -> Result<SessionHandle<()>, Problem> {
    Session::begin(amqp).await.map_err(|error| Problem::of_begin(&error))
}

async fn open_on(
    stream: impl AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin + 'static,
    host: &str,
) -> Result<ConnectionHandle<()>, OpenError> {
    // Two connections may not have one name.
    let name = format!("cosmos-bridge-{:016x}", RandomState::new().hash_one(0));
    Amqp::builder()
        .container_id(name)
        .hostname(host)
        .scheme("amqp")
        .sasl_profile(SaslProfile::Anonymous)
        // A session for each partition; the client's own limit is 256 of them.
        .channel_max(u16::MAX)
        .idle_time_out(u32::try_from(IDLE.as_millis()).unwrap_or(u32::MAX))
        .open_with_stream(stream)
        .await
}
