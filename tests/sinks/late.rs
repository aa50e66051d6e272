//! A message that is on its way for long does not become the last one of its document.
#![cfg(feature = "kafka")]

use std::time::Duration;

use cosmos_bridge_brokers::Kafka;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::history::remembering;
use crate::support::{Bridge, Pair, eventually};

/// Longer than a client needs to send what it may send at once.
const AT_ONCE: Duration = Duration::from_secs(8);

/// Forwards connections. What clients send on those that are open when it stalls is kept until it goes on.
struct Proxy {
    port: u16,
    /// The number of the last connection that is stalled.
    stalled: watch::Sender<u64>,
    opened: watch::Receiver<u64>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    async fn start(to: watch::Receiver<Option<u16>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stalled, is_stalled) = watch::channel(0);
        let (count, opened) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                let (number, to) = (*count.borrow(), *to.borrow());
                let Ok(server) = TcpStream::connect(("127.0.0.1", to.unwrap())).await else {
                    continue;
                };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (_, never) = watch::channel(0);
                connections.spawn(forward(from_client, to_server, number, is_stalled.clone()));
                connections.spawn(forward(from_server, to_client, number, never));
            }
        });
        Self { port, stalled, opened, _tasks: tasks }
    }

    fn stall(&self) {
        self.stalled.send_replace(*self.opened.borrow());
    }

    fn go_on(&self) {
        self.stalled.send_replace(0);
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    mut stalled: watch::Receiver<u64>,
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        // A sender that is gone stalls nothing.
        drop(stalled.wait_for(|last| number > *last).await);
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

fn version(n: u32) -> String {
    format!("{{\"id\":\"1\",\"region\":\"n\",\"version\":{n}}}\n")
}

async fn versions(kafka: &Kafka, count: Option<usize>) -> Vec<u64> {
    let messages = kafka.read("orders", count).await.unwrap();
    let version = |message: Value| {
        let body: Value = serde_json::from_str(message["value"].as_str().unwrap()).unwrap();
        body["version"].as_u64().unwrap()
    };
    messages.into_iter().map(version).collect()
}

/// The password of the client changes while the second version is on its way. The client with the new one
/// sends it again, and the third one; then the first client's message arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_client_that_was_replaced_is_not_the_last_one() {
    let (broker_port, known) = watch::channel(None);
    let proxy = Proxy::start(known).await;
    let kafka = Kafka::builder().user("writer", "planted-1").sasl_behind(proxy.port);
    let kafka = kafka.start().await.unwrap();
    let port = kafka.sasl_bootstrap().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
    broker_port.send_replace(Some(port));
    kafka.create_topic("orders", 1, &[]).await.unwrap();
    for operation in ["write", "describe"] {
        kafka.allow("writer", "orders", operation).await.unwrap();
    }
    let source = remembering(&["/region"], 1);
    let pair = Pair::start(&source, &source).await;
    let password = pair.folder.path().join("password");
    std::fs::write(&password, "planted-1").unwrap();
    let sinks = format!(
        "[sinks.kafka.events]\nservers = [\"127.0.0.1:{}\"]\ntopic = \"orders\"\n\
         request_timeout = \"2s\"\nsasl = {{ mechanism = \"SCRAM-SHA-512\", username = \"writer\", \
         password = {{ file = \"password\" }} }}\n",
        proxy.port
    );
    let start = "mode = \"all-versions-and-deletes\"\nstart = \"now\"\npoll_interval = \"50ms\"";
    let config = pair.configure_sinks(&sinks, "", start, "to = \"events\"");
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    pair.seed(&version(1));
    assert_eq!(versions(&kafka, Some(1)).await, [1]);

    proxy.stall();
    pair.seed(&version(2));
    eventually("no answer comes", || bridge.log().contains("not acknowledged within")).await;
    kafka.set_password("writer", "planted-2").await.unwrap();
    std::fs::write(&password, "planted-2").unwrap();
    bridge.signal("HUP");
    pair.seed(&version(3));
    eventually("the client is replaced", || bridge.log().contains("using the new ones")).await;
    let replaced = Instant::now();
    while replaced.elapsed() < AT_ONCE && versions(&kafka, None).await.len() < 3 {}
    proxy.go_on();
    let sent = versions(&kafka, Some(4)).await;
    assert_eq!(sent.last(), Some(&3), "{sent:?}");
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
}
