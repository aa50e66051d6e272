//! Secrets of sinks that change while the bridge runs. If both secrets are valid for a while and SIGHUP is sent,
//! no request fails; otherwise the target refuses for a while, and no change is lost either.

use std::collections::BTreeSet;

use cosmos_bridge_brokers::{Endpoint, Kafka, Rabbit, Redis};
use cosmos_bridge_eventhubs_local::{LocalHubs, Options, python};
use serde_json::Value;
use tokio::time::Instant;

use super::scene::*;
use crate::support::evidence::lines_at;
use crate::support::{Bridge, PATIENCE, eventually};

const CHANGED: &str = "the sink's secrets have changed; using the new ones";
const FAILING: &str = "failed writing to sink `events`";

/// The ids of the documents in JSON texts.
pub(crate) fn ids<'t>(texts: impl Iterator<Item = &'t str>) -> BTreeSet<String> {
    let id = |text| {
        let document: Value = serde_json::from_str(text).unwrap();
        document["id"].as_str().unwrap().to_owned()
    };
    texts.map(id).collect()
}

/// Checks that no version of the document that changes all the time came after a later one.
fn are_in_order<'t>(texts: impl Iterator<Item = &'t str>) {
    let documents = texts.map(|text| serde_json::from_str::<Value>(text).unwrap());
    let versions = documents.filter(|document| document["id"] == "0");
    let versions: Vec<_> = versions.map(|document| document["n"].as_u64().unwrap()).collect();
    assert!(versions.is_sorted() && versions.len() > 2, "{versions:?}");
}

fn bodies(messages: &[Value]) -> BTreeSet<String> {
    ids(messages.iter().map(|message| message["body"].as_str().unwrap()))
}

fn values(messages: &[Value]) -> BTreeSet<String> {
    ids(messages.iter().map(|message| message["value"].as_str().unwrap()))
}

/// How often the log reports a changed secret.
pub(crate) fn changes(bridge: &Bridge) -> usize {
    bridge.log().matches(CHANGED).count()
}

pub(crate) async fn until_changed(scene: &mut Scene, bridge: &mut Bridge, times: usize) {
    let log = bridge.log_file();
    let count = || std::fs::read_to_string(&log).unwrap_or_default().matches(CHANGED).count();
    scene.busy_until(CHANGED, bridge, |_| count() >= times).await;
}

pub(crate) async fn until_failing(scene: &mut Scene, bridge: &mut Bridge) {
    let log = bridge.log_file();
    let fails = || std::fs::read_to_string(&log).unwrap_or_default().contains(FAILING);
    scene.busy_until(FAILING, bridge, |_| fails()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bearer_token_of_an_endpoint() {
    let mut scene = Scene::start(NORTH, NORTH).await;
    let endpoint = Endpoint::start().await.unwrap();
    endpoint.takes(&["planted-1"]).unwrap();
    scene.put("bearer", "planted-1");
    let sink = format!(
        "[sinks.http.events]\nurl = \"{}\"\nbearer = {{ file = \"bearer\" }}\n",
        endpoint.url()
    );
    let mut bridge = Bridge::start(&scene.configure_sink("", &sink), &["run"]);
    let taken = |with: &str| {
        let bearer = format!("Bearer {with}");
        let all = endpoint.taken().unwrap();
        all.into_iter().filter(|request| request.headers["authorization"] == *bearer).count()
    };
    scene.busy_until("it posts", &mut bridge, |_| taken("planted-1") > 20).await;

    // Both are taken for a while.
    endpoint.takes(&["planted-1", "planted-2"]).unwrap();
    scene.put("bearer", "planted-2");
    bridge.signal("HUP");
    until_changed(&mut scene, &mut bridge, 1).await;
    endpoint.takes(&["planted-2"]).unwrap();
    scene.busy_until("it posts", &mut bridge, |_| taken("planted-2") > 20).await;
    assert!(lines_at(&bridge.log(), "WARN").is_empty(), "{}", bridge.log());

    // Without an overlap and without a signal.
    endpoint.takes(&["planted-3"]).unwrap();
    until_failing(&mut scene, &mut bridge).await;
    scene.put("bearer", "planted-3");
    until_changed(&mut scene, &mut bridge, 2).await;
    let documents = scene.documents;
    let arrived = || {
        let taken = endpoint.taken().unwrap();
        ids(taken.iter().map(|request| request.body.as_str())).len()
    };
    eventually("everything is there", || arrived() == documents).await;
    are_in_order(endpoint.taken().unwrap().iter().map(|request| request.body.as_str()));
    assert_eq!(changes(&bridge), 2);
    let log = stopped(bridge).await;
    assert!(log.contains("the endpoint answered 401"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_a_user_of_rabbitmq() {
    let mut scene = Scene::start(NORTH, NORTH).await;
    let rabbit = Rabbit::start().await.unwrap();
    rabbit.create_exchange("changes", "topic").await.unwrap();
    rabbit.create_queue("all", Some(("changes", "#"))).await.unwrap();
    rabbit.ctl(&["add_user", "writer", "planted-1"]).await.unwrap();
    rabbit.ctl(&["set_permissions", "writer", "", ".*", ".*"]).await.unwrap();
    let uri = |password: &str| format!("amqp://writer:{password}@127.0.0.1:{}/%2f", rabbit.port());
    scene.put("uri", &uri("planted-1"));
    let sink = "[sinks.amqp.events]\nuri = { file = \"uri\" }\nexchange = \"changes\"\n";
    let mut bridge = Bridge::start(&scene.configure_sink("", sink), &["run"]);
    scene.grow();
    let mut arrived = rabbit.read("all", Some(20)).await.unwrap();

    // The broker leaves open connections alone, so an operator has all the time.
    rabbit.ctl(&["change_password", "writer", "planted-2"]).await.unwrap();
    scene.put("uri", &uri("planted-2"));
    bridge.signal("HUP");
    until_changed(&mut scene, &mut bridge, 1).await;
    assert!(lines_at(&bridge.log(), "WARN").is_empty(), "{}", bridge.log());

    rabbit.ctl(&["change_password", "writer", "planted-3"]).await.unwrap();
    rabbit.close_all_connections().await.unwrap();
    until_failing(&mut scene, &mut bridge).await;
    scene.put("uri", &uri("planted-3"));
    until_changed(&mut scene, &mut bridge, 2).await;
    // What a lost connection repeated comes, too.
    loop {
        let missing = scene.documents - bodies(&arrived).len();
        if missing == 0 {
            break;
        }
        arrived.extend(rabbit.read("all", Some(missing)).await.unwrap());
    }
    are_in_order(arrived.iter().map(|message| message["body"].as_str().unwrap()));
    stopped(bridge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_a_user_of_redis() {
    let mut scene = Scene::start(NORTH, NORTH).await;
    let redis = Redis::start().await.unwrap();
    let user = ["ACL", "SETUSER", "writer", "on", ">planted-1", "~*", "+@all"];
    redis.cli(&user).await.unwrap();
    scene.put("password", "planted-1");
    let sink = format!(
        "[sinks.redis.events]\nmode = \"set\"\nservers = [\"127.0.0.1:{}\"]\nkey = \"order:{{id}}\"\n\
         username = \"writer\"\npassword = {{ file = \"password\" }}\n",
        redis.port()
    );
    let mut bridge = Bridge::start(&scene.configure_sink("", &sink), &["run"]);
    scene.grow();
    let written = async |redis: &Redis| redis.values("order:*").await.unwrap().len();
    while written(&redis).await < 20 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }

    // A user has several passwords while they are changed, and connections outlive them.
    redis.cli(&["ACL", "SETUSER", "writer", ">planted-2"]).await.unwrap();
    scene.put("password", "planted-2");
    bridge.signal("HUP");
    until_changed(&mut scene, &mut bridge, 1).await;
    redis.cli(&["ACL", "SETUSER", "writer", "<planted-1"]).await.unwrap();
    assert!(lines_at(&bridge.log(), "WARN").is_empty(), "{}", bridge.log());

    // Without an overlap and without a signal.
    redis.cli(&["ACL", "SETUSER", "writer", "resetpass", ">planted-3"]).await.unwrap();
    redis.cli(&["CLIENT", "KILL", "USER", "writer"]).await.unwrap();
    until_failing(&mut scene, &mut bridge).await;
    scene.put("password", "planted-3");
    until_changed(&mut scene, &mut bridge, 2).await;
    while written(&redis).await < scene.documents {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let log = stopped(bridge).await;
    assert!(log.contains("the server refused user name or password"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_a_user_of_kafka() {
    let mut scene = Scene::start(NORTH, NORTH).await;
    let mut kafka = Kafka::builder().user("writer", "planted-1").start().await.unwrap();
    kafka.create_topic("orders", 2, &[]).await.unwrap();
    for operation in ["write", "describe"] {
        kafka.allow("writer", "orders", operation).await.unwrap();
    }
    scene.put("password", "planted-1");
    let sink = format!(
        "[sinks.kafka.events]\nservers = [\"{}\"]\ntopic = \"orders\"\nsasl = {{ mechanism = \
         \"SCRAM-SHA-512\", username = \"writer\", password = {{ file = \"password\" }} }}\n",
        kafka.sasl_bootstrap().unwrap()
    );
    let mut bridge = Bridge::start(&scene.configure_sink("", &sink), &["run"]);
    scene.grow();
    kafka.read("orders", Some(20)).await.unwrap();

    kafka.set_password("writer", "planted-2").await.unwrap();
    scene.put("password", "planted-2");
    bridge.signal("HUP");
    until_changed(&mut scene, &mut bridge, 1).await;
    let log = bridge.log();
    assert!(lines_at(&log, "ERROR").is_empty() && !log.contains(FAILING), "{log}");

    // The broker knows the old password no more, and after a restart it wants one.
    kafka.set_password("writer", "planted-3").await.unwrap();
    kafka.restart().await.unwrap();
    until_failing(&mut scene, &mut bridge).await;
    scene.put("password", "planted-3");
    until_changed(&mut scene, &mut bridge, 2).await;
    // What the restart repeated comes, too.
    let mut count = scene.documents;
    let messages = loop {
        let messages = kafka.read("orders", Some(count)).await.unwrap();
        let missing = scene.documents - values(&messages).len();
        if missing == 0 {
            break messages;
        }
        count += missing;
    };
    are_in_order(messages.iter().map(|message| message["value"].as_str().unwrap()));
    stopped(bridge).await;
}

/// The events of the hub, those of each partition in order, once every document is there.
async fn events(hubs: &LocalHubs, documents: usize) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let events = python::read(&hubs.connection_string(None), "orders", &[]).await.unwrap();
        let arrived = bodies(&events).len();
        if arrived == documents {
            return events;
        }
        assert!(Instant::now() < deadline, "{arrived} of {documents} documents");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_string_of_a_hub() {
    let mut scene = Scene::start(NORTH, NORTH).await;
    let hubs = LocalHubs::start(Options::with_hub("orders", 2)).await.unwrap();
    scene.put("connection", &hubs.connection_string(None));
    let sink =
        "[sinks.eventhubs.events]\nconnection = { file = \"connection\" }\nhub = \"orders\"\n";
    let mut bridge = Bridge::start(&scene.configure_sink("", sink), &["run"]);
    scene.busy_until("it sends", &mut bridge, |_| hubs.count("orders") > 20).await;

    hubs.replace_key("cGxhbnRlZC1rZXktMg==");
    scene.put("connection", &hubs.connection_string(None));
    bridge.signal("HUP");
    until_changed(&mut scene, &mut bridge, 1).await;
    assert!(lines_at(&bridge.log(), "WARN").is_empty(), "{}", bridge.log());

    hubs.replace_key("cGxhbnRlZC1rZXktMw==");
    hubs.drop_connections();
    until_failing(&mut scene, &mut bridge).await;
    scene.put("connection", &hubs.connection_string(None));
    until_changed(&mut scene, &mut bridge, 2).await;
    // All versions of a document are in one partition, of which the reader keeps the order.
    let events = events(&hubs, scene.documents).await;
    are_in_order(events.iter().map(|event| event["body"].as_str().unwrap()));
    let log = stopped(bridge).await;
    assert!(!log.contains("cGxhbnRlZC"), "{log}");
}
