//! A message that is on its way for long does not become the last one of its document.
#![cfg(feature = "kafka")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_brokers::Kafka;
use cosmos_bridge_emulator::chance::Chance;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::proxy::Proxy;
use crate::support::history::{announce, remembering};
use crate::support::{Bridge, PATIENCE, Pair, eventually};

/// Longer than a client needs to send what it may send at once.
const AT_ONCE: Duration = Duration::from_secs(8);

/// A bridge that sends to a broker through a proxy.
struct Shop {
    proxy: Proxy,
    kafka: Kafka,
    pair: Pair,
    config: PathBuf,
    bridge: Bridge,
    passwords: usize,
    /// The last version of each document.
    versions: BTreeMap<u64, u64>,
}

impl Shop {
    async fn open() -> Self {
        let (broker_port, known) = watch::channel(None);
        let proxy = Proxy::start(known).await;
        let kafka = Kafka::builder().user("writer", "planted-0").sasl_behind(proxy.port);
        let kafka = kafka.start().await.unwrap();
        let port = kafka.sasl_bootstrap().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
        broker_port.send_replace(Some(port));
        kafka.create_topic("orders", 1, &[]).await.unwrap();
        for operation in ["write", "describe"] {
            kafka.allow("writer", "orders", operation).await.unwrap();
        }
        let source = remembering(&["/region"], 1);
        let pair = Pair::start(&source, &source).await;
        std::fs::write(pair.folder.path().join("password"), "planted-0").unwrap();
        let sinks = format!(
            "[sinks.kafka.events]\nservers = [\"127.0.0.1:{}\"]\ntopic = \"orders\"\n\
             request_timeout = \"2s\"\nsasl = {{ mechanism = \"SCRAM-SHA-512\", username = \"writer\", \
             password = {{ file = \"password\" }} }}\n",
            proxy.port
        );
        let start =
            "mode = \"all-versions-and-deletes\"\nstart = \"now\"\npoll_interval = \"50ms\"";
        let config = pair.configure_sinks(&sinks, "", start, "to = \"events\"");
        let bridge = Bridge::start(&config, &["run"]);
        eventually("the bridge reads", || pair.is_reading()).await;
        Self { proxy, kafka, pair, config, bridge, passwords: 0, versions: BTreeMap::new() }
    }

    /// Writes the next version of documents to the source.
    fn change(&mut self, documents: impl IntoIterator<Item = u64>) {
        let mut lines = String::new();
        for id in documents {
            let version = self.versions.entry(id).or_default();
            *version += 1;
            let line = json!({"id": id.to_string(), "region": "n", "version": version});
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        self.pair.seed(&lines);
    }

    /// Waits until the last message of each document is its last version.
    async fn all_is_sent(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sent = sent(&self.kafka, None).await;
            let last = |id: &u64| sent.get(id).and_then(|versions| versions.last());
            if self.versions.iter().all(|(id, version)| last(id) == Some(version)) {
                return;
            }
            assert!(Instant::now() < deadline, "not everything is sent:\n{}", self.bridge.log());
        }
    }

    /// Lets the bridge close its client and use another one.
    async fn replace_client(&mut self) {
        self.passwords += 1;
        let password = format!("planted-{}", self.passwords);
        self.kafka.set_password("writer", &password).await.unwrap();
        std::fs::write(self.pair.folder.path().join("password"), password).unwrap();
        self.bridge.signal("HUP");
        let replaced = || self.logged("using the new ones") == self.passwords;
        eventually("the client is replaced", replaced).await;
    }

    fn logged(&self, text: &str) -> usize {
        self.bridge.log().matches(text).count()
    }

    /// Waits for a message that is not answered in time.
    async fn unanswered(&self, before: usize) {
        let is_late = || self.logged("not acknowledged within") > before;
        eventually("no answer comes", is_late).await;
    }
}

/// The versions that the topic holds of each document, in their order.
async fn sent(kafka: &Kafka, count: Option<usize>) -> BTreeMap<u64, Vec<u64>> {
    let mut sent: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for message in kafka.read("orders", count).await.unwrap() {
        let body: Value = serde_json::from_str(message["value"].as_str().unwrap()).unwrap();
        let id = body["id"].as_str().unwrap().parse().unwrap();
        sent.entry(id).or_default().push(body["version"].as_u64().unwrap());
    }
    sent
}

/// The password of the client changes while the second version is on its way. The client with the new one
/// sends it again, and the third one; then the first client's message arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_client_that_was_replaced_is_not_the_last_one() {
    let mut shop = Shop::open().await;
    shop.change([1]);
    assert_eq!(sent(&shop.kafka, Some(1)).await[&1], [1]);

    shop.proxy.stall();
    shop.change([1]);
    shop.unanswered(0).await;
    shop.change([1]);
    shop.replace_client().await;
    let replaced = Instant::now();
    while replaced.elapsed() < AT_ONCE && sent(&shop.kafka, None).await[&1].len() < 3 {}
    shop.proxy.go_on();
    let sent = sent(&shop.kafka, Some(4)).await;
    assert_eq!(sent[&1].last(), Some(&3), "{sent:?}");
    shop.bridge.terminate();
    let ended = shop.bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
}

const DOCUMENTS: u64 = 1000;
const SEED: u64 = 11;

/// How often the proxy disturbs the bridge: it holds messages back, with and without another client, and
/// cuts the connection, in turn.
#[expect(clippy::disallowed_methods, reason = "the size of a test, not configuration")]
fn rounds() -> u64 {
    let set = std::env::var("COSMOS_BRIDGE_LATE_ROUNDS").ok();
    set.map_or(3, |count| count.parse().expect("a number of rounds"))
}

/// Each document changes at times of its own, before, while and after a connection is held back or cut,
/// and before and after the client is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_message_of_every_document_is_its_last_version() {
    announce(&format!("seed {SEED}"));
    let mut chance = Chance::new(SEED);
    let some = |chance: &mut Chance| -> Vec<u64> {
        let one_in = 2 + chance.below(6);
        (0..DOCUMENTS).filter(|_| chance.one_in(one_in)).collect()
    };
    let mut shop = Shop::open().await;
    shop.change(0..DOCUMENTS);
    for round in 0..rounds() {
        // What the proxy holds back is then changes, and not the greetings of a client.
        shop.all_is_sent().await;
        let before = shop.logged("not acknowledged within");
        if round % 3 == 2 {
            shop.change(some(&mut chance));
            shop.proxy.cut();
        } else {
            shop.proxy.stall();
        }
        shop.change(some(&mut chance));
        if round % 3 != 2 {
            shop.unanswered(before).await;
        }
        shop.change(some(&mut chance));
        if round % 3 != 1 {
            shop.replace_client().await;
        }
        shop.change(some(&mut chance));
        let wait = Instant::now() + Duration::from_millis(chance.below(8000));
        eventually("the proxy holds back", || Instant::now() > wait).await;
        shop.proxy.go_on();
        shop.change(some(&mut chance));
    }
    let Shop { proxy: _proxy, kafka, pair: _pair, config, bridge, versions, .. } = shop;
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    let sent = sent(&kafka, None).await;
    let repeated = sent.values().flatten().count() as u64 - versions.values().sum::<u64>();
    announce(&format!("{repeated} messages were sent again"));
    for (id, last) in &versions {
        assert_eq!(sent[id].last(), Some(last), "document {id}: {:?}", sent[id]);
    }
    assert!(repeated > 0 || rounds() == 0, "nothing was late");
}
