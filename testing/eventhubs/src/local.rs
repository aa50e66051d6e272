//! Runs the stand-in inside the process of a test, with counters and faults.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::connection;
use crate::fault::Injection;
use crate::jwt::Trust;
use crate::lock;
use crate::namespace::Namespace;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// The options of the stand-in.
#[derive(Debug, Clone)]
pub struct Options {
    pub address: IpAddr,
    /// 0 takes a free one.
    pub port: u16,
    /// Names and partition counts.
    pub hubs: Vec<(String, usize)>,
    /// The folder for the events; without one they are kept in memory only.
    pub data: Option<PathBuf>,
    pub key_name: String,
    pub key: String,
    /// The delay of every answer. Below a millisecond, clients have race conditions that no real network causes.
    pub latency: Duration,
    /// The largest message, as links announce it.
    pub message_bytes_max: u64,
    /// The number of events that a partition retains.
    pub retained: usize,
    /// The receive buffer of connections, in bytes; without a value the default of the system.
    pub receive_buffer: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            hubs: Vec::new(),
            data: None,
            key_name: "RootManageSharedAccessKey".to_owned(),
            key: "bG9jYWwtc3RhbmQtaW4ta2V5LW5vdC1hLXNlY3JldCE=".to_owned(),
            latency: Duration::from_millis(2),
            message_bytes_max: 1024 * 1024,
            retained: 2_000_000,
            receive_buffer: None,
        }
    }
}

impl Options {
    /// The defaults with one hub.
    pub fn with_hub(name: &str, partitions: usize) -> Self {
        Self { hubs: vec![(name.to_owned(), partitions)], ..Self::default() }
    }
}

/// An event as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    pub sequence: i64,
    pub partition_key: Option<String>,
    /// Everything after the annotations, as AMQP.
    pub bytes: Vec<u8>,
}

/// A running stand-in. When it is dropped, it and its connections end.
#[derive(Debug)]
pub struct LocalHubs {
    namespace: Arc<Namespace>,
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl LocalHubs {
    /// Listens, and opens the hubs in the folder.
    pub async fn start(options: Options) -> io::Result<Self> {
        let namespace = Arc::new(Namespace::new(&options)?);
        let listener = listen(&options).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&namespace)));
        Ok(Self { namespace, address, tasks })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connection string for all hubs, or for one hub.
    pub fn connection_string(&self, hub: Option<&str>) -> String {
        let (key_name, key) = (&self.namespace.key_name, lock(&self.namespace.key));
        let entity = hub.map(|hub| format!(";EntityPath={hub}")).unwrap_or_default();
        format!(
            "Endpoint=sb://{};SharedAccessKeyName={key_name};SharedAccessKey={key};\
             UseDevelopmentEmulator=true{entity}",
            self.address
        )
    }

    /// For a client that comes with tokens of Entra ID.
    pub fn namespace_address(&self) -> String {
        format!("amqp://{}", self.address)
    }

    /// Accepts tokens of this authority only, from now on.
    pub fn trust(&self, trust: Trust) {
        *lock(&self.namespace.trust) = Some(trust);
    }

    /// Accepts new signatures of this key only, from now on. Tokens that were accepted before stay valid until they
    /// expire.
    pub fn replace_key(&self, key: &str) {
        key.clone_into(&mut lock(&self.namespace.key));
    }

    pub fn inject(&self, injection: Injection) {
        self.namespace.faults.add(injection);
    }

    /// Removes the pending faults.
    pub fn heal(&self) {
        self.namespace.faults.clear();
    }

    pub fn set_latency(&self, latency: Duration) {
        self.namespace.set_latency(latency);
    }

    pub fn create_hub(&self, name: &str, partitions: usize) -> io::Result<()> {
        self.namespace.create(name, partitions)
    }

    pub fn remove_hub(&self, name: &str) {
        self.namespace.remove(name);
    }

    /// Closes every TCP connection without a close frame.
    pub fn drop_connections(&self) {
        self.namespace.dropped.send_modify(|generation| *generation += 1);
    }

    /// Reads on from connections that a fault has stalled.
    pub fn resume(&self) {
        self.namespace.resumed.send_modify(|generation| *generation += 1);
    }

    /// Waits until at most this number of connections is open.
    pub async fn until_open(&self, at_most: usize) {
        let mut open = self.namespace.open.subscribe();
        // The sender lives as long as this value.
        drop(open.wait_for(|open| *open <= at_most).await);
    }

    /// The events of one partition.
    pub fn events(&self, hub: &str, partition: usize) -> Vec<StoredEvent> {
        let hub = self.namespace.hub(hub);
        let events = hub.as_ref().and_then(|hub| hub.partitions.get(partition));
        let events = events.map(|partition| partition.read(0, usize::MAX)).unwrap_or_default();
        let events = events.into_iter().map(|event| StoredEvent {
            sequence: event.sequence,
            partition_key: event.sent.partition_key().map(str::to_owned),
            bytes: event.sent.rest.to_vec(),
        });
        events.collect()
    }

    /// The number of events that a hub has received since it was created.
    pub fn count(&self, hub: &str) -> u64 {
        self.namespace.hub(hub).map_or(0, |hub| count(&hub))
    }

    /// Deliveries since the start, including refused ones.
    pub fn deliveries(&self) -> u64 {
        self.namespace.counters.deliveries.load(Ordering::Relaxed)
    }

    /// Connections since the start.
    pub fn connections(&self) -> u64 {
        self.namespace.counters.connections.load(Ordering::Relaxed)
    }

    /// Put-token requests since the start.
    pub fn tokens(&self) -> u64 {
        self.namespace.counters.tokens.load(Ordering::Relaxed)
    }

    /// Stops, with everything written so far in the folder.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    pub(crate) fn namespace(&self) -> Arc<Namespace> {
        Arc::clone(&self.namespace)
    }
}

pub(crate) fn count(hub: &crate::hub::Hub) -> u64 {
    let counts =
        hub.partitions.iter().map(|partition| partition.inspect(crate::log::Log::next_sequence));
    counts.map(i64::unsigned_abs).sum()
}

async fn listen(options: &Options) -> io::Result<TcpListener> {
    let address = SocketAddr::new(options.address, options.port);
    let Some(bytes) = options.receive_buffer else { return TcpListener::bind(address).await };
    // As `bind` does, with a buffer of another size.
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(bytes)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A connection, counted while it is open.
struct Open(Arc<Namespace>);

impl Open {
    fn new(namespace: Arc<Namespace>) -> Self {
        namespace.open.send_modify(|open| *open += 1);
        Self(namespace)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

async fn accept(listener: TcpListener, namespace: Arc<Namespace>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let dropped = namespace.dropped.subscribe();
                connections.spawn(until_dropped(stream, Arc::clone(&namespace), dropped));
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn until_dropped(
    stream: TcpStream,
    namespace: Arc<Namespace>,
    mut dropped: watch::Receiver<u64>,
) {
    let _open = Open::new(Arc::clone(&namespace));
    tokio::select! {
        ended = connection::serve(stream, namespace) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended");
            }
        }
        _ = dropped.changed() => {}
    }
}
