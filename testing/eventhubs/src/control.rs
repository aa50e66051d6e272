//! The control port of the binary: one JSON object per line, each answered by one line.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::fault::Injection;
use crate::local::{LocalHubs, count};
use crate::namespace::Namespace;

/// The commands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Command {
    /// Faults in the answers to events.
    Inject(Injection),
    /// Removes all faults.
    Heal {},
    /// Sets the delay of every answer.
    Latency {
        milliseconds: u64,
    },
    /// Ends every connection.
    Drop {},
    /// Reads on from connections that a fault has stalled.
    Resume {},
    /// Adds a hub.
    Create {
        hub: String,
        partitions: usize,
    },
    Remove {
        hub: String,
    },
    /// Only returns the counters, which every answer contains.
    Status {},
}

/// A listening control port. Dropped, it ends.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Control {
    pub async fn start(hubs: &LocalHubs, address: IpAddr, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((address, port)).await?;
        let address = listener.local_addr()?;
        let namespace = hubs.namespace();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&namespace)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, tasks })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn serve(stream: TcpStream, namespace: Arc<Namespace>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match obey(&line, &namespace) {
            Ok(()) => status(&namespace),
            Err(error) => json!({"error": error}),
        };
        if write.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

fn obey(line: &str, namespace: &Namespace) -> Result<(), String> {
    match serde_json::from_str(line).map_err(|error| error.to_string())? {
        Command::Inject(injection) => namespace.faults.add(injection),
        Command::Heal {} => namespace.faults.clear(),
        Command::Latency { milliseconds } => {
            namespace.set_latency(Duration::from_millis(milliseconds));
        }
        Command::Drop {} => namespace.dropped.send_modify(|generation| *generation += 1),
        Command::Resume {} => namespace.resumed.send_modify(|generation| *generation += 1),
        Command::Create { hub, partitions } => {
            namespace.create(&hub, partitions).map_err(|error| error.to_string())?;
        }
        Command::Remove { hub } => namespace.remove(&hub),
        Command::Status {} => {}
    }
    Ok(())
}

fn status(namespace: &Namespace) -> serde_json::Value {
    let hubs: BTreeMap<String, u64> =
        namespace.hubs().iter().map(|hub| (hub.name.clone(), count(hub))).collect();
    let counters = &namespace.counters;
    json!({
        "events": hubs,
        "open": *namespace.open.borrow(),
        "connections": counters.connections.load(Ordering::Relaxed),
        "deliveries": counters.deliveries.load(Ordering::Relaxed),
        "tokens": counters.tokens.load(Ordering::Relaxed),
    })
}
