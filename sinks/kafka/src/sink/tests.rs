//! The sink with the client's own imitation of a cluster, which can be told what to answer.

use cosmos_bridge_options::from_toml;
use rdkafka::mocking::MockCluster;

use super::*;
use crate::KafkaOptions;

type Cluster = MockCluster<'static, rdkafka::producer::DefaultProducerContext>;

/// A cluster with a topic of two partitions, and a sink for it.
fn start() -> (Cluster, KafkaSink) {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("orders", 2, 1).unwrap();
    let servers = cluster.bootstrap_servers();
    let text = format!("servers = [{servers:?}]\ntopic = \"orders\"\nrequest_timeout = \"20s\"");
    let options: KafkaOptions = from_toml(&text).unwrap();
    let settings = Settings { encoder: options.events.encoder(""), options, sasl: None };
    (cluster, KafkaSink::new("events", settings).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_without_a_leader_are_named_and_those_with_one_are_not() {
    let (cluster, sink) = start();
    let session = sink.connection.session().await.unwrap();
    sink.metadata(&session).await.unwrap();
    cluster.partition_leader("orders", 1, None).unwrap();
    let error = sink.metadata(&session).await.unwrap_err();
    let expected = "topic `orders`: no leader for partition 1; its broker is down, or the disk of the broker is full or failed";
    assert_eq!((error.message.as_str(), error.kind), (expected, SinkErrorKind::Unreachable));
    assert!(error.hint.unwrap().starts_with("Check the brokers"));
    let template = &sink.settings.options.topic;
    let silent = why_silent(&session, template, "orders".to_owned()).await.unwrap();
    assert_eq!(silent.text, expected);
    release(session).await;
}
