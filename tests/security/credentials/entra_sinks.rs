//! Sinks that authenticate with tokens of Entra ID.

use std::time::Duration;

use cosmos_bridge_brokers::{Issuer, Kafka};
use cosmos_bridge_eventhubs_local::{LocalHubs, Options, Trust};
use serde_json::Value;
use tokio::time::Instant;

use super::scene::*;
use crate::support::evidence::lines_at;
use crate::support::{Bridge, PATIENCE, eventually};

const HUBS: &str = "https://eventhubs.azure.net";
/// What the broker's tokens are for.
const BROKER: &str = "api://broker.example";
/// The client asks for another token after four fifths of its time, to the second, and proves itself
/// again after nine tenths; a broker allows that once a second.
const KAFKA_LIFETIME: Duration = Duration::from_secs(30);
/// Between the two moments is more than the second that the client needs to see that one has come.
const IDLE_LIFETIME: Duration = Duration::from_secs(20);

struct Hub {
    hubs: LocalHubs,
    scene: Scene,
}

impl Hub {
    async fn start() -> Self {
        let hubs = LocalHubs::start(Options::with_hub("orders", 2)).await.unwrap();
        let scene = Scene::start(NORTH, NORTH).await;
        scene.entra.secret(NORTH, APP, SECRET);
        scene.put("bridge.secret", SECRET);
        Self { hubs, scene }
    }

    /// Who may send: the role is assigned to these applications.
    fn assign(&self, senders: &[&str]) {
        let cosmos_bridge_emulator::Trust { tenant, key } = self.scene.entra.trust(NORTH);
        let senders = senders.iter().map(|&sender| sender.to_owned()).collect();
        self.hubs.trust(Trust { tenant, key, senders, receivers: Vec::new() });
    }

    fn configure(&self) -> std::path::PathBuf {
        let sink = format!(
            "[sinks.eventhubs.events]\ncredential = \"bridge\"\nnamespace = \"{}\"\nhub = \"orders\"\n",
            self.hubs.namespace_address()
        );
        self.scene.configure_sink(&self.scene.by_secret("bridge", NORTH), &sink)
    }
}

/// The changes that the bridge says it has delivered.
fn delivered(log: &str) -> u64 {
    let (_, rest) = log.rsplit_once(" delivered=").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

/// The hub detaches a link whose token has expired, so what arrives came with a later one.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_is_sent_to_through_expiries_on_one_connection() {
    let mut hub = Hub::start().await;
    hub.assign(&[APP]);
    let mut bridge = Bridge::start(&hub.configure(), &["run"]);
    let Hub { hubs, scene } = &mut hub;
    scene.busy_until("four tokens", &mut bridge, |scene| scene.entra.issued(NORTH) >= 4).await;
    let documents = scene.documents as u64;
    eventually("everything is in the hub", || hubs.count("orders") >= documents).await;
    let log = stopped(bridge).await;
    assert!(lines_at(&log, "WARN").is_empty(), "{log}");
    // Each version once.
    assert_eq!((hubs.count("orders"), hubs.connections()), (delivered(&log), 1), "{log}");
    let asked = scene.entra.asked();
    assert!(asked.iter().all(|asked| asked.resource == HUBS), "{asked:?}");
    assert!(hubs.tokens() >= 3, "{}", hubs.tokens());
}

/// The role is missing, is named, and is assigned while the bridge waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_role_is_named_and_waited_for() {
    let mut hub = Hub::start().await;
    hub.assign(&[]);
    let config = hub.configure();
    let ended = Bridge::command(&config, &["check", "--live"]).await;
    assert_eq!(ended.code(), Some(77), "{}", ended.log);
    let role = "needs the role \"Azure Event Hubs Data Sender\"";
    assert!(ended.log.contains(role), "{}", ended.log);

    let mut bridge = Bridge::start(&config, &["run"]);
    let waits = bridge.log_file();
    let says = |text: &str| std::fs::read_to_string(&waits).unwrap_or_default().contains(text);
    hub.scene.busy_until("it waits", &mut bridge, |_| says("failed writing to sink")).await;
    assert!(says("Azure Event Hubs Data Sender"), "{}", bridge.log());
    hub.assign(&[APP]);
    let documents = hub.scene.documents as u64;
    eventually("everything is in the hub", || hub.hubs.count("orders") >= documents).await;
    let log = stopped(bridge).await;
    assert_eq!(hub.hubs.count("orders"), delivered(&log), "{log}");
}

/// A broker of Apache Kafka that verifies tokens by the authority's keys, and ends a connection when
/// its token has expired.
struct Topic {
    kafka: Kafka,
    scene: Scene,
}

impl Topic {
    async fn start(lifetime: Duration) -> Self {
        let scene = Scene::start(NORTH, NORTH).await;
        scene.entra.lifetime(lifetime);
        let issuer = Issuer {
            issuer: format!("https://sts.windows.net/{NORTH}/"),
            audience: BROKER.to_owned(),
            jwks: scene.entra.jwks(),
        };
        let kafka = Kafka::builder().user("other", "unused").issuer(issuer).start().await.unwrap();
        kafka.create_topic("orders", 2, &[]).await.unwrap();
        for operation in ["write", "describe"] {
            kafka.allow(&format!("object-of-{APP}"), "orders", operation).await.unwrap();
        }
        scene.entra.secret(NORTH, APP, SECRET);
        scene.put("bridge.secret", SECRET);
        Self { kafka, scene }
    }

    fn configure(&self) -> std::path::PathBuf {
        let sink = format!(
            "[sinks.kafka.events]\nservers = [\"{}\"]\ntopic = \"orders\"\ncredential = \"bridge\"\n\
             scope = \"{BROKER}/.default\"\n",
            self.kafka.sasl_bootstrap().unwrap()
        );
        self.scene.configure_sink(&self.scene.by_secret("bridge", NORTH), &sink)
    }

    /// All documents are in the topic, and no request was refused.
    async fn finish(self, bridge: Bridge) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = distinct(&self.kafka.read("orders", None).await.unwrap());
            if found == self.scene.documents {
                break;
            }
            let documents = self.scene.documents;
            assert!(Instant::now() < deadline, "{found} of {documents}:\n{}", bridge.log());
        }
        let log = stopped(bridge).await;
        assert!(lines_at(&log, "ERROR").is_empty(), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_written_to_through_expiries() {
    let mut topic = Topic::start(KAFKA_LIFETIME).await;
    let mut bridge = Bridge::start(&topic.configure(), &["run"]);
    // At half of their time: the first two have ended when there are four.
    let scene = &mut topic.scene;
    scene.busy_until("four tokens", &mut bridge, |scene| scene.entra.issued(NORTH) >= 4).await;
    topic.finish(bridge).await;
}

/// Only the client asks for tokens then, towards the end of the last one: it is given the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_news_stays_open_through_expiries() {
    let mut topic = Topic::start(IDLE_LIFETIME).await;
    let mut bridge = Bridge::start(&topic.configure(), &["run"]);
    let scene = &mut topic.scene;
    scene.busy_until("one token", &mut bridge, |scene| scene.entra.issued(NORTH) >= 1).await;
    eventually("three tokens", || scene.entra.issued(NORTH) >= 3).await;
    scene.busy_until("four tokens", &mut bridge, |scene| scene.entra.issued(NORTH) >= 4).await;
    topic.finish(bridge).await;
}

/// The number of distinct documents in the messages.
fn distinct(messages: &[Value]) -> usize {
    let id = |message: &Value| {
        let text = message["value"].as_str().unwrap();
        serde_json::from_str::<Value>(text).unwrap()["id"].as_str().unwrap().to_owned()
    };
    messages.iter().map(id).collect::<std::collections::BTreeSet<_>>().len()
}
