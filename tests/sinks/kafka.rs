//! Changes from a container in Apache Kafka, written by the real binary and read back by independent clients.
#![cfg(feature = "kafka")]

use cosmos_bridge_brokers::{Binding, Kafka, cloud_events};
use cosmos_bridge_emulator::orders::Orders;
use cosmos_bridge_emulator::world::ContainerSettings;
use serde_json::{Value, json};

use crate::support::history::remembering;
use crate::support::{Bridge, Pair, eventually};

const BEGINNING: &str = "start = \"beginning\"";
const ALL_VERSIONS: &str = "mode = \"all-versions-and-deletes\"\nstart = \"now\"";
const ARCHIVE: &str = "[sinks.cosmos.archive]\naccount = \"target\"\ndatabase = \"shop\"\n\
                       container = \"copies\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_document_arrives_beside_the_copy() {
    let kafka = Kafka::start().await.unwrap();
    kafka.create_topic("shop.orders", 3, &[]).await.unwrap();
    let settings = ContainerSettings::new(&["/orderId"], 2);
    let pair = Pair::start(&settings, &settings).await;
    let orders = Orders::new(4);
    pair.seed(&(1..=2000).map(|number| orders.text(number) + "\n").collect::<String>());
    let sinks = format!(
        "{ARCHIVE}[sinks.kafka.events]\nservers = [\"{}\"]\ntopic = \"{{database}}.{{container}}\"\n\
         headers = {{ number = \"{{/orderId}}\" }}\n",
        kafka.bootstrap()
    );
    let routes = "to = \"archive\"\n[[pipelines.orders.routes]]\nto = \"events\"";
    let config = pair.configure_sinks(&sinks, "", BEGINNING, routes);
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(pair.is_equal());
    // The client warns of an option that the sink itself sets. A broker that has just started may add a warning.
    assert!(!ended.log.contains("enable.gapless.guarantee"), "{}", ended.log);

    let messages = kafka.read("shop.orders", Some(2000)).await.unwrap();
    let events = cloud_events(Binding::Kafka, &messages).await.unwrap();
    let mut data: Vec<String> = events.iter().map(|event| event.data.to_string()).collect();
    let mut expected: Vec<String> =
        (1..=2000).map(|number| orders.order(number).to_string()).collect();
    data.sort();
    expected.sort();
    assert_eq!(data, expected);
    let (first, event) = (&messages[0], &events[0]);
    assert_eq!(event.attributes["specversion"], "1.0");
    assert_eq!(event.attributes["type"], "io.github.cosmos-bridge.document.upsert");
    assert_eq!(first["headers"]["number"], event.data["orderId"].to_string().trim_matches('"'));
    assert!(first["headers"]["traceparent"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_tells_of_every_version_and_delete_in_order() {
    let kafka = Kafka::start().await.unwrap();
    kafka.create_topic("orders", 3, &[]).await.unwrap();
    let source = remembering(&["/region"], 1);
    let pair = Pair::start(&source, &source).await;
    let sinks = format!(
        "[sinks.kafka.events]\nservers = [\"{}\"]\ntopic = \"orders\"\ntombstones = true\n",
        kafka.bootstrap()
    );
    let config = pair.configure_sinks(&sinks, "", ALL_VERSIONS, "to = \"events\"");
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || pair.is_reading()).await;
    for state in ["new", "paid", "sent"] {
        pair.seed(&format!("{{\"id\":\"1\",\"region\":\"n\",\"state\":\"{state}\"}}\n"));
    }
    pair.delete("1");
    let messages = kafka.read("orders", Some(4)).await.unwrap();
    bridge.kill().await;
    let states: Vec<Value> = messages
        .iter()
        .map(|message| match message["value"].as_str() {
            Some(text) => serde_json::from_str::<Value>(text).unwrap()["state"].clone(),
            None => Value::Null,
        })
        .collect();
    assert_eq!(states, [json!("new"), json!("paid"), json!("sent"), Value::Null]);
    assert!(messages.iter().all(|message| message["key"] == "n/1"), "{messages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_that_the_topic_is_missing() {
    let kafka = Kafka::start().await.unwrap();
    let settings = ContainerSettings::new(&["/orderId"], 1);
    let pair = Pair::start(&settings, &settings).await;
    let sinks = format!(
        "[sinks.kafka.events]\nservers = [\"{}\"]\ntopic = \"orders\"\n",
        kafka.bootstrap()
    );
    let config = pair.configure_sinks(&sinks, "", BEGINNING, "to = \"events\"");
    let ended = Bridge::start(&config, &["check", "--live"]).ended().await;
    assert_eq!(ended.code(), Some(66), "{}", ended.log);
    assert!(ended.log.contains("topic `orders`: the topic does not exist"), "{}", ended.log);
    assert!(ended.log.contains("Create the topic, or correct `topic`"), "{}", ended.log);
}

/// The names of fields are part of the sink's templates, too: a wrong one would make a dead letter of every
/// document.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_refuses_a_key_that_no_document_has() {
    let kafka = Kafka::start().await.unwrap();
    kafka.create_topic("orders", 1, &[]).await.unwrap();
    let settings = ContainerSettings::new(&["/orderId"], 1);
    let pair = Pair::start(&settings, &settings).await;
    for number in 0..9 {
        pair.seed(&format!("{{\"id\":\"{number}\",\"orderId\":{number}}}\n"));
    }
    for (key, code, words) in [
        (
            "{/order_id}",
            78,
            "9 of 9 documents of a sample would become dead letters: no key: field /order_id is \
             missing (9)",
        ),
        ("{/orderId}", 0, "everything works; nothing was written"),
    ] {
        let sinks = format!(
            "[sinks.kafka.events]\nservers = [\"{}\"]\ntopic = \"orders\"\nkey = \"{key}\"\n",
            kafka.bootstrap()
        );
        let config = pair.configure_sinks(&sinks, "", BEGINNING, "to = \"events\"");
        let ended = Bridge::command(&config, &["check", "--live"]).await;
        assert_eq!(ended.code(), Some(code), "{}", ended.log);
        assert!(ended.log.contains(words), "{}", ended.log);
    }
    assert_eq!(kafka.read("orders", Some(0)).await.unwrap().len(), 0);
}
