use std::path::Path;
use std::sync::Arc;

use super::event_sink;
use crate::config::{self, Sink};
use crate::identity::Identities;
use crate::model::TargetIdentity;

/// What a sink with these options refers to; `secret` is the content of the file `secret`.
async fn target(folder: &Path, kind: &str, options: &str, secret: &str) -> TargetIdentity {
    let write = |name, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("secret", secret);
    write("source.key", "a2V5");
    write("bridge.toml", &format!("{ACCOUNT}[sinks.{kind}.it]\n{options}\n{PIPELINE}"));
    let config = config::load(&folder.join("bridge.toml"));
    let config = config.unwrap_or_else(|error| panic!("{options}: {error:?}"));
    let Sink::Events(sink) = &config.sinks["it"] else { panic!("a container") };
    let identities = Arc::new(Identities::default());
    let built = event_sink("it", sink, config.sources_of("it"), &identities).await;
    let (_, _, target) = built.unwrap();
    // It is stored and shown.
    assert!(!target.to_string().contains("pa55"), "{target}");
    target
}

const AMQP: &str = "uri = { file = \"secret\" }\nexchange = \"changes\"";
const HUB: &str = "connection = { file = \"secret\" }\nhub = \"orders\"";
const KAFKA: &str = "servers = [\"one.example:9092\"]\ntopic = \"orders\"";
const REDIS: &str = "mode = \"set\"\nservers = [\"one.example:6379\"]\nkey = \"a:{id}\"";
const CLUSTER: &str =
    "mode = \"set\"\nservers = [\"one.example:6379\"]\nkey = \"a:{id}\"\ncluster = true";
const HTTP: &str = "url = \"https://one.example/orders\"";
const SECRET_HTTP: &str = "url = { file = \"secret\" }";

const URI: &str = "amqp://u:pa55@one.example/shop";
const CONNECTION: &str = "Endpoint=sb://one.example/;SharedAccessKeyName=send;SharedAccessKey=pa55";

/// A type of sink, its options, the content of its secret, and the texts that replace others there.
type Case = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

/// What decides where events go: stored positions do not hold at the other target.
const OTHER: [Case; 14] = [
    ("amqp", AMQP, URI, &[("one.example", "two.example")]),
    ("amqp", AMQP, URI, &[("/shop", "/store")]),
    ("amqp", AMQP, URI, &[("\"changes\"", "\"returns\"")]),
    ("eventhubs", HUB, CONNECTION, &[("one.example", "two.example")]),
    ("eventhubs", HUB, CONNECTION, &[("\"orders\"", "\"returns\"")]),
    ("kafka", KAFKA, "", &[("\"orders\"", "\"returns\"")]),
    ("redis", REDIS, "", &[("one.example", "two.example")]),
    ("redis", REDIS, "", &[("6379", "6380")]),
    ("redis", REDIS, "", &[("mode", "database = 3\nmode")]),
    ("redis", REDIS, "", &[("a:{id}", "b:{id}")]),
    ("http", HTTP, "", &[("one.example", "two.example")]),
    ("http", HTTP, "", &[("/orders", "/returns")]),
    ("http", SECRET_HTTP, "https://one.example/pa55", &[("one.example", "two.example")]),
    ("file", "path = \"one.jsonl\"", "", &[("one", "two")]),
];

/// What may change without another target: logins, and those of many servers that are named.
const SAME: [Case; 12] = [
    ("amqp", AMQP, URI, &[("u:pa55", "v:other")]),
    ("amqp", AMQP, URI, &[("one.example/", "one.example:5673/")]),
    ("amqp", AMQP, URI, &[("amqp:", "amqps:")]),
    ("amqp", AMQP, URI, &[("one.example", "ONE.example")]),
    ("eventhubs", HUB, CONNECTION, &[("=send", "=other"), ("=pa55", "=other")]),
    ("eventhubs", HUB, CONNECTION, &[("one.example", "ONE.example")]),
    (
        "eventhubs",
        HUB,
        CONNECTION,
        &[("\nhub = \"orders\"", ""), ("=pa55", "=pa55;EntityPath=orders")],
    ),
    ("kafka", KAFKA, "", &[("one.example", "two.example")]),
    ("redis", CLUSTER, "", &[("one.example", "two.example")]),
    ("http", HTTP, "", &[("/orders", "/orders?v=2")]),
    ("http", SECRET_HTTP, "https://one.example/pa55", &[("/pa55", "/other")]),
    ("file", "path = \"one.jsonl\"", "", &[("path", "rotate_bytes = \"1 MiB\"\npath")]),
];

async fn pair((kind, options, secret, replaced): Case) -> (TargetIdentity, TargetIdentity) {
    let (mut new_options, mut new_secret) = (options.to_owned(), secret.to_owned());
    for (from, to) in replaced {
        assert!(options.contains(from) || secret.contains(from), "{kind}: no {from}");
        new_options = new_options.replace(from, to);
        new_secret = new_secret.replace(from, to);
    }
    let folder = tempfile::tempdir().unwrap();
    let before = target(folder.path(), kind, options, secret).await;
    (before, target(folder.path(), kind, &new_options, &new_secret).await)
}

#[tokio::test]
async fn a_sink_that_goes_elsewhere_has_another_target() {
    for case in OTHER {
        let (before, after) = pair(case).await;
        assert_ne!(before.difference(&after), None, "{case:?}: {before}");
    }
}

#[tokio::test]
async fn a_sink_that_only_logs_in_otherwise_has_the_same_target() {
    for case in SAME {
        let (before, after) = pair(case).await;
        assert_eq!(before, after, "{case:?}");
    }
}

const ACCOUNT: &str = r#"
[accounts.source]
endpoint = "http://127.0.0.1:1"
key = { file = "source.key" }
"#;

const PIPELINE: &str = r#"
[pipelines.orders]
[pipelines.orders.source]
account = "source"
database = "shop"
container = "orders"
mode = "latest-version"
start = "beginning"
[[pipelines.orders.routes]]
to = "it"
"#;
