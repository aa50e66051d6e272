//! The suite that every sink passes, read with the official Python client.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_conformance::{Harness, Outage, Received, conforms};
use cosmos_bridge_eventhubs_local::{LocalHubs, Options, python};
use cosmos_bridge_sink::Sink;
use serde_json::Value;
use support::{HUB, sink};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A proxy to the hub for the sink only: it can be closed while the reader still has access.
struct Proxy {
    address: SocketAddr,
    to: SocketAddr,
    tasks: Mutex<JoinSet<()>>,
}

impl Proxy {
    async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(pass(listener, to));
        Self { address, to, tasks: Mutex::new(tasks) }
    }
}

async fn pass(listener: TcpListener, to: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((mut from, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut to = TcpStream::connect(to).await.unwrap();
            // Ends when either side ends, with or without an error.
            drop(copy_bidirectional(&mut from, &mut to).await);
        });
    }
}

#[async_trait]
impl Outage for Proxy {
    async fn begin(&self) {
        self.tasks.lock().await.shutdown().await;
    }

    async fn end(&self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.tasks.lock().await.spawn(pass(listener, self.to));
    }
}

struct Hub {
    connection: String,
    proxy: Proxy,
    lines: Mutex<Lines<BufReader<ChildStdout>>>,
    _reader: Child,
    _hubs: LocalHubs,
}

impl Hub {
    async fn start() -> Self {
        let hubs = LocalHubs::start(Options::with_hub(HUB, 4)).await.unwrap();
        let proxy = Proxy::start(hubs.address()).await;
        let direct = hubs.connection_string(None);
        let connection = direct.replace(&hubs.address().to_string(), &proxy.address.to_string());
        // Reads continuously, and never reaches its limit.
        let mut command = Command::new(python::interpreter().await.unwrap());
        command.arg(python::script("read_hub.py")).args([&direct, HUB, "--count", "1000000"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut reader = command.spawn().unwrap();
        let lines = BufReader::new(reader.stdout.take().unwrap()).lines();
        Self { connection, proxy, lines: Mutex::new(lines), _reader: reader, _hubs: hubs }
    }
}

fn received(line: &str) -> Received {
    let event: Value = serde_json::from_str(line).unwrap();
    let properties = event["properties"].as_object().unwrap();
    let attributes = properties.iter().map(|(name, value)| {
        let name = name.strip_prefix("cloudEvents_").unwrap_or(name);
        (name.to_owned(), value.as_str().unwrap().to_owned())
    });
    let attributes: Vec<(String, String)> = attributes.collect();
    let attribute = |name: &str| {
        let found = attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    // The id must be the same in all places.
    assert_eq!(event["message_id"].as_str(), attribute("id").as_deref());
    assert_eq!(event["content_type"], "application/json");
    let body = event["body"].as_str().unwrap().as_bytes().to_vec();
    Received { document: attribute("subject").unwrap(), body: Some(body), attributes }
}

#[async_trait]
impl Harness for Hub {
    async fn open(&self) -> Arc<dyn Sink> {
        Arc::new(sink(&self.connection))
    }

    async fn received(&self, at_least: usize) -> Vec<Received> {
        let mut lines = self.lines.lock().await;
        let mut all = Vec::new();
        loop {
            // The first events arrive when the reader has started; surplus events arrive immediately.
            let patience = Duration::from_millis(if all.len() < at_least { 20_000 } else { 200 });
            match timeout(patience, lines.next_line()).await {
                Ok(line) => all.push(received(&line.unwrap().unwrap())),
                Err(_) => return all,
            }
        }
    }

    fn too_large(&self) -> Option<usize> {
        Some(2 * 1024 * 1024)
    }

    fn outage(&self) -> Option<&dyn Outage> {
        Some(&self.proxy)
    }
}

#[tokio::test]
async fn the_sink_conforms() {
    conforms(&Hub::start().await).await.unwrap();
}
